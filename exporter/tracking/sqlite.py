"""The state in one SQLite file, or in memory.

WAL with ``synchronous=FULL``: what a poll has committed survives a kill and a power cut, so a number that Prometheus
has scraped is never taken back. One thread does all the work, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, TypeVar, cast

import msgspec

from exporter.tracking import damage, files, tables
from exporter.tracking.damage import Rewritten, SetAside
from exporter.tracking.moving import Rows
from exporter.tracking.records import Record
from exporter.tracking.storage import (
    Book,
    Commit,
    Loaded,
    StateDamaged,
    StateInUse,
    StateSetAside,
    StateTaken,
    StateUnwritable,
    StorageError,
    in_parts,
)

T = TypeVar("T")

_HEADER: Final = b"SQLite format 3\0"
_CACHE: Final = 8_192
"""KiB of the state that are kept in memory at most: where tasks are found by their keys lies in no order that a history
is read in."""
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNWRITABLE: Final = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
)
"""What the disk, and not the data, is the reason for."""


class SqliteStorage:
    """``Storage`` in the file at ``path`` (None: in memory). Open it with ``await SqliteStorage.open(...)``."""

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float],
        committed: Callable[[float], None],
        told: Callable[[SetAside], None],
        rewritten: Callable[[Rewritten], None],
    ) -> None:
        # By one name, by whichever link the file is found.
        self._path = path.resolve() if path is not None else None
        self._named = f"state file {path}" if path else "state in memory"
        self._clock = clock
        self._committed = committed
        self._told = told
        self._rewritten = rewritten
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._lock: IO[str] | None = None
        self._database: sqlite3.Connection | None = None
        self._agents: dict[str, int] = {}
        self._states = 1
        """How many states have been open at this path."""
        self._strangers: set[str] = set()
        """The agents that have not been loaded since this state has taken the place of another."""
        self._taken: set[str] = set()
        """The agents that another exporter may have written since they were loaded."""
        self._refusal: sqlite3.Error | None = None
        """What stands in the way of writing to a state that is open; None: nothing did when it was opened."""
        self._marks: tuple[files.Mark, ...] = ()
        """Which files are open."""
        self._version = 0
        """Changes when another process writes to the state."""
        self.created = 0.0
        """When this state began, in Unix seconds: later than expected means that an older one was lost."""

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        committed: Callable[[float], None] = lambda seconds: None,
        told: Callable[[SetAside], None] = lambda what: None,
        rewritten: Callable[[Rewritten], None] = lambda what: None,
    ) -> SqliteStorage:
        """Opens or creates the state. ``committed`` is told how many seconds each commit took, ``told`` of a state that
        was damaged and has been set aside, now or later, ``rewritten`` of one that was deleted while it was open.

        One that is there but cannot be written just now is opened all the same: it can be read, and commits raise
        ``StateUnwritable`` until it can be. Raises ``StateInUse`` where another process has it, ``StorageError`` where
        it cannot be read or made, or is not ours.
        """
        storage = cls(path, clock, committed, told, rewritten)
        try:
            with suppress(StateSetAside):
                await storage._run(storage._begin)
        except BaseException:
            await storage.close()
            raise
        return storage

    async def agents(self) -> tuple[str, ...]:
        return await self._run(lambda: tuple(self._agents))

    async def load(self, agent: str) -> Loaded | None:
        with suppress(StateSetAside):
            return await self._run(lambda: self._load(agent))
        return await self._run(lambda: self._load(agent))

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        return await self._run(lambda: self._records(agent, keys))

    def created_between(self, agent: str, start: float, end: float) -> AsyncIterator[dict[int, Record]]:
        return in_parts(
            lambda moment, after: self._run(lambda: self._created_between(agent, moment, end, after)),
            start,
        )

    async def commit(self, agent: str, commit: Commit) -> None:
        await self._run(lambda: self._commit(agent, commit))

    async def move(self, work: Callable[[Rows], T]) -> T:
        def moved() -> T:
            database = self._settle()
            with _transaction(database):
                result = work(tables.Rows(database))
            self._agents = tables.agents(database)
            self.created = tables.created(database)
            return result

        # Whoever moves it away is told of damage; it is not mended by that.
        return await self._do(moved)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def size(self) -> int:
        """Bytes of the state on disk, its journal included; 0 in memory."""
        return files.size(self._path) if self._path is not None else 0

    def set_aside(self) -> int:
        """How many damaged states that were set aside lie beside this one."""
        return len(damage.set_aside_beside(self._path)) if self._path is not None else 0

    async def _run(self, work: Callable[[], T]) -> T:
        """Does it in the thread; where that meets damage, a new state takes the place of this one."""
        states = self._states
        try:
            return await self._do(work)
        except StateDamaged as error:
            found = error
        if self._path is None:
            raise found
        if (what := await self._do(lambda: self._replace(str(found), states))) is not None:
            self._told(what)
        raise StateSetAside(f"{self._named} was damaged ({found}) and has been set aside") from found

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, OverflowError, UnicodeError, msgspec.MsgspecError) as error:
            code = _code(error)
            if code in _DAMAGED:
                raise StateDamaged(str(error)) from error
            if not (isinstance(error, OSError) or code in _UNWRITABLE):
                raise StorageError(f"{self._named}: {error}") from error
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> StateUnwritable:
        if self._path is None:
            return StateUnwritable(f"{self._named}: {error}")
        # A file that could not be filled may have been made.
        verb = "cannot be written" if files.size(self._path) else "cannot be created"
        return StateUnwritable(f"{self._named} {verb}: {files.reason(self._path, error)}")

    def _begin(self) -> None:
        if self._path is not None:
            refuse_stranger(self._path, self._named)
            self._lock = files.locked(self._path, self._named)
        self._database = self._open()

    def _open(self, *, sound: bool = False) -> sqlite3.Connection:
        """Opens the state: to be written, or only to be read where the disk allows no more. ``sound``: it need not be
        looked through for damage."""
        known, file = set(self._agents), None
        if self._path is not None and (file := damage.finish(self._path, self._clock())) is not None:
            self._states, self._strangers = self._states + 1, known
        target = self._path or ":memory:"
        try:
            database = sqlite3.connect(target, timeout=files.PATIENCE, isolation_level=None, check_same_thread=False)
            self._begun(database, sound=sound)
        except sqlite3.Error as error:
            database = self._readable(error, sound=sound)
            self._refusal = error
        else:
            self._refusal = None
        if self._path is not None:
            self._marks = files.marks(self._path)
            if file is not None:
                kept, lost = tuple(sorted(self._agents)), tuple(sorted(known - self._agents.keys()))
                found = "it was not replaced at the first attempt"
                self._told(SetAside(state=self._path, file=file, damage=found, kept=kept, lost=lost))
        (self._version,) = database.execute("PRAGMA data_version").fetchone()
        return database

    def _readable(self, error: sqlite3.Error, *, sound: bool) -> sqlite3.Connection:
        """A connection that can only read; where there is none, raises what stands in the way of writing."""
        code = _code(error)
        if self._path is None or code not in _UNWRITABLE or code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise error
        if code == sqlite3.SQLITE_READONLY and files.may_be_written(self._path):
            # The file says so, not the disk.
            raise error
        for database in files.readable(self._path):
            with suppress(sqlite3.Error):
                self._begun(database, sound=sound, writes=False)
                return database
        raise error

    def _begun(self, database: sqlite3.Connection, *, sound: bool, writes: bool = True) -> None:
        """Makes the state that is open this one. Closes it where that fails."""
        try:
            is_new = self._is_new(database)
            if writes:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute(f"PRAGMA cache_size = -{_CACHE}")
            if is_new:
                with _transaction(database):
                    tables.create(database, self._clock())
            if not sound:
                damage.check(database)
            self._agents = tables.agents(database)
            self.created = tables.created(database)
        except BaseException as error:
            database.close()
            if writes and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                # Nothing is wrong with what was asked, so it is what the header tells.
                raise StateDamaged(str(error)) from error
            raise

    def _is_new(self, database: sqlite3.Connection) -> bool:
        """Raises ``StorageError`` where the file is not ours, before anything in it is changed."""
        (found,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if found == 0:
            return True
        _refuse_foreign(database, self._named)
        return False

    def _replace(self, found: str, states: int) -> SetAside | None:
        """Sets the state aside and opens the one that takes its place; None: that has been done meanwhile."""
        if states != self._states:
            return None
        path = cast(Path, self._path)
        file, kept, known = damage.replace(path, self._clock(), self._release)
        self._states += 1
        self._strangers = set(self._agents)
        self._database = self._open()
        lost = (known | self._strangers) - kept
        return SetAside(state=path, file=file, damage=found, kept=tuple(sorted(kept)), lost=tuple(sorted(lost)))

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            # The one that took the place of a damaged state could not be opened at once.
            self._database = self._open()
        return self._database

    def _release(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _settle(self) -> sqlite3.Connection:
        """The connection, once it is certain that what it commits will be found again: somebody may have deleted files
        of the state, or put others in their place, of which a process that has them open feels nothing.

        Raises ``StateUnwritable`` where the state can still only be read, ``StateTaken`` where another exporter has it.
        """
        database = self._connection
        if self._path is None:
            return database
        if self._lock is None or not files.is_held(self._path, self._lock):
            self._lock_again(self._path)
        found = files.marks(self._path)
        if found[0] != self._marks[0]:
            file = damage.rewrite(self._path, database, self._clock(), self._release)
            self._rewritten(Rewritten(state=self._path, file=file))
        elif self._refusal is None and found != self._marks:
            # All that the journal holds goes into the state, since nobody else will ever read it there.
            (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StateUnwritable(f"{self._named} has lost its journal, and somebody else is reading it")
            self._rewritten(Rewritten(state=self._path, file=None))
        elif self._refusal is None:
            return database
        self._release()
        self._database = self._open(sound=True)
        if self._refusal is not None:
            raise self._unwritable(self._refusal)
        return self._database

    def _lock_again(self, path: Path) -> None:
        """Takes a lock whose file was deleted. If another exporter has had the state meanwhile, what is in memory is
        not the last word any more."""
        try:
            lock = files.locked(path, self._named)
        except StateInUse as error:
            raise StateTaken(str(error)) from error
        if self._lock is not None:
            self._lock.close()
        self._lock = lock
        database = self._connection
        (version,) = database.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version, self._agents = version, tables.agents(database)
            self._taken = set(self._agents)

    def _close(self) -> None:
        if self._database is not None:
            # The last commit may be in a file that is no more.
            with suppress(StorageError, sqlite3.Error, OSError):
                self._settle()
        self._release()
        if self._lock is not None:
            self._lock.close()

    def _load(self, agent: str) -> Loaded | None:
        database = self._connection
        self._strangers.discard(agent)
        self._taken.discard(agent)
        return tables.load(database, self._agents[agent]) if agent in self._agents else None

    def _records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        database = self._connection_of(agent)
        return tables.records(database, self._agents[agent], keys) if agent in self._agents else {}

    def _created_between(self, agent: str, start: float, end: float, after: int | None) -> dict[int, Record]:
        database = self._connection_of(agent)
        return tables.created_between(database, self._agents[agent], start, end, after) if agent in self._agents else {}

    def _connection_of(self, agent: str) -> sqlite3.Connection:
        """Raises ``StateSetAside`` for an agent that may hold in memory what it has read from another state, and
        ``StateTaken`` for one that another exporter may have written."""
        database = self._connection
        if agent in self._strangers:
            raise StateSetAside(f"{self._named} was damaged and has been set aside")
        if agent in self._taken:
            raise StateTaken(f"{self._named} lost its lock, and has been written by another process")
        return database

    def _commit(self, agent: str, commit: Commit) -> None:
        self._settle()
        database = self._connection_of(agent)
        started = time.perf_counter()
        try:
            with _transaction(database):
                number = tables.write(database, agent, commit)
        except sqlite3.Error as error:
            if _code(error) == sqlite3.SQLITE_READONLY:
                # SQLite opens a file that it may not write without a word.
                self._refusal = error
            raise
        self._agents[agent] = number
        self._committed(time.perf_counter() - started)


def _code(error: Exception) -> int:
    """What SQLite calls it; 0: it says nothing."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def refuse_stranger(path: Path, named: str) -> None:
    """Raises ``StorageError`` for what was never a state: no database, and no lock beside it. Somebody has named a file
    by mistake, which is not to be moved away as a damaged state would be."""
    if path.is_dir():
        raise StorageError(f"{named} is a directory; name a file in state.path")
    if not path.is_file() or files.lock_of(path).exists():
        return
    with path.open("rb") as file:
        begin = file.read(len(_HEADER))
    if begin not in (b"", _HEADER):
        raise StorageError(f"{named} is no state of this exporter; name another file in state.path")


def _refuse_foreign(database: sqlite3.Connection, named: str) -> None:
    """Raises ``StorageError`` where a database is not a state of this version."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (application,) = database.execute("PRAGMA application_id").fetchone()
    if application != tables.APPLICATION_ID:
        raise StorageError(f"{named} is a database of another program; name another file in state.path")
    if version != tables.VERSION:
        raise StorageError(
            f"{named} has version {version}, this exporter reads version {tables.VERSION}; "
            "run the exporter that wrote it, or name another file in state.path"
        )


def books(path: Path) -> dict[str, Book]:
    """What is known of each agent of the state at ``path`` as a whole, whichever process writes to it meanwhile.

    Raises ``StorageError`` where it cannot be read or is not ours.
    """
    named = f"state file {path}"
    refuse_stranger(path, named)
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=files.PATIENCE)
        ) as database:
            _refuse_foreign(database, named)
            return {handle: tables.book(database, agent) for handle, agent in tables.agents(database).items()}
    except (sqlite3.Error, OSError, StateDamaged) as error:
        raise StorageError(f"{named}: {error}") from error
