"""The tables of the state in SQLite, and how an agent is written to them and read from them.

Whatever reads raises ``StateDamaged`` where a row holds what is never written. (Text is read as bytes: what is not
UTF-8 any more must not look like an error of the database.)
"""

from __future__ import annotations

import json
import operator
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from typing import Final

import msgspec

from exporter.tracking.moving import LEAST, Row
from exporter.tracking.records import Record, pack, unpack
from exporter.tracking.rows import decoding, key_of, series_of
from exporter.tracking.storage import AT_ONCE, Book, Commit, Loaded
from exporter.tracking.tallies import Key

APPLICATION_ID: Final = 0x556E7064
"""Marks the file as ours ("Unpd")."""
VERSION: Final = 1
SCHEMA: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
    "CREATE TABLE state (created REAL NOT NULL)",
    "CREATE TABLE agents (id INTEGER PRIMARY KEY, handle TEXT NOT NULL UNIQUE, book TEXT NOT NULL)",
    "CREATE TABLE numbers (agent INTEGER NOT NULL, series TEXT NOT NULL, value INTEGER NOT NULL,"
    " PRIMARY KEY (agent, series)) WITHOUT ROWID",
    "CREATE TABLE tasks (agent INTEGER NOT NULL, key INTEGER NOT NULL, created REAL, watched INTEGER NOT NULL,"
    # They lie in the order in which they were found. By their keys, each would be written with a page of its own.
    " record BLOB NOT NULL, PRIMARY KEY (agent, key))",
    "CREATE INDEX watched_tasks ON tasks (agent, key) WHERE watched",
)
_BY_AGE: Final = "CREATE INDEX IF NOT EXISTS tasks_by_age ON tasks (agent, created, key)"


def create(database: sqlite3.Connection, now: float) -> None:
    """An empty state that begins at this Unix time."""
    for statement in SCHEMA:
        database.execute(statement)
    database.execute("INSERT INTO state VALUES (?)", (now,))


def agents(database: sqlite3.Connection) -> dict[str, int]:
    """The agents that were ever written, with the numbers that they go by in the other tables."""
    rows = database.execute("SELECT CAST(handle AS BLOB), id FROM agents")
    with decoding():
        return {handle.decode(): agent for handle, agent in rows}


def created(database: sqlite3.Connection) -> float:
    """When the state began, in Unix seconds."""
    row = database.execute("SELECT created FROM state").fetchone()
    with decoding():
        return float(row[0])


def load(database: sqlite3.Connection, agent: int) -> Loaded:
    """Everything that is kept in memory of an agent."""
    (tracked,) = database.execute("SELECT count(*) FROM tasks WHERE agent = ?", (agent,)).fetchone()
    return Loaded(
        book=book(database, agent),
        numbers=numbers(database, agent),
        watched=watched(database, agent),
        tracked=tracked,
    )


def book(database: sqlite3.Connection, agent: int) -> Book:
    """What is known of an agent as a whole."""
    row = database.execute("SELECT CAST(book AS BLOB) FROM agents WHERE id = ?", (agent,)).fetchone()
    with decoding():
        return msgspec.json.decode(row[0], type=Book)


def numbers(database: sqlite3.Connection, agent: int) -> dict[Key, int]:
    """The numbers of an agent."""
    rows = database.execute("SELECT CAST(series AS BLOB), value FROM numbers WHERE agent = ?", (agent,))
    with decoding():
        return {key_of(series): operator.index(value) for series, value in rows}


def watched(database: sqlite3.Connection, agent: int) -> dict[int, Record]:
    """The tasks that every poll looks at, by key."""
    return _records(database, "watched", agent)


def watched_keys(database: sqlite3.Connection, agent: int) -> list[int]:
    """The keys of the tasks that every poll looks at, without reading the tasks."""
    return [key for (key,) in database.execute("SELECT key FROM tasks WHERE agent = ? AND watched", (agent,))]


def records(database: sqlite3.Connection, agent: int, keys: Collection[int]) -> dict[int, Record]:
    """The records of those tasks that are known, by key."""
    return _records(database, "key IN (SELECT value FROM json_each(?))", agent, json.dumps(list(keys)))


def created_between(
    database: sqlite3.Connection, agent: int, start: float, end: float, after: int | None = None
) -> dict[int, Record]:
    """The records of the first tasks created from ``start`` to just before ``end``, by key: ``AT_ONCE`` at most, and
    of those created at ``start`` itself only those ``after`` a key.

    Only who limits the history asks for them, at every poll, and nobody else pays for an index: a fifth of the file.
    """
    with suppress(sqlite3.OperationalError):
        # Where nothing can be written just now, they are found without, in more time.
        database.execute(_BY_AGE)
    return _records(
        database,
        "created >= ? AND created < ? AND (? IS NULL OR created > ? OR key > ?) ORDER BY created, key LIMIT ?",
        agent,
        *(start, end, after, start, after, AT_ONCE),
    )


def write(database: sqlite3.Connection, handle: str, commit: Commit) -> int:
    """Writes what has changed of an agent; returns the number that it goes by."""
    (agent,) = database.execute(
        "INSERT INTO agents (handle, book) VALUES (?, ?)"
        " ON CONFLICT (handle) DO UPDATE SET book = excluded.book RETURNING id",
        (handle, msgspec.json.encode(commit.book).decode()),
    ).fetchone()
    database.executemany(
        "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)",
        [(agent, series_of(key), value) for key, value in commit.numbers.items()],
    )
    database.executemany(
        "DELETE FROM numbers WHERE agent = ? AND series = ?", [(agent, series_of(key)) for key in commit.dropped]
    )
    database.executemany(
        # In its place, where it is known: what has changed of late lies together.
        "INSERT INTO tasks VALUES (?, ?, ?, ?, ?) ON CONFLICT (agent, key) DO UPDATE"
        " SET created = excluded.created, watched = excluded.watched, record = excluded.record",
        [(agent, key, record.created, record.watched, pack(record)) for key, record in commit.records.items()],
    )
    return int(agent)


def _records(database: sqlite3.Connection, which: str, agent: int, *values: object) -> dict[int, Record]:
    select = f"SELECT key, record, created FROM tasks WHERE agent = ? AND {which}"  # noqa: S608 - words of ours
    rows = database.execute(select, (agent, *values))
    with decoding():
        return {key: unpack(record, created) for key, record, created in rows}


class Rows:
    """``moving.Rows`` of a state in SQLite."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def begun(self) -> float:
        return created(self._database)

    def begin(self, at: float) -> None:
        self._database.execute("UPDATE state SET created = ?", (at,))

    def agents(self) -> dict[str, int]:
        return agents(self._database)

    def agent(self, handle: str) -> tuple[Book, dict[Key, int]]:
        agent = self.agents()[handle]
        return book(self._database, agent), numbers(self._database, agent)

    def tasks(self, handle: str, after: int | None, most: int) -> list[Row]:
        first = after is None
        return self._database.execute(
            "SELECT key, created, record FROM tasks"  # noqa: S608 - words of ours
            f" WHERE agent = (SELECT id FROM agents WHERE handle = ?) AND key {'>=' if first else '>'} ?"
            " ORDER BY key LIMIT ?",
            (handle, LEAST if first else after, most),
        ).fetchall()

    def write(self, handle: str, commit: Commit) -> None:
        write(self._database, handle, commit)
