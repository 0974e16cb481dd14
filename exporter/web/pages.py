"""What the server shows, as plain data: the walls of this room. Whoever starts the server fills them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec


class MetricsAnswer(Protocol):
    """The body of an answer to a scrape, and what its headers say about it."""

    @property
    def body(self) -> bytes: ...

    @property
    def content_type(self) -> str: ...

    @property
    def content_encoding(self) -> str | None: ...

    @property
    def status(self) -> int:
        """The HTTP status: 200, or 404 with a text for people."""


class Metrics(Protocol):
    """Answers a scrape."""

    def __call__(self, accept: str | None, accept_encoding: str | None, agents: Sequence[str], /) -> MetricsAnswer:
        """The metrics, of these agents alone if any are named, as the request headers ask for them."""


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one agent does. Times are Unix seconds; None is not known (yet)."""

    handle: str
    name: str = ""
    state: str
    """In a few words for people: ``up``, ``failing``, ``reading its history``, ``waiting for its first poll``."""
    up: bool | None = None
    """Whether the last poll succeeded; None before the first has ended."""
    last_poll: float | None = None
    last_success: float | None = None
    fresh_until: float | None = None
    """Until when the gauges of what was read are shown, unless a poll succeeds before."""
    interval: float = 60.0
    """Seconds between two polls while all is well."""
    tasks: int | None = None
    calls: int | None = None
    """Ended calls that have been counted."""
    unreadable: int = 0
    """Tasks that the platform cannot deliver."""
    history_ratio: float | None = None
    """How much of the history has been read, from 0 to 1."""
    history_left: float | None = None
    """Seconds that the first reading of the history is likely to take still."""
    last_error: str | None = None
    """In words, with nothing private; None if the last poll succeeded."""
    problem: str | None = None
    """A word of ``advice.PROBLEMS`` for the last error."""
    failures: int = 0
    """Polls that failed in a row."""
    failing_since: float | None = None
    poll_began: float | None = None
    """When the poll that is under way began."""
    next_poll: float | None = None
    """When the next one begins; None while one is under way."""
    next_step: str = "read"
    """What that does: a word of ``words.STEPS``."""


class Requests(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what may be asked of the platform is asked."""

    begun: int
    """Requests that began within the last minute."""
    per_minute: int
    """How many may."""
    paused: float = 0.0
    """For how many seconds from now none may begin, since the platform has said that there were too many."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where what has been counted is kept."""

    path: str | None
    """None: in memory alone."""
    size: int = 0
    """Bytes."""
    created: float
    """When it was begun, in Unix seconds."""
    unwritable_since: float | None = None
    """Since when it cannot be written; None: it can."""
    unwritable: str = ""
    """Why, with nothing private."""
    uncommitted: int = 0
    """Tasks of which the latest is known in memory only."""
    set_aside: int = 0
    """Damaged states that lie beside it."""


class BadFile(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that are bad as they were last read, so that those before them stay in force."""

    file: str
    """Which: ``settings`` or ``web config``."""
    problem: str
    """What is wrong with it, in lines, without secrets."""
    since: float
    """When it was first found to be bad, in Unix seconds."""


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """That of the server. Times are Unix seconds."""

    begins: float
    ends: float
    """After that nobody can connect who checks it."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the exporter and its agents do at the moment ``now``. Times are Unix seconds."""

    version: str
    started: float
    now: float
    agents: tuple[AgentStatus, ...] = ()
    notice: str = ""
    """What a person should know beside the agents, such as why there are none; with nothing private."""
    discovers: bool = True
    """Whether agents are looked for in the platform's list; it tells the names of all of them in any case."""
    platform: str = ""
    """Its address."""
    requests: Requests | None = None
    state: State | None = None
    interval: float = 60.0
    """Seconds that the settings have between two polls of an agent, unless it has an interval of its own."""
    lag: float = 0.0
    """By how many seconds that is stretched, since the requests that are allowed do not suffice."""
    late: float = 0.0
    """By how many seconds more the polls of some agent are apart, since they take too long."""
    bad_files: tuple[BadFile, ...] = ()
    certificate: Certificate | None = None
    """None: the server speaks in the clear."""


class PollStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A poll that has ended."""

    at: float
    """When it ended, in Unix seconds."""
    seconds: float
    pages: int = 0
    tasks: int = 0
    """How many were read."""
    news: Mapping[str, int] = {}
    """What was found, in words, and how many of it."""
    first: bool = False
    """The history has been read once, with this poll."""
    problem: str | None = None
    """A word of ``advice.PROBLEMS``; None: it succeeded."""
    error: str | None = None
    """In words, with nothing private."""


class Figure(msgspec.Struct, frozen=True):
    """One number."""

    name: str
    value: float
    unit: str = ""
    """A word of ``words.UNITS``; none: it is counted."""


class Figures(msgspec.Struct, frozen=True):
    """Numbers that belong together."""

    title: str
    figures: tuple[Figure, ...]
    whole: bool = False
    """They are parts of one whole, so that shares may be shown."""


class AgentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that there is to see of one agent at the moment ``now``."""

    now: float
    version: str
    agent: AgentStatus
    polls: tuple[PollStatus, ...] = ()
    """The last ones, the newest first."""
    numbers: tuple[Figures, ...] = ()
    paused: float = 0.0
    """As ``Requests.paused``."""


class Reloaded(Protocol):
    """What became of a reload."""

    @property
    def ok(self) -> bool: ...

    @property
    def text(self) -> str:
        """What has changed, or why nothing has, for people."""


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Where what is shown comes from."""

    metrics: Metrics
    ready: Callable[[], str | None]
    """None if the exporter is ready, else why it is not, for people."""
    status: Callable[[], Status]
    agent: Callable[[str], AgentDetail | None]
    """Of one handle; None: no such agent is polled."""
    config: Callable[[], str] | None = None
    """The settings in force, without secrets; None: there is no such page."""
    reload: Callable[[], Awaitable[Reloaded]] | None = None
    """Reads the settings anew; None: there is no such request."""
    telemetry_path: str = "/metrics"
    """Where the metrics are; ``/`` takes the place of the status page."""
    prefix: str = ""
    """In front of every path: empty, or with a slash at its start and none at its end."""
