"""The state in one SQLite file, or in memory.

WAL with ``synchronous=FULL``: what a poll has committed survives a kill and a power cut, so a number that Prometheus
has scraped is never taken back. One thread does all the work, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from exporter.tracking import damage
from exporter.tracking.records import Record, pack, unpack
from exporter.tracking.storage import Book, Commit, Loaded, StateInUse, StorageError

T = TypeVar("T")

_APPLICATION_ID: Final = 0x556E7064
"""Marks the file as ours ("Unpd")."""
_VERSION: Final = 1
_SCHEMA: Final = (
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
    "CREATE TABLE state (created REAL NOT NULL)",
    "CREATE TABLE agents (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, book TEXT NOT NULL)",
    "CREATE TABLE numbers (agent INTEGER NOT NULL, series TEXT NOT NULL, value INTEGER NOT NULL,"
    " PRIMARY KEY (agent, series)) WITHOUT ROWID",
    "CREATE TABLE tasks (agent INTEGER NOT NULL, key INTEGER NOT NULL, created REAL, watched INTEGER NOT NULL,"
    " record BLOB NOT NULL, PRIMARY KEY (agent, key)) WITHOUT ROWID",
    "CREATE INDEX watched_tasks ON tasks (agent) WHERE watched",
    "CREATE INDEX tasks_by_age ON tasks (agent, created)",
)


class SqliteStorage:
    """``Storage`` in the file at ``path`` (None: in memory). Open it with ``await SqliteStorage.open(...)``."""

    def __init__(self, path: Path | None, clock: Callable[[], float], committed: Callable[[float], None]) -> None:
        self._path = path
        self._clock = clock
        self._committed = committed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._lock: IO[str] | None = None
        self._database: sqlite3.Connection
        self._agents: dict[str, int] = {}
        self.created = 0.0
        """When this state began, in Unix seconds: later than expected means that an older one was lost."""

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        committed: Callable[[float], None] = lambda seconds: None,
    ) -> SqliteStorage:
        """Opens or creates the state. ``committed`` is told how many seconds each commit took.

        Raises ``StateInUse`` where another process has it, ``StorageError`` where it cannot be read or is not ours.
        """
        storage = cls(path, clock, committed)
        try:
            await storage._run(storage._open)
        except BaseException:
            await storage.close()
            raise
        return storage

    async def agents(self) -> tuple[str, ...]:
        return await self._run(lambda: tuple(self._agents))

    async def load(self, agent: str) -> Loaded | None:
        return await self._run(lambda: self._load(agent))

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        return await self._run(lambda: self._records(agent, keys))

    async def created_between(self, agent: str, start: float, end: float) -> dict[int, Record]:
        return await self._run(lambda: self._created_between(agent, start, end))

    async def commit(self, agent: str, commit: Commit) -> None:
        await self._run(lambda: self._commit(agent, commit))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def size(self) -> int:
        """Bytes of the state on disk, its journal included; 0 in memory."""
        if self._path is None:
            return 0
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def set_aside(self) -> int:
        """How many damaged states that were set aside lie beside this one."""
        return len(damage.set_aside_beside(self._path)) if self._path is not None else 0

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (sqlite3.Error, OSError, OverflowError, UnicodeError, msgspec.MsgspecError) as error:
            raise StorageError(f"{self._name}: {error}") from error

    @property
    def _name(self) -> str:
        return f"state file {self._path}" if self._path else "state in memory"

    def _open(self) -> None:
        if self._path is not None:
            self._lock = _locked(self._path)
        self._database = sqlite3.connect(self._path or ":memory:", isolation_level=None, check_same_thread=False)
        is_new = self._is_new()
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        if is_new:
            self._create()
        self._agents = dict(self._database.execute("SELECT handle, id FROM agents"))
        (self.created,) = self._database.execute("SELECT created FROM state").fetchone()

    def _is_new(self) -> bool:
        """Raises ``StorageError`` where the file is not ours, before anything in it is changed."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            return True
        if application != _APPLICATION_ID:
            raise StorageError(f"{self._name} is a database of another program; name another file in state.path")
        if version != _VERSION:
            raise StorageError(
                f"{self._name} has version {version}, this exporter reads version {_VERSION}; "
                "run the exporter that wrote it, or name another file in state.path"
            )
        return False

    def _create(self) -> None:
        with self._transaction():
            for statement in _SCHEMA:
                self._database.execute(statement)
            self._database.execute("INSERT INTO state VALUES (?)", (self._clock(),))

    def _close(self) -> None:
        if hasattr(self, "_database"):
            self._database.close()
        if self._lock is not None:
            self._lock.close()

    def _load(self, agent: str) -> Loaded | None:
        if agent not in self._agents:
            return None
        number = self._agents[agent]
        read = self._database.execute
        (book,) = read("SELECT book FROM agents WHERE id = ?", (number,)).fetchone()
        (tracked,) = read("SELECT count(*) FROM tasks WHERE agent = ?", (number,)).fetchone()
        numbers = read("SELECT series, value FROM numbers WHERE agent = ?", (number,))
        rows = read("SELECT key, record, created FROM tasks WHERE agent = ? AND watched", (number,))
        with self._decoding():
            return Loaded(
                book=msgspec.json.decode(book, type=Book),
                numbers={tuple(json.loads(series)): value for series, value in numbers},
                watched=_unpacked(rows),
                tracked=tracked,
            )

    def _records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        if agent not in self._agents:
            return {}
        rows = self._database.execute(
            "SELECT key, record, created FROM tasks WHERE agent = ? AND key IN (SELECT value FROM json_each(?))",
            (self._agents[agent], json.dumps(list(keys))),
        )
        with self._decoding():
            return _unpacked(rows)

    def _created_between(self, agent: str, start: float, end: float) -> dict[int, Record]:
        rows = self._database.execute(
            "SELECT key, record, created FROM tasks WHERE agent = ? AND created >= ? AND created < ?",
            (self._agents.get(agent), start, end),
        )
        with self._decoding():
            return _unpacked(rows)

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        """Raises ``StorageError`` where what is stored is not what this version writes."""
        try:
            yield
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
            raise StorageError(
                f"{self._name} holds what this exporter cannot read: it is damaged, or a newer exporter wrote it"
            ) from error

    def _commit(self, agent: str, commit: Commit) -> None:
        started = time.perf_counter()
        with self._transaction():
            number = self._write(agent, commit)
        self._agents[agent] = number
        self._committed(time.perf_counter() - started)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _write(self, agent: str, commit: Commit) -> int:
        (number,) = self._database.execute(
            "INSERT INTO agents (handle, book) VALUES (?, ?)"
            " ON CONFLICT (handle) DO UPDATE SET book = excluded.book RETURNING id",
            (agent, msgspec.json.encode(commit.book).decode()),
        ).fetchone()
        self._database.executemany(
            "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)",
            [(number, json.dumps(key), value) for key, value in commit.numbers.items()],
        )
        self._database.executemany(
            "DELETE FROM numbers WHERE agent = ? AND series = ?", [(number, json.dumps(key)) for key in commit.dropped]
        )
        self._database.executemany(
            "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?)",
            [(number, key, record.created, record.watched, pack(record)) for key, record in commit.records.items()],
        )
        return int(number)


def _unpacked(rows: Iterable[tuple[int, bytes, float | None]]) -> dict[int, Record]:
    return {key: unpack(record, created) for key, record, created in rows}


def _locked(path: Path) -> IO[str]:
    """The lock beside the state, held until it is closed or the process is gone, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    real = path.resolve()  # one lock, by whichever link the file is found
    lock = real.with_name(real.name + ".lock").open("a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StateInUse(
            f"state file {path} is in use by another exporter (process {holder}); "
            "stop that one, or give this one a file of its own in state.path"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
