"""The state in a PostgreSQL database, which one exporter has alone, or several share.

Alone it is held by an advisory lock, which goes with its connection. A commit is one transaction, and says which
revision of its agent it follows: one that was made when it was thought to have failed, or that arrives late from a
connection given up, changes nothing that is newer. So what is not known to have been committed can be committed again.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final, TypeAlias, TypeVar

import psycopg
from psycopg import errors

from exporter.tracking.moving import Rows
from exporter.tracking.postgres import schema, tables
from exporter.tracking.postgres.link import Connection, Limits, Link, Target
from exporter.tracking.records import Record
from exporter.tracking.storage import Commit, Loaded, StateInUse, StateSetAside, StateTaken, StorageError, in_parts

T = TypeVar("T")
Fence: TypeAlias = Callable[[Connection, str], None]
"""Called with the agent inside the transaction of each commit, before anything is written. Raises ``StateTaken`` where
the agent is not to be written by this exporter any more, and has locked whatever tells so."""

_OPENING: Final = 600.0
"""Seconds for what an older exporter has written to be brought up to date."""
_LOADING: Final = 120.0
"""Seconds for an agent to be loaded: its tasks are counted."""
_MOVING: Final = 86_400.0
"""Seconds for a whole state to be read or written; it ends earlier when the connection does."""
_STEP: Final = 2**30
"""Revisions rise by chance, by so much at most: a number of ours is never that of somebody else's commit."""
_SESSIONS: Final = 16
"""How many sessions are remembered: the server may not have noticed yet that they were given up."""
_SIZED: Final = 60.0
"""Seconds between two looks at how large the state is."""


