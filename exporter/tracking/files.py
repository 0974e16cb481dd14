"""The files of a state: how they are locked and opened, even where nothing can be written, and whether they are the
ones that were opened."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, TypeAlias

from exporter.tracking.storage import StateInUse, StateUnwritable

JOURNALS: Final = ("-wal", "-shm")
PATIENCE: Final = 1.0
"""Seconds to wait for somebody else who writes, as by hand; meanwhile nothing can be read either."""
_WAYS: Final = (
    # Without a -shm file, for which a full disk has no room; nobody else can read meanwhile.
    ("mode=rw", "EXCLUSIVE"),
    # With the -shm file that a killed process has left, since a read-only disk takes no other.
    ("mode=ro", "NORMAL"),
    ("immutable=1", "NORMAL"),
)
"""How a state is opened that cannot be written."""
_LEAST: Final = 2**16
"""Bytes: a disk with less room is full."""
_SAID: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "somebody else has locked it",
    sqlite3.SQLITE_LOCKED: "somebody else has locked it",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "the disk answers with errors",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}

Mark: TypeAlias = tuple[int, int] | None
"""The device and the inode of a file; None: it is not there."""


def beside(path: Path, suffix: str) -> Path:
    """The file that belongs to a state and has its name with this at the end."""
    return path.with_name(path.name + suffix)


def sync(folder: Path) -> None:
    """Makes what was renamed in a folder outlive a power cut."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def mark(path: Path) -> Mark:
    """Raises ``OSError`` where it cannot be told whether there is a file."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def size(path: Path) -> int:
    """Bytes of a state and its journal, as far as they are there."""
    found = 0
    for file in (path, beside(path, "-wal")):
        with suppress(OSError):
            found += file.stat().st_size
    return found


def marks(path: Path) -> tuple[Mark, ...]:
    """Which files are a state's and its journals'. Raises ``OSError``."""
    return tuple(mark(beside(path, suffix)) for suffix in ("", *JOURNALS))


def lock_of(path: Path) -> Path:
    """The file that tells who has a state."""
    return beside(path, ".lock")


def is_held(path: Path, lock: IO[str]) -> bool:
    """Whether a lock still keeps others away: not if its file was deleted. Raises ``OSError``."""
    held = os.fstat(lock.fileno())
    return mark(lock_of(path)) == (held.st_dev, held.st_ino)


def locked(path: Path, named: str) -> IO[str]:
    """The lock beside the state, held until it is closed or the process is gone, however it ends.

    Raises ``StateInUse``, or ``StateUnwritable`` where there is none and none can be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _opened(lock_of(path))
    except OSError as error:
        raise StateUnwritable(f"{named} cannot be locked: {reason(path, error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StateInUse(
            f"{named} is in use by another exporter (process {holder}); "
            "stop that one, or give this one a file of its own in state.path"
        ) from None
    # Who holds it is only told to people: a full disk may not take it.
    with suppress(OSError):
        os.truncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock


def _opened(lock: Path) -> IO[str]:
    try:
        return lock.open("a+", encoding="ascii")
    except OSError:
        if not lock.exists():
            raise
        # One that is there can be held even where nothing can be written.
        return lock.open(encoding="ascii")


def readable(path: Path) -> Iterator[sqlite3.Connection]:
    """Connections to a state that cannot be written now, each in another way, of which one may work."""
    journal = beside(path, "-wal")
    for flags, locking in _WAYS:
        if flags == "immutable=1" and journal.exists() and journal.stat().st_size:
            # It would not be looked at, and may hold the last commits.
            continue
        uri = f"{path.absolute().as_uri()}?{flags}"
        database = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        database.execute(f"PRAGMA locking_mode = {locking}")
        yield database


def reason(path: Path, error: Exception) -> str:
    """Why a state cannot be written, in words for whoever is to mend it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    with suppress(OSError):
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and (found := obstacle(path)):
            return found
    return _SAID.get(code) or getattr(error, "strerror", None) or str(error)


def obstacle(path: Path) -> str | None:
    """What stands in the way of writing. Raises ``OSError`` where that cannot be told."""
    folder = path.parent
    disk = os.statvfs(folder)
    user = f"user {os.geteuid()}"
    if disk.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if not _is_allowed(folder, os.W_OK | os.X_OK):
        return f"{user} may not write to its directory"
    for file in filter(Path.exists, (path, *(beside(path, suffix) for suffix in (*JOURNALS, ".lock")))):
        if not _is_allowed(file, os.R_OK | os.W_OK):
            return f"{user} may not write to {file.name}"
    if disk.f_bavail * disk.f_frsize < _LEAST:
        return "the disk is full"
    return None


def may_be_written(path: Path) -> bool:
    """Whether nothing stands in the way, as far as can be told."""
    with suppress(OSError):
        return obstacle(path) is None
    return True


def _is_allowed(file: Path, mode: int) -> bool:
    return os.access(file, mode, effective_ids=os.access in os.supports_effective_ids)
