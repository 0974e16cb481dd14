"""What goes wrong between the exporter and a PostgreSQL database, as rows of the matrix enter it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from tests.postgres import cut_others
from tests.truth.harness import Bench, Database


def _of(made: Bench) -> Database:
    assert made.database is not None
    return made.database


@asynccontextmanager
async def unreachable(made: Bench) -> AsyncIterator[None]:
    """Its server is stopped, or the network is cut."""
    proxy = _of(made).proxy
    assert proxy is not None
    proxy.refuses = True
    proxy.cut()
    yield
    proxy.refuses = False


@asynccontextmanager
async def silent(made: Bench) -> AsyncIterator[None]:
    """Nothing is heard of it any more."""
    proxy = _of(made).proxy
    assert proxy is not None
    proxy.hold()
    yield
    proxy.release()
    proxy.cut()


@asynccontextmanager
async def cut(made: Bench) -> AsyncIterator[None]:
    """All connections are cut, as in a restart or a failover; others can be made."""
    await _does(made, cut_others)
    yield


@asynccontextmanager
async def read_only(made: Bench) -> AsyncIterator[None]:
    """As is a standby, or a server that its operator has locked."""
    await _does(made, lambda admin: _set_read_only(admin, "on"))
    yield
    await _does(made, lambda admin: _set_read_only(admin, "off"))


@asynccontextmanager
async def full(made: Bench) -> AsyncIterator[None]:
    """Whatever writes a task is told that there is no room on the server's disk."""
    await _does(
        made,
        lambda admin: admin.execute(
            "CREATE FUNCTION unpod_exporter.fail() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;"
            "CREATE TRIGGER fail BEFORE INSERT ON unpod_exporter.tasks EXECUTE FUNCTION unpod_exporter.fail()"
        ),
    )
    yield
    await _does(made, lambda admin: admin.execute("DROP FUNCTION unpod_exporter.fail CASCADE"))


@asynccontextmanager
async def dropped(made: Bench) -> AsyncIterator[None]:
    """Somebody drops the state, or another database answers by that name."""

    def drop(admin: psycopg.Connection[Any]) -> None:
        admin.execute("DROP SCHEMA unpod_exporter CASCADE")
        cut_others(admin)

    await _does(made, drop)
    yield


def _set_read_only(admin: psycopg.Connection[Any], word: str) -> None:
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET default_transaction_read_only = {word}".encode())
    cut_others(admin)


async def _does(made: Bench, work: Any) -> None:
    def do() -> None:
        database = _of(made)
        with database.server.admin(database.url.rpartition("/")[2]) as admin:
            admin.execute("SET default_transaction_read_only = off")
            work(admin)

    await asyncio.to_thread(do)