class PostgresStorage:
    """``State`` in the database at ``target``. Open it with ``await PostgresStorage.open(...)``."""

    def __init__(
        self,
        target: Target,
        shared: bool,
        fence: Fence | None,
        clock: Callable[[], float],
        committed: Callable[[float], None],
        limits: Limits,
        elapsed: Callable[[], float],
    ) -> None:
        self._target = target
        self._shared = shared
        self._fence = fence
        self._clock = clock
        self._committed = committed
        self._limits = limits
        self._elapsed = elapsed
        self._link = Link(target, greet=self._greet, limits=limits, elapsed=elapsed)
        self._about: schema.About | None = None
        self._sessions: deque[schema.Session] = deque(maxlen=_SESSIONS)
        """The last that this one has had."""
        self._agents: dict[str, int] = {}
        self._revisions: dict[str, tuple[int, ...]] = {}
        """Of each agent that of the last commit known to have been made, and those that have been tried since then."""
        self._strangers: set[str] = set()
        """The agents that have not been loaded since the database has gone back behind what was committed."""
        self._untold: set[str] = set()
        """Those of them of which nobody has heard yet."""
        self._size = 0
        self._sized: float | None = None

    @classmethod
    async def open(
        cls,
        target: Target,
        *,
        shared: bool = False,
        fence: Fence | None = None,
        clock: Callable[[], float] = time.time,
        committed: Callable[[float], None] = lambda seconds: None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        elapsed: Callable[[], float] = time.monotonic,
    ) -> PostgresStorage:
        """Opens or creates the state; ``shared`` with others who share it. ``committed`` is told how many seconds each
        commit took.

        Raises ``StateInUse`` where another exporter has it, ``StorageError`` where it cannot be read or is not ours.
        """
        storage = cls(target, shared, fence, clock, committed, limits, elapsed)
        try:
            await storage._link.run(storage._measure, within=_OPENING)
        except BaseException:
            await storage.close()
            raise
        return storage

    @property
    def created(self) -> float:
        """When this state began, in Unix seconds by this exporter's clock."""
        return self._about.created if self._about is not None else 0.0

    async def agents(self) -> tuple[str, ...]:
        return await self._link.run(lambda connection: tuple(tables.agents(connection)))

    async def load(self, agent: str) -> Loaded | None:
        return await self._link.run(lambda connection: self._load(connection, agent), within=_LOADING)

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        return await self._link.run(
            lambda connection: tables.records(connection, self._agents[agent], keys) if self._knows(agent) else {}
        )

    def created_between(self, agent: str, start: float, end: float) -> AsyncIterator[dict[int, Record]]:
        return in_parts(
            lambda moment, after: self._link.run(
                lambda connection: (
                    tables.created_between(connection, self._agents[agent], moment, end, after)
                    if self._knows(agent)
                    else {}
                )
            ),
            start,
        )

    async def commit(self, agent: str, commit: Commit) -> None:
        await self._link.run(lambda connection: self._commit(connection, agent, commit))

    async def move(self, work: Callable[[Rows], T]) -> T:
        def moved(connection: Connection) -> T:
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
                result = work(tables.Rows(connection))
            self._revisions = {}
            return result

        # Not again where the connection is lost: ``work`` may have written lines already.
        return await self._link.run(moved, within=_MOVING, repeat=False)

    async def close(self) -> None:
        await self._link.close()

    def size(self) -> int:
        """Bytes of the tables and their indexes, as of the last minute in which something was committed."""
        return self._size

    def set_aside(self) -> int:
        """None: what is damaged stays where it is."""
        return 0

    def _greet(self, connection: Connection) -> None:
        try:
            schema.prepare(connection, self._clock())
            self._lock(connection)
            # Once more: before it was locked it may have been brought up to date by a newer exporter.
            about = schema.about(connection)
        except StorageError as error:
            raise type(error)(f"{self._target}: {error}") from error
        found = tables.agents(connection)
        if self._about is not None:
            self._compare(found, same=self._about == about)
        elif not self._shared:
            self._revisions = {agent: (handle.revision,) for agent, handle in found.items()}
        self._about = about
        self._agents = {agent: handle.id for agent, handle in found.items()}
        self._sessions.append(schema.session(connection))

    def _compare(self, found: dict[str, tables.Handle], *, same: bool) -> None:
        """Notes of which agents the database holds less than was committed, as when it is not the ``same`` state."""
        for agent, (least, *_) in self._revisions.items():
            if not same or (found[agent].revision if agent in found else 0) < least:
                self._strangers.add(agent)
                self._untold.add(agent)

    def _lock(self, connection: Connection) -> None:
        """Raises ``StateInUse``."""
        try:
            schema.lock(connection, shared=self._shared, patience=self._limits.patience)
        except errors.LockNotAvailable:
            holders = schema.holders(connection)
            if not any(holder.session in self._sessions for holder in holders):
                raise StateInUse(
                    f"in use by another exporter ({schema.named(holders)}); "
                    "stop that one, or give this one a database of its own in state.url"
                ) from None
            # The server has not noticed yet that we have given it up.
            schema.terminate(connection, self._sessions)
            schema.lock(connection, shared=self._shared, patience=self._limits.patience)

    def _knows(self, agent: str) -> bool:
        """Raises ``StateSetAside`` for an agent of which more is known in memory than the database holds now."""
        if agent in self._strangers:
            raise self._gone_back(agent)
        return agent in self._agents

    def _load(self, connection: Connection, agent: str) -> Loaded | None:
        if agent in self._untold:
            # Whoever has not heard of it would take what it loads for all that was ever known.
            raise self._gone_back(agent)
        self._strangers.discard(agent)
        self._revisions.pop(agent, None)
        found = tables.load(connection, agent, _LOADING)
        if found is None:
            self._agents.pop(agent, None)
            return None
        handle, loaded = found
        self._agents[agent] = handle.id
        self._revisions[agent] = (handle.revision,)
        return loaded

    def _commit(self, connection: Connection, agent: str, commit: Commit) -> None:
        self._knows(agent)
        started = time.perf_counter()
        before = self._revisions.get(agent, (0,))
        revision = before[-1] + 1 + secrets.randbelow(_STEP)
        # It may be made whatever is heard of it, unless the server says that it was not.
        self._revisions[agent] = (*before, revision)
        try:
            number = self._written(connection, agent, commit, before, revision)
        except psycopg.Error:
            if not connection.closed:
                self._revisions[agent] = before
            raise
        if number is None:
            raise self._refused(connection, agent, before[0])
        self._agents[agent] = number
        self._revisions[agent] = (revision,)
        self._committed(time.perf_counter() - started)
        if self._sized is None or self._elapsed() - self._sized > _SIZED:
            self._measure(connection)

    def _written(
        self, connection: Connection, agent: str, commit: Commit, before: tuple[int, ...], revision: int
    ) -> int | None:
        if self._fence is None:
            return tables.write(connection, agent, commit, after=before, revision=revision)
        with connection.transaction():
            self._fence(connection, agent)
            return tables.write(connection, agent, commit, after=before, revision=revision)

    def _refused(self, connection: Connection, agent: str, least: int) -> StorageError:
        """Why an agent was not written."""
        found = tables.agents(connection).get(agent)
        if found is None or found.revision < least:
            self._strangers.add(agent)
            return self._gone_back(agent)
        return StateTaken(f"{self._target}: another exporter has written the agent meanwhile")

    def _gone_back(self, agent: str) -> StateSetAside:
        self._untold.discard(agent)
        return StateSetAside(f"{self._target} has gone back behind what was committed")

    def _measure(self, connection: Connection) -> None:
        self._size = tables.size(connection)
        self._sized = self._elapsed()
