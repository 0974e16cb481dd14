"""What tracking asks of a database: the ledger and the numbers of each agent, committed together.

Kept small, since other databases than SQLite will follow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import msgspec

from exporter.tracking.records import Record
from exporter.tracking.spans import Spans
from exporter.tracking.tallies import Key

if TYPE_CHECKING:
    from exporter.tracking.moving import Rows

T = TypeVar("T")
AT_ONCE: Final = 1_000
"""How many records are read together at most, where there may be any number: some milliseconds."""


class StorageError(Exception):
    """The state cannot be read or written; the message says which, why and what may be done."""


class StateInUse(StorageError):
    """Another process writes to the same state."""


class StateUnwritable(StorageError):
    """The state cannot be written just now: the disk is full, read-only, broken or locked."""


class StateDamaged(StorageError):
    """What is stored is not what was written."""


class StateSetAside(StorageError):
    """The state was damaged, and a new one has taken its place; or the database has gone back to an earlier state. It
    holds what could be carried over; an agent has to be loaded anew, and may then commit what it knows better."""


class StateTaken(StorageError):
    """Another exporter has written the agent, or may do so. What is known of it here counts no more: it has to be
    loaded anew."""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one agent as a whole. Times are Unix seconds."""

    since: float
    """When the ledger began to count."""
    count_from: float | None
    """A task created before this is history when it is first seen; None: all that is found until the history has been
    read once."""
    name: str = ""
    """The agent's own, as the list of agents last told it."""
    type: str = "unknown"
    complete: bool = False
    """The whole history has been read once."""
    carried: bool = False
    """The counters come from a state that was damaged, and the history is being read again: it is counted in them."""
    read_from: float | None = None
    """Tasks created before this are not read; None: all are."""
    newest: float | None = None
    """The newest ``created`` seen that did not lie in the future."""
    last_success: float | None = None
    last_call_end: float | None = None
    reported: int | None = None
    """The API's own ``count`` when the last poll that succeeded began, or was committed in part."""
    unread: Spans | None = None
    """The places (``Record.place``) of the tasks that the last poll has left to be read; None: it ended well."""
    shown: tuple[tuple[Key, int], ...] | None = None
    """The numbers as the last poll that ended well has left them, while one catches up in parts; None: all is shown."""
    unreadable: tuple[int, ...] = ()
    """The places (``Record.place``) of the tasks that the server cannot deliver."""
    unaccounted: int = 0
    """How many tasks the first reading has met so far that the platform counts but nobody can tell apart."""
    task_bytes: float = 0.0
    """What a task of this agent weighs, on average; 0: not known yet."""
    sweep: int | None = None
    """The place down to which the history has been read again; None: no sweep is under way."""
    swept: float | None = None
    """When the last sweep began, in Unix seconds."""
    hurry: bool = False
    """The sweep is not spread over time: something is not where it should be."""
    again: bool = False
    """Something else was missed since that sweep began: another one follows it."""
    short: int = 0
    """How many tasks were missing when that sweep began."""
    missing: int = 0
    """How many tasks the platform counts that the last sweep did not find; below 0: how many are known that it
    counts no more."""
    began: dict[str, float] = {}
    """Families that began later than ``since``."""
    bounds: dict[str, tuple[float, ...]] = {}
    """The buckets that each histogram was counted into."""
    capped: tuple[str, ...] = ()
    """Which of the families with an open set of labels were counted."""
    opening: bytes = b""
    """The numbers that were shown first, once the history had been read, as ``tallies.pack`` writes them: what the past
    in Prometheus leads up to. Empty: they are not known."""
    left: bool = False
    """The agent is no longer listed, and nothing of it was left to be told when it was polled last."""
    interval: float = 0.0
    """Seconds between two polls, stretched as they were when the last one succeeded; 0: not known."""
    seconds: float = 0.0
    """How long that poll took."""
    requests: int = 0
    """How many it took; 0: it was the first reading, or it is not known."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is kept in memory of an agent."""

    book: Book
    numbers: dict[Key, int]
    watched: dict[int, Record]
    """The tasks that every poll looks at, by key."""
    tracked: int
    """How many tasks the ledger knows."""


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction: what is known and what was counted, or neither."""

    book: Book
    numbers: Mapping[Key, int] = {}
    """The new values of the numbers that have changed."""
    dropped: Collection[Key] = ()
    """Numbers that are no more."""
    records: Mapping[int, Record] = {}
    """The new records of the tasks that have changed."""


class Storage(Protocol):
    """Raises ``StorageError`` wherever it cannot do what it is asked."""

    async def agents(self) -> tuple[str, ...]:
        """The agents that were ever committed."""

    async def load(self, agent: str) -> Loaded | None:
        """What is known of an agent; None: it was never committed."""

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        """The records of those tasks that are known."""

    def created_between(self, agent: str, start: float, end: float) -> AsyncIterator[dict[int, Record]]:
        """The records of the tasks created from ``start`` to just before ``end``, each once, in parts of which none
        holds up others; the agent may not be committed to meanwhile."""

    async def commit(self, agent: str, commit: Commit) -> None:
        """All of it, durably, or nothing."""

    async def close(self) -> None:
        """Finishes what is under way and lets go of the state."""


async def in_parts(
    read: Callable[[float, int | None], Awaitable[dict[int, Record]]], start: float
) -> AsyncIterator[dict[int, Record]]:
    """All that ``read`` finds, which gives at most ``AT_ONCE`` records in the order of their ``created`` and key: those
    created at some moment or later; of that moment itself only those after some key (None: all)."""
    after: int | None = None
    while part := await read(start, after):
        yield part
        if len(part) < AT_ONCE:
            return
        after, last = next(reversed(part.items()))
        start = cast(float, last.created)


class State(Storage, Protocol):
    """What the state is kept in for good."""

    async def move(self, work: Callable[[Rows], T]) -> T:
        """What ``work`` returns, which reads and writes all rows in one transaction. It takes its time, and nobody else
        gets a turn meanwhile."""

    @property
    def created(self) -> float:
        """When this state began, in Unix seconds: later than expected means that an older one was lost."""

    def size(self) -> int:
        """Bytes of the state on disk; 0 in memory."""

    def set_aside(self) -> int:
        """How many damaged states that were set aside lie beside this one."""
