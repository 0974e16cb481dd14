"""How an agent is written to the tables in PostgreSQL and read from them.

Whatever reads raises ``StateDamaged`` where a row holds what is never written.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from exporter.tracking.moving import LEAST, Row
from exporter.tracking.postgres.link import Connection
from exporter.tracking.records import Record, pack, unpack
from exporter.tracking.rows import decoding, key_of, series_of
from exporter.tracking.storage import AT_ONCE, Book, Commit, Loaded
from exporter.tracking.tallies import Key

_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITE: Final = """
WITH written AS (
    INSERT INTO unpod_exporter.agents AS known (handle, book, revision)
    SELECT %(handle)s::text, %(book)s::text, %(revision)s::bigint
    WHERE 0 = ANY (%(after)b::bigint[]) OR EXISTS (SELECT FROM unpod_exporter.agents WHERE handle = %(handle)s)
    ON CONFLICT (handle) DO UPDATE SET book = excluded.book, revision = excluded.revision
    WHERE known.revision = ANY (%(after)b::bigint[])
    RETURNING id
), counted AS (
    INSERT INTO unpod_exporter.numbers (agent, series, value)
    SELECT id, series, value FROM written, unnest(%(series)b::text[], %(values)b::bigint[]) AS new (series, value)
    ON CONFLICT (agent, series) DO UPDATE SET value = excluded.value
), dropped AS (
    DELETE FROM unpod_exporter.numbers USING written WHERE agent = id AND series = ANY (%(dropped)b::text[])
), recorded AS (
    INSERT INTO unpod_exporter.tasks (agent, key, created, watched, record)
    SELECT id, key, created, watched, record FROM written,
        unnest(%(keys)b::bigint[], %(created)b::float8[], %(watched)b::boolean[], %(records)b::bytea[])
        AS new (key, created, watched, record)
    ON CONFLICT (agent, key) DO UPDATE
    SET created = excluded.created, watched = excluded.watched, record = excluded.record
)
SELECT id FROM written
"""
"""One statement, so that a commit is one round trip. Arrays go as they are (``b``): as text they would take thrice the
processor time."""


class Handle(msgspec.Struct, frozen=True):
    """An agent in the tables."""

    id: int
    revision: int
    """Of its last commit."""


def agents(connection: Connection) -> dict[str, Handle]:
    """The agents that were ever written, in that order."""
    rows = connection.execute("SELECT handle, id, revision FROM unpod_exporter.agents ORDER BY id")
    return {handle: Handle(agent, revision) for handle, agent, revision in rows}


def load(connection: Connection, handle: str, within: float) -> tuple[Handle, Loaded] | None:
    """Everything that is kept in memory of an agent, as it is at one moment; None: it was never written.

    It takes ``within`` so many seconds, whatever the session's ``statement_timeout`` is.
    """
    with connection.transaction():
        connection.execute(_SNAPSHOT)
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{within:g}s"])
        row = connection.execute(
            "SELECT id, revision, book FROM unpod_exporter.agents WHERE handle = %s", [handle]
        ).fetchone()
        if row is None:
            return None
        agent, revision, book = row
        (tracked,) = connection.execute(
            "SELECT count(*) FROM unpod_exporter.tasks WHERE agent = %s", [agent]
        ).fetchone() or (0,)
        loaded = Loaded(
            book=_book(book),
            numbers=_numbers(connection, agent),
            watched=_records(connection, "watched", agent),
            tracked=tracked,
        )
        return Handle(agent, revision), loaded


def records(connection: Connection, agent: int, keys: Collection[int]) -> dict[int, Record]:
    """The records of those tasks that are known, by key."""
    return _records(connection, "key = ANY (%s::bigint[])", agent, list(keys))


def created_between(
    connection: Connection, agent: int, start: float, end: float, after: int | None = None
) -> dict[int, Record]:
    """The records of the first tasks created from ``start`` to just before ``end``, by key: ``AT_ONCE`` at most, and
    of those created at ``start`` itself only those ``after`` a key."""
    return _records(
        connection,
        "created >= %s AND created < %s AND (%s::bigint IS NULL OR created > %s OR key > %s)"
        " ORDER BY created, key LIMIT %s",
        agent,
        *(start, end, after, start, after, AT_ONCE),
    )


def write(connection: Connection, handle: str, commit: Commit, *, after: Collection[int], revision: int) -> int | None:
    """Writes what has changed of an agent, whole or not at all; returns the number that it goes by.

    None: nothing was written, since its revision (0: it was never written) is none of those that this new ``revision``
    comes ``after``.
    """
    # In their order in the table, so that what lies together is written together, and whoever else writes waits.
    records = sorted(commit.records.items())
    numbers = list(commit.numbers.items())
    dropped = [series_of(key) for key in commit.dropped if key not in commit.numbers]
    row = connection.execute(
        _WRITE,
        {
            "handle": handle,
            "book": msgspec.json.encode(commit.book).decode(),
            "after": list(after),
            "revision": revision,
            "series": [series_of(key) for key, _ in numbers],
            "values": [value for _, value in numbers],
            "dropped": dropped,
            "keys": [key for key, _ in records],
            "created": [record.created for _, record in records],
            "watched": [record.watched for _, record in records],
            "records": [pack(record) for _, record in records],
        },
    ).fetchone()
    return int(row[0]) if row else None


class Rows:
    """``moving.Rows`` of a state in PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._revisions: dict[str, int] = {}

    def begun(self) -> float:
        row = self._connection.execute("SELECT created FROM unpod_exporter.state").fetchone()
        return float(row[0]) if row else 0.0

    def begin(self, at: float) -> None:
        self._connection.execute("UPDATE unpod_exporter.state SET created = %s", [at])

    def agents(self) -> dict[str, Handle]:
        return agents(self._connection)

    def agent(self, handle: str) -> tuple[Book, dict[Key, int]]:
        row = self._connection.execute(
            "SELECT id, book FROM unpod_exporter.agents WHERE handle = %s", [handle]
        ).fetchone() or (0, "")
        return _book(row[1]), _numbers(self._connection, row[0])

    def tasks(self, handle: str, after: int | None, most: int) -> list[Row]:
        return self._connection.execute(
            "SELECT key, created, record FROM unpod_exporter.tasks"  # noqa: S608 - words of ours
            " WHERE agent = (SELECT id FROM unpod_exporter.agents WHERE handle = %s)"
            f" AND key {'>=' if after is None else '>'} %s ORDER BY key LIMIT %s",
            [handle, LEAST if after is None else after, most],
            binary=True,
        ).fetchall()

    def write(self, handle: str, commit: Commit) -> None:
        before = self._revisions.get(handle, 0)
        self._revisions[handle] = before + 1
        write(self._connection, handle, commit, after=[before], revision=before + 1)


def size(connection: Connection) -> int:
    """Bytes of the tables and their indexes on the server's disk."""
    row = connection.execute(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'unpod_exporter'::regnamespace"
    ).fetchone()
    return int(row[0]) if row else 0


def _book(text: str) -> Book:
    with decoding():
        return msgspec.json.decode(text, type=Book)


def _numbers(connection: Connection, agent: int) -> dict[Key, int]:
    rows = connection.execute("SELECT series, value FROM unpod_exporter.numbers WHERE agent = %s", [agent])
    with decoding():
        return {key_of(series): value for series, value in rows}


def _records(connection: Connection, which: str, agent: int, *values: object) -> dict[int, Record]:
    select = f"SELECT key, record, created FROM unpod_exporter.tasks WHERE agent = %s AND {which}"  # noqa: S608 - words of ours
    rows = connection.execute(select, [agent, *values], binary=True)
    with decoding():
        return {key: unpack(record, created) for key, record, created in rows}
