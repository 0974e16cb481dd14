"""The tables of the state in PostgreSQL and their version: created, and brought up to date, by whoever comes first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, LiteralString, TypeAlias

import msgspec

from exporter.tracking.postgres.link import Connection
from exporter.tracking.storage import StateInUse, StorageError

_LOCKS: Final = 0x556E7064
"""The first half of the keys of all our advisory locks ("Unpd")."""
_MIGRATION: Final = 1
_STATE: Final = 2

Migrations: TypeAlias = Sequence[Sequence[LiteralString]]
"""The statements that bring a state from each version to the next, from 0, which is none at all."""

MIGRATIONS: Final[Migrations] = (
    (
        "CREATE SCHEMA IF NOT EXISTS unpod_exporter",
        # ``identity`` tells this state from one that takes its place.
        "CREATE TABLE unpod_exporter.state ("
        " version integer NOT NULL, created double precision NOT NULL, identity uuid NOT NULL)",
        "CREATE TABLE unpod_exporter.agents ("
        " id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY, handle text NOT NULL UNIQUE, book text NOT NULL,"
        # Rises with each commit, by chance: no two writers come to the same.
        " revision bigint NOT NULL)",
        "CREATE TABLE unpod_exporter.numbers ("
        " agent integer NOT NULL, series text NOT NULL, value bigint NOT NULL, PRIMARY KEY (agent, series))",
        "CREATE TABLE unpod_exporter.tasks ("
        " agent integer NOT NULL, key bigint NOT NULL, created double precision, watched boolean NOT NULL,"
        " record bytea NOT NULL, PRIMARY KEY (agent, key))",
        "CREATE INDEX watched_tasks ON unpod_exporter.tasks (agent) WHERE watched",
        "CREATE INDEX tasks_by_age ON unpod_exporter.tasks (agent, created)",
        "CREATE TABLE unpod_exporter.replicas ("
        " id text PRIMARY KEY, name text NOT NULL, choice text NOT NULL, joined timestamptz NOT NULL,"
        " expires timestamptz NOT NULL, share integer NOT NULL)",
        "CREATE TABLE unpod_exporter.leases (agent text PRIMARY KEY, holder text, epoch bigint NOT NULL DEFAULT 0)",
        "CREATE SEQUENCE unpod_exporter.epochs",
    ),
)


class About(msgspec.Struct, frozen=True):
    """What tells one state from another."""

    version: int
    identity: str
    created: float
    """When it began, in Unix seconds."""


NOTHING: Final = About(0, "", 0.0)


class Session(msgspec.Struct, frozen=True):
    """A session of the server, which never comes again."""

    pid: int
    began: datetime


class Holder(msgspec.Struct, frozen=True):
    """A session that holds the state."""

    session: Session
    name: str
    """For people."""


def session(connection: Connection) -> Session:
    """That of the connection."""
    row = connection.execute("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
    if row is None:
        raise StorageError("the server does not show its own session")
    return Session(*row)


def prepare(connection: Connection, now: float, migrations: Migrations = MIGRATIONS) -> None:
    """Creates the state at this Unix time where there is none, and brings one up to date that is older.

    Raises ``StateInUse`` where somebody still uses the older one, ``StorageError`` where it is newer than this
    exporter.
    """
    if (about(connection, migrations) or NOTHING).version == len(migrations):
        return
    with connection.transaction():
        connection.execute("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)")
        # Of several exporters that start together, one does it.
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCKS, _MIGRATION])
        version = (about(connection, migrations) or NOTHING).version
        if 0 < version < len(migrations) and (others := holders(connection)):
            raise StateInUse(
                f"the state has version {version}, which is to become {len(migrations)}, and is in use by "
                f"{named(others)}; stop all exporters that use it, then start this one"
            )
        _migrate(connection, version, now, migrations)


def about(connection: Connection, migrations: Migrations = MIGRATIONS) -> About | None:
    """What tells the state from others; None: there is none. Raises ``StorageError`` where it is newer than this
    exporter, or is not one."""
    # Not by to_regclass, which may not see yet what another session has just created.
    found = "SELECT FROM pg_tables WHERE schemaname = 'unpod_exporter' AND tablename = 'state'"
    if connection.execute(found).fetchone() is None:
        return None
    row = connection.execute("SELECT version, identity::text, created FROM unpod_exporter.state").fetchone()
    if row is None:
        raise StorageError("its table unpod_exporter.state is empty: that is no state of an exporter")
    if row[0] > len(migrations):
        raise StorageError(
            f"the state has version {row[0]}, this exporter reads versions up to {len(migrations)}; "
            "run the exporter that wrote it, or name another database in state.url"
        )
    return About(*row)


def lock(connection: Connection, *, shared: bool, patience: float) -> None:
    """Holds the state from now on for as long as the session lives: alone, or ``shared`` with others who share it.

    Raises ``psycopg.errors.LockNotAvailable`` where somebody else has it for longer than ``patience``, in seconds.
    """
    function = "pg_advisory_lock_shared" if shared else "pg_advisory_lock"
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{patience * 1000:.0f}ms"])
        connection.execute(f"SELECT {function}(%s, %s)", [_LOCKS, _STATE])


def holders(connection: Connection) -> list[Holder]:
    """Who holds the state, but for this session."""
    rows = connection.execute(
        "SELECT pid, backend_start, application_name, coalesce(host(client_addr), 'a socket of the server')"
        " FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()",
        [_LOCKS, _STATE],
    )
    return [Holder(Session(pid, began), f"{name} from {where}") for pid, began, name, where in rows]


def named(found: Sequence[Holder]) -> str:
    """Holders, for people."""
    return ", ".join(holder.name for holder in found) or "an unknown session"


def terminate(connection: Connection, sessions: Collection[Session]) -> None:
    """Ends sessions of the same user, with whatever they have not committed."""
    connection.execute(
        "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
        " JOIN unnest(%s::int[], %s::timestamptz[]) AS ended (pid, began) USING (pid) WHERE backend_start = began",
        [[one.pid for one in sessions], [one.began for one in sessions]],
    )


def _migrate(connection: Connection, version: int, now: float, migrations: Migrations) -> None:
    for statement in chain.from_iterable(migrations[version:]):
        connection.execute(statement)
    if version == 0:
        connection.execute(
            "INSERT INTO unpod_exporter.state VALUES (%s, %s, gen_random_uuid())", [len(migrations), now]
        )
    else:
        connection.execute("UPDATE unpod_exporter.state SET version = %s", [len(migrations)])
