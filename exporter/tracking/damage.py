"""A state file that is damaged: how that is noticed, what of it is carried over, and where the file is put.

It is renamed, never deleted. A new state takes its place, into which each agent whose counters can still be read is
carried over: they must not fall. What the damaged file knew of settled tasks is not trusted any more, so the history is
read again, and what it holds is taken for counted. The tasks that every poll looks at are carried over as they were:
nothing of them is lost. Of the settled ones is lost what changed between the last commit and this reading.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from exporter.tracking import tables
from exporter.tracking.entry import is_read
from exporter.tracking.files import JOURNALS, beside, sync
from exporter.tracking.records import Record
from exporter.tracking.storage import Commit, Loaded, StateDamaged
from exporter.tracking.tallies import TASKS, Numbers, without

_ASIDE: Final = re.compile(r"\.corrupt-\d{8}T\d{6}Z(?:-\d+)?")
_NEW: Final = ".new"
_READY: Final = ".ready"
_TABLES: Final = {"state", "agents", "numbers", "tasks"}


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a damaged state."""

    state: Path
    file: Path
    """Where it lies now."""
    damage: str
    """What is wrong with it, in words."""
    kept: tuple[str, ...]
    """The agents whose counters go on."""
    lost: tuple[str, ...]
    """The agents that were known, and begin anew."""


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a state whose files were deleted, or replaced by others, while it was open."""

    state: Path
    file: Path | None
    """Where the file lies now that somebody had put in its place; None: there was none."""


def check(database: sqlite3.Connection) -> None:
    """Raises ``StateDamaged`` where the tables do not hang together (a fifth of a second for a million tasks)."""
    found = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing := _TABLES - found:
        raise StateDamaged(f"tables are missing: {', '.join(sorted(missing))}")
    (first,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if first != "ok":
        raise StateDamaged(" ".join(first.split()))


def replace(path: Path, now: float, release: Callable[[], None]) -> tuple[Path, set[str], set[str]]:
    """Puts a new state in the place of the damaged one, which ``release`` lets go of.

    Returns where that one lies now, the agents that were carried over, and all of which it knew. Raises ``OSError`` or
    ``sqlite3.Error`` where there cannot be a new one: then the old one stays where it is.
    """
    kept, known = salvaged(path)
    fresh = _beginning(path)
    with closing(sqlite3.connect(fresh)) as database, database:
        tables.create(database, now)
        for handle, loaded in kept.items():
            tables.write(database, handle, commit_of(loaded))
    file = _put(path, now, release)
    return file or path, set(kept), known


def rewrite(path: Path, database: sqlite3.Connection, now: float, release: Callable[[], None]) -> Path | None:
    """Writes a state anew of which the file is gone, from the ``database`` that is still open, which ``release`` then
    closes. A file that somebody has put in its place is set aside; returns where it lies now.

    Raises ``OSError`` or ``sqlite3.Error`` where it cannot be written: then nothing has changed.
    """
    with closing(sqlite3.connect(_beginning(path))) as copy:
        database.backup(copy)
    return _put(path, now, release)


def _beginning(path: Path) -> Path:
    """The file that a new state is written to; half of one is worth nothing."""
    fresh = beside(path, _NEW)
    for suffix in ("", "-journal", *JOURNALS):
        beside(fresh, suffix).unlink(missing_ok=True)
    return fresh


def _put(path: Path, now: float, release: Callable[[], None]) -> Path | None:
    """Lets a new state that has been written take the place of the one that ``release`` lets go of.

    From the moment on when it has the name of one that is ready, it is the state, whoever is killed.
    """
    beside(path, _NEW).rename(beside(path, _READY))
    sync(path.parent)
    release()
    return finish(path, now)


def finish(path: Path, now: float) -> Path | None:
    """Puts a new state that is ready, if there is one, in its place; returns where the one before lies now (None: it
    was deleted, or there is nothing to do). Raises ``OSError``."""
    ready = beside(path, _READY)
    if not ready.exists():
        return None
    file = set_aside(path, now) if path.exists() else None
    for journal in JOURNALS:
        # Of a state that is no more: they must never be taken for those of the new one.
        beside(path, journal).unlink(missing_ok=True)
    ready.rename(path)
    sync(path.parent)
    return file


def set_aside(path: Path, now: float) -> Path:
    """Renames a state and its journals; returns where it lies now. Raises ``OSError``."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{path.name}.corrupt-{stamp}{number}" for number in ("", *(f"-{count}" for count in range(1, 10**6))))
    aside = next(
        file
        for file in map(path.with_name, names)
        if not any(beside(file, suffix).exists() for suffix in ("", *JOURNALS))
    )
    # The state itself last: its journals must never be taken for those of a new one.
    for journal in JOURNALS:
        with suppress(FileNotFoundError):
            beside(path, journal).rename(beside(aside, journal))
    return path.rename(aside)


