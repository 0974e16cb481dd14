"""The table of faults: what goes wrong, what the metrics show meanwhile, what becomes of the numbers, how it ends.

Each row is run by ``test_matrix`` as it stands here, and makes a line of docs/faults.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from socket import socket
from typing import Any, Final

from exporter.simulator.faults import Fault
from tests.faults import databases, disks
from tests.truth.harness import Bench

Begin = Callable[[Bench], AbstractAsyncContextManager[None]]
DAY: Final = 86_400.0
OUTAGE: Final = 6 * 3600.0
OUTAGE_PAGES: Final = 8
_UNCHANGED = "unchanged; what is missed is counted later"
_EXACT = "exact"
_NEXT = "the next poll that is answered"


@dataclass(frozen=True)
class Row:
    """One fault."""

    fault: str
    """What happens, in words."""
    begins: Begin
    """While it is entered the fault lasts."""
    reason: str | None = None
    """Of ``unpod_agent_poll_failures_total``; None: polls succeed."""
    numbers: str = ""
    heals: str = ""
    shows: str = ""
    """What else the metrics show."""
    requests: int = 3
    """How many requests a poll that fails makes at most: a fault must not multiply the load."""
    apart: tuple[str, ...] = ()
    """Families that may be less than exact."""
    first: bool = True
    """Whether it is also run during a first reading."""
    database: bool = False
    """Whether the state is in PostgreSQL."""

    @property
    def name(self) -> str:
        return self.fault.replace("`", "").replace(" ", "-")

    @property
    def told(self) -> tuple[str, str, str, str]:
        """The cells of the page."""
        up = f'`agent_up` 0, `{{reason="{self.reason}"}}`' if self.reason else "`agent_up` 1"
        shows = "; ".join(filter(None, (up, self.shows)))
        default = _UNCHANGED if self.reason else _EXACT
        return self.fault, shows, self.numbers or default, self.heals or (_NEXT if self.reason else "nothing to heal")


def answering(kind: str, **options: Any) -> Begin:
    """The platform answers like this."""

    @asynccontextmanager
    async def begins(made: Bench) -> AsyncIterator[None]:
        made.faults.add(Fault(kind=kind, **options))
        yield
        made.faults.clear()

    return begins


@asynccontextmanager
async def nobody_listens(made: Bench) -> AsyncIterator[None]:
    with closing(socket()) as taken:
        # Taken, so that nobody else can listen there.
        taken.bind(("127.0.0.1", 0))
        host, port = taken.getsockname()
        async with made.asking(f"http://{host}:{port}"):
            yield


@asynccontextmanager
async def tasks_arrive(made: Bench) -> AsyncIterator[None]:
    async def time_passes(request: int) -> None:
        made.clock.now += 7.0

    before, made.before = made.before, time_passes
    yield
    made.before = before


@asynccontextmanager
async def outage_of_hours(made: Bench) -> AsyncIterator[None]:
    """The exporter has not run for hours; when it catches up, the platform fails from its eighth page on."""
    made.clock.now += OUTAGE

    async def begins(request: int) -> None:
        if request == OUTAGE_PAGES:
            made.faults.add(Fault(kind="bad_gateway"))
        elif request == 1:
            made.faults.clear()

    before, made.before = made.before, begins
    yield
    made.before = before
    made.faults.clear()


def clock_off_by(seconds: float) -> Begin:
    """The exporter's clock is wrong; the platform's is not."""

    @asynccontextmanager
    async def begins(made: Bench) -> AsyncIterator[None]:
        made.skew = seconds
        yield
        made.skew = 0.0

    return begins


WRITTEN = "the first commit that works takes along what is kept"
HELD = "`exporter_state_commit_failures_total` rises, `exporter_state_uncommitted_tasks` above 0"
ANSWERED = "the next poll that the database answers"
ROWS: Final = (
    # The network
    Row("connection refused", nobody_listens, "connection"),
    Row("connection closed without an answer", answering("close"), "connection"),
    Row("connection reset in the middle of an answer", answering("reset"), "connection"),
    Row("no answer ever (black hole)", answering("black_hole"), "timeout", shows="`api.timeout` seconds each"),
    Row("an answer that drips slowly", answering("slow_drip", pause=0.05), "timeout"),
    Row("a body shorter than its length", answering("truncated", cut="plain"), "connection"),
    Row("a chunked body without its end", answering("truncated", cut="chunked"), "connection"),
    Row("half of a compressed body", answering("truncated", cut="gzip"), "bad_response"),
    Row("half of the text, sent as if it were all", answering("truncated", cut="json"), "bad_response"),
    # Answers that are no data
    Row("JSON that is none", answering("wrong_json"), "bad_response"),
    Row("a page of HTML in place of JSON", answering("html"), "bad_response"),
    Row("a redirect elsewhere", answering("redirect"), "bad_response", shows="it is not followed, the token stays"),
    Row("data of another shape", answering("data_is_object"), "bad_response"),
    Row(
        "an answer above `api.max_response_bytes`",
        answering("huge", declared=True),
        "too_large",
        shows="abandoned while it streams; asked for again in smaller parts, down to one task",
        requests=5,
    ),
    # Refusals and storms
    Row(
        "401, a token that is no more", answering("unauthorized"), "unauthorized", heals="a good token, slowly retried"
    ),
    Row("403", answering("forbidden"), "forbidden", heals="access, slowly retried"),
    Row("404, no such agent", answering("not_found"), "not_found", heals="the agent, slowly retried"),
    Row("206, no access to the agent's space", answering("no_access"), "no_access", heals="access, slowly retried"),
    Row("a storm of 429", answering("rate_limited"), "rate_limited", shows="all agents pause as `Retry-After` says"),
    Row("a storm of 500", answering("server_error"), "server_error", shows="not mistaken for unreadable tasks"),
    Row("a storm of 502", answering("bad_gateway"), "server_error"),
    Row("a storm of 503", answering("unavailable"), "server_error"),
    Row("a storm of 504", answering("gateway_timeout"), "server_error"),
    # Data that is odd
    Row("NaN in a field that is not read", answering("nan")),
    Row("control characters in a field that is not read", answering("control_characters")),
    Row("half of a surrogate pair in a field that is not read", answering("lone_surrogate")),
    Row("bytes that are no UTF-8 in a field that is not read", answering("bad_utf8")),
    Row("a page that repeats tasks", answering("duplicate_tasks")),
    Row("a server that ignores `page` and `page_size`", answering("ignore_paging")),
    Row("a page that lacks tasks", answering("missing_tasks"), "bad_response"),
    Row("a page shorter than it should be", answering("short_page"), "bad_response"),
    Row("a `count` above the true one", answering("wrong_count", by=3), "bad_response", requests=24),
    Row(
        "a `count` below what the page holds",
        answering("wrong_count", by=-1000),
        "bad_response",
        requests=4,
        first=False,
    ),
    Row(
        "a `count` below what was counted before",
        answering("wrong_count", by=-7),
        "bad_response",
        numbers="exact; a count that stays lower is believed after three polls, and the history read again once",
        first=False,
    ),
    Row("tasks that arrive while pages are read", tasks_arrive),
    Row(
        "the platform fails while thousands of tasks are caught up with after an outage",
        outage_of_hours,
        "server_error",
        shows="nothing of what was read so far is shown before all of it has been",
        heals="the next poll that is answered, which goes on where the other one failed",
        requests=12,
        first=False,
    ),
    # The clock
    Row("the exporter's clock jumps a day forwards", clock_off_by(DAY), first=False),
    Row(
        "the exporter's clock jumps a day backwards",
        clock_off_by(-DAY),
        numbers="exact, but the last end of a call may be told late",
        first=False,
        apart=("last_call_end_timestamp_seconds",),
    ),
    # The disk
    Row("the disk is full", disks.no_room, shows=HELD, heals=WRITTEN),
    Row(
        "somebody locks the state file",
        disks.locked,
        shows=HELD,
        heals=WRITTEN,
    ),
    Row(
        "the state file is damaged under the running exporter",
        disks.tasks_overwritten,
        shows="`exporter_state_set_aside_files` 1; `agent_history_complete` 0 until the history has been read again",
        numbers="counters go on from memory, nothing is counted twice; missing is what happened to settled tasks "
        "between the last commit and the reading that follows",
        heals="at once, with a new state",
        first=False,
    ),
    Row(
        "the state file is deleted under the running exporter",
        disks.deleted,
        shows="`exporter_state_commit_failures_total` rises by one, the log says `state file was gone`",
        heals="the next commit, which writes the state anew",
    ),
    Row(
        "another file takes the place of the state file",
        disks.replaced,
        shows="`exporter_state_set_aside_files` 1, the log says `state file was gone`",
        heals="the next commit, which sets that file aside and writes the state anew",
    ),
    Row("the exporter starts on a full disk", disks.started_without_room, shows=HELD, heals=WRITTEN),
    Row(
        "the exporter starts with a state that it may not write, as on a read-only file system",
        disks.started_without_leave,
        shows=HELD,
        heals=WRITTEN,
    ),
    # The database
    Row("PostgreSQL cuts all connections (a restart, a failover)", databases.cut, database=True),
    Row(
        "PostgreSQL cannot be reached",
        databases.unreachable,
        "internal",
        shows="the log names the server and what it said",
        heals=ANSWERED,
        first=False,
        database=True,
    ),
    Row(
        "PostgreSQL is silent (black hole)",
        databases.silent,
        "internal",
        shows="ten seconds for the first poll, the others wait for nothing",
        heals=ANSWERED,
        first=False,
        database=True,
    ),
    Row("PostgreSQL is read-only (a standby)", databases.read_only, shows=HELD, heals=WRITTEN, database=True),
    Row("the disk of PostgreSQL is full", databases.full, shows=HELD, heals=WRITTEN, database=True),
    Row(
        "the state in PostgreSQL is dropped, or goes back to a backup",
        databases.dropped,
        shows="`exporter_state_created_timestamp_seconds` changes; `agent_history_complete` 0 until the history "
        "has been read again",
        numbers="counters go on from memory, nothing is counted twice; missing is what happened to settled tasks "
        "between the last commit and the reading that follows",
        heals="at once, with a new state",
        first=False,
        database=True,
    ),
)
