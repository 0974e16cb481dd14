"""What a disk may do to a state, and what people may do to its files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from typing import Final

from tests.truth.harness import Bench

_NOBODY: Final = 65534


@contextmanager
def full_disk(room: int = 4096) -> Iterator[None]:
    """No file of this process may be written beyond its first bytes."""
    before = getrlimit(RLIMIT_FSIZE)
    setrlimit(RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, before)


@asynccontextmanager
async def no_room(made: Bench) -> AsyncIterator[None]:
    with full_disk():
        yield


@asynccontextmanager
async def locked(made: Bench) -> AsyncIterator[None]:
    database = sqlite3.connect(made.path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    yield
    database.close()


@asynccontextmanager
async def tasks_overwritten(made: Bench) -> AsyncIterator[None]:
    """Pages of the state are overwritten under the running process."""
    database = sqlite3.connect(made.path)
    # What another has written makes the process read again what it holds of the file.
    database.execute("UPDATE state SET created = created + 1")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'").fetchone()
    database.close()
    with made.path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x99" * 4096)
    yield


@contextmanager
def not_allowed(path: Path, mode: int = 0o444) -> Iterator[None]:
    """The folder of a state and all in it may be read by everybody, and written by nobody."""
    for file in path.parent.iterdir():
        file.chmod(mode)
    path.parent.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        # Root may write anywhere.
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.parent.chmod(0o755)
        for file in path.parent.iterdir():
            file.chmod(0o644)


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


@asynccontextmanager
async def deleted(made: Bench) -> AsyncIterator[None]:
    for file in _files(made.path):
        file.unlink()
    yield


@asynccontextmanager
async def replaced(made: Bench) -> AsyncIterator[None]:
    other = made.path.with_name("other")
    other.write_bytes(b"minutes of the meeting")
    other.rename(made.path)
    yield


@asynccontextmanager
async def _started(made: Bench, fault: AbstractContextManager[None]) -> AsyncIterator[None]:
    await made.stop()
    with fault:
        await made.start()
        yield


@asynccontextmanager
async def started_without_room(made: Bench) -> AsyncIterator[None]:
    async with _started(made, full_disk(0)):
        yield


@asynccontextmanager
async def started_without_leave(made: Bench) -> AsyncIterator[None]:
    async with _started(made, not_allowed(made.path)):
        yield