def set_aside_beside(path: Path) -> list[Path]:
    """The damaged states that were set aside beside the one at ``path``."""
    names = (file for file in path.parent.glob("*") if file.name.startswith(path.name))
    return [file for file in names if _ASIDE.fullmatch(file.name.removeprefix(path.name))]


def salvaged(path: Path) -> tuple[dict[str, Loaded], set[str]]:
    """The agents of a damaged state that can be carried over, and all of which it knows."""
    kept: dict[str, Loaded] = {}
    known: set[str] = set()
    with (
        suppress(sqlite3.Error, StateDamaged),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database,
    ):
        # Makes SQLite read what is left of a file that is too short.
        database.execute("PRAGMA writable_schema = ON")
        agents = tables.agents(database)
        known |= agents.keys()
        for table in ("agents", "numbers"):
            if database.execute(f"PRAGMA quick_check({table})").fetchone() != ("ok",):
                return {}, known
        for handle, number in agents.items():
            if (loaded := _salvaged(database, number)) is not None:
                kept[handle] = loaded
    return kept, known


def _salvaged(database: sqlite3.Connection, agent: int) -> Loaded | None:
    """An agent, if its counters can be read whole, with those of its watched tasks that can be read."""
    try:
        book, numbers = tables.book(database, agent), tables.numbers(database, agent)
    except (sqlite3.Error, StateDamaged):
        return None
    watched: dict[int, Record] = {}
    with suppress(sqlite3.Error, StateDamaged):
        for key in tables.watched_keys(database, agent):
            with suppress(sqlite3.Error, StateDamaged):
                watched |= tables.records(database, agent, [key])
    return carried(Loaded(book=book, numbers=numbers, watched=watched, tracked=len(watched)))


def carried(state: Loaded) -> Loaded | None:
    """What is carried over of an agent; None: its history has not been read yet, so it may as well begin anew."""
    book, watched = state.book, state.watched
    if not (book.complete or book.carried):
        return None
    shown = Counter(
        (TASKS, record.execution_type, record.status)
        for record in watched.values()
        if is_read(record.created, book.read_from)
    )
    # Tasks of the same moment as the newest one may have been known.
    count_from = book.count_from if book.newest is None else math.nextafter(book.newest, math.inf)
    anew = {"complete": False, "carried": True, "count_from": count_from, "sweep": None, "swept": None, "unread": None}
    nothing = {"hurry": False, "again": False, "missing": 0, "reported": None, "unreadable": (), "shown": None}
    return Loaded(
        book=msgspec.structs.replace(book, **anew, **nothing),
        numbers=without(state.numbers, (TASKS,)) | shown,
        watched=watched,
        tracked=len(watched),
    )


def commit_of(loaded: Loaded, before: Numbers | None = None) -> Commit:
    """Writes all that is kept of an agent, over the numbers that are there."""
    dropped = (before or {}).keys() - loaded.numbers.keys()
    return Commit(book=loaded.book, numbers=loaded.numbers, dropped=dropped, records=loaded.watched)
