"""What becomes of the state when something is wrong with the PostgreSQL server, its database, or what is in it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from exporter.tracking.overlay import Overlay
from exporter.tracking.postgres import PostgresStorage, Target, schema
from exporter.tracking.storage import StateDamaged, StateInUse, StateSetAside, StateTaken, StateUnwritable, StorageError
from tests.certificates import Authority
from tests.postgres import PASSWORD, SECRETIVE, Server, cut_others, running
from tests.proxy import proxied
from tests.tracking.states import HASTY, IMPATIENT, a_commit
from tests.tracking.stories import START
from tests.tracking.test_postgres import number_in, opened
from tests.truth.harness import Notes


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """One that may be stopped, whose disk is written to as in earnest."""
    with running(durable=True) as server:
        yield server


# Stopped, started, crashed


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_is_stopped_or_crashes_is_waited_for_and_has_what_was_committed(
    own_server: Server, mode: str
) -> None:
    log = Notes()
    url = own_server.database()
    storage = await PostgresStorage.open(Target(url=url), limits=HASTY)
    overlay = Overlay(storage, log, clock=lambda: START)
    await overlay.commit("a", a_commit(1))
    await asyncio.to_thread(own_server.stop, mode)
    await overlay.commit("a", a_commit(2))
    assert overlay.uncommitted() == 3
    (told,) = log.told("state cannot be written")
    assert "onnection" in told["error"]
    with pytest.raises(StateUnwritable):
        await overlay.load("a")
    await asyncio.to_thread(own_server.start)
    assert await number_in(storage) == 1
    await overlay.commit("b", a_commit(5))
    assert overlay.uncommitted() == 0
    assert await number_in(storage) == 2
    assert len(log.told("state can be written again")) == 1
    # All that was told to be committed survives the next crash.
    await asyncio.to_thread(own_server.restart, "immediate")
    assert [await number_in(storage, agent) for agent in "ab"] == [2, 5]
    await overlay.close()


# Not writable


async def test_a_database_that_is_read_only_can_be_read_and_is_written_to_when_it_is_not_any_more(
    database: str, postgres_server: Server
) -> None:
    """As is a standby, or a server whose disk is nearly full at some providers."""
    log = Notes()
    storage = await PostgresStorage.open(Target(url=database), limits=HASTY)
    overlay = Overlay(storage, log, clock=lambda: START)
    await overlay.commit("a", a_commit(1))
    with postgres_server.admin() as admin:
        for setting, uncommitted in (("on", 3), ("off", 0)):
            admin.execute(f"ALTER DATABASE {name_of(database)} SET default_transaction_read_only = {setting}".encode())
            postgres_server.cut(database)
            await overlay.commit("a", a_commit(2))
            assert overlay.uncommitted() == uncommitted
            assert await number_in(overlay) == 2
    assert await number_in(storage) == 2
    (told,) = log.told("state cannot be written")
    assert "in a read-only transaction" in told["error"]
    await overlay.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("53100", StateUnwritable),
        ("53400", StateUnwritable),
        ("58030", StateUnwritable),
        ("42501", StateUnwritable),
        ("40P01", StateUnwritable),
        ("55P03", StateUnwritable),
        ("XX001", StateDamaged),
        ("XX000", StorageError),
        ("23514", StorageError),
    ],
    ids=["disk full", "a limit", "disk broken", "forbidden", "deadlock", "locked", "damaged", "a defect", "a rule"],
)
async def test_what_the_server_says_decides_whether_a_commit_is_kept(
    database: str, postgres_server: Server, code: str, error: type[StorageError]
) -> None:
    """The server raises each of them in the middle of the commit."""
    async with opened(database) as storage:
        await storage.commit("a", a_commit(1))
        with postgres_server.admin(name_of(database)) as admin:
            admin.execute(
                "CREATE FUNCTION unpod_exporter.fail() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE 'no room' USING ERRCODE = '{code}', DETAIL = 'a row'; END $$;"
                "CREATE TRIGGER fail BEFORE UPDATE ON unpod_exporter.tasks EXECUTE FUNCTION unpod_exporter.fail()"
            )
            with pytest.raises(error, match="no room") as raised:
                await storage.commit("a", a_commit(2))
            assert type(raised.value) is error
            assert "a row" not in str(raised.value)
            assert await number_in(storage) == 1
            admin.execute("DROP FUNCTION unpod_exporter.fail CASCADE")
        await storage.commit("a", a_commit(3))
        assert await number_in(storage) == 3


# Gone back, or gone


async def test_a_database_that_has_gone_back_is_told_what_was_known(database: str, postgres_server: Server) -> None:
    """As a standby that lagged, or a backup that is played back beneath the running exporter."""
    async with opened(database) as storage:
        await storage.commit("a", a_commit(1))
        await storage.commit("b", a_commit(1))
        with postgres_server.admin(name_of(database)) as admin:
            admin.execute("CREATE TABLE kept AS TABLE unpod_exporter.agents")
            await storage.commit("a", a_commit(2))
            admin.execute("TRUNCATE unpod_exporter.agents")
            admin.execute("INSERT INTO unpod_exporter.agents OVERRIDING SYSTEM VALUE TABLE kept")
            admin.execute("DROP TABLE kept")
            cut_others(admin)
        for _ in range(2):
            with pytest.raises(StateSetAside, match="has gone back behind what was committed"):
                await storage.commit("a", a_commit(3))
            with pytest.raises(StateSetAside):
                await storage.records("a", [1])
        await storage.commit("b", a_commit(2))
        assert await storage.load("a") is not None
        await storage.commit("a", a_commit(4))
        assert await number_in(storage) == 4


@pytest.mark.parametrize("noticed", ["as it connects", "as it commits"])
async def test_a_state_that_somebody_has_dropped_is_begun_anew_with_what_is_known(
    database: str, postgres_server: Server, noticed: str
) -> None:
    async with opened(database) as storage:
        await storage.commit("a", a_commit(1))
        with postgres_server.admin(name_of(database)) as admin:
            if noticed == "as it commits":
                admin.execute("DELETE FROM unpod_exporter.agents")
            else:
                admin.execute("DROP SCHEMA unpod_exporter CASCADE")
                cut_others(admin)
        with pytest.raises(StateSetAside):
            await storage.commit("a", a_commit(2))
        assert await storage.load("a") is None
        await storage.commit("a", a_commit(3))
        assert await number_in(storage) == 3


# Damaged


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE unpod_exporter.agents SET book = '{' WHERE handle = 'a'",
        "UPDATE unpod_exporter.tasks SET record = '\\xc1' WHERE agent = 1",
        "UPDATE unpod_exporter.tasks SET record = '\\x93636300' WHERE agent = 1",
        "UPDATE unpod_exporter.numbers SET series = '[' WHERE agent = 1 AND series LIKE '%calls%'",
        "UPDATE unpod_exporter.numbers SET series = '5' WHERE agent = 1 AND series LIKE '%calls%'",
    ],
    ids=["no book", "no record", "a status that a later vocabulary has", "no series", "a number for a series"],
)
async def test_an_agent_that_cannot_be_read_is_told_and_left_as_it_is_and_hinders_no_other(
    database: str, postgres_server: Server, damage: str
) -> None:
    async with opened(database) as storage:
        await storage.commit("a", a_commit(1))
        await storage.commit("b", a_commit(1))
        with postgres_server.admin(name_of(database)) as admin:
            admin.execute(damage.encode())
        with pytest.raises(StateDamaged, match="it holds what no exporter of this version writes"):
            await storage.load("a")
        assert await number_in(storage, "b") == 1
        await storage.commit("b", a_commit(2))
    async with opened(database) as storage:
        assert await storage.agents() == ("a", "b")


async def test_an_agent_whose_rows_are_deleted_begins_anew(database: str, postgres_server: Server) -> None:
    """As the page says how to."""
    text = (Path(__file__).parents[2] / "docs" / "postgresql.md").read_text(encoding="utf-8")
    statements = re.findall(r"^    (DELETE .*;)$", text, re.MULTILINE)
    assert len(statements) == 3
    async with opened(database) as storage:
        await storage.commit("sales-agent-v1", a_commit(1))
        await storage.commit("b", a_commit(2))
    with postgres_server.admin(name_of(database)) as admin:
        for statement in statements:
            admin.execute(statement.encode())
        assert admin.execute("SELECT DISTINCT agent FROM unpod_exporter.tasks").fetchall() == [(2,)]
    async with opened(database) as storage:
        assert await storage.load("sales-agent-v1") is None
        await storage.commit("sales-agent-v1", a_commit(3))
        assert [await number_in(storage, agent) for agent in ("sales-agent-v1", "b")] == [3, 2]


# Who may come in


async def test_a_password_is_read_anew_for_each_connection_and_told_to_nobody(
    postgres_server: Server, database: str, tmp_path: Path
) -> None:
    name = name_of(database)
    with postgres_server.admin(name) as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {name} TO {SECRETIVE}".encode())
    file = tmp_path / "password"
    target = Target(url=postgres_server.url(name, user=SECRETIVE), password_file=file)
    for wrong in (None, "sesame opens nothing"):
        if wrong:
            file.write_text(wrong + "\n")
        with pytest.raises(StateUnwritable) as refused:
            await PostgresStorage.open(target, limits=HASTY)
        assert "sesame" not in str(refused.value)
    assert f'password authentication failed for user "{SECRETIVE}"' in str(refused.value)
    file.write_text(PASSWORD + "\n")
    storage = await PostgresStorage.open(target, limits=HASTY)
    try:
        await storage.commit("a", a_commit(1))
        file.write_text("rotated, but not here yet\n")
        postgres_server.cut(database)
        with pytest.raises(StateUnwritable, match="password authentication failed"):
            await storage.commit("a", a_commit(2))
        file.write_text(PASSWORD + "\n")
        await storage.commit("a", a_commit(3))
    finally:
        await storage.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("/test_", "/no_test_"), r'database "no_test_\d+" does not exist'),
        (("postgres@", "nobody_else@"), 'role "nobody_else" does not exist'),
        ((r":\d+/", ":1/"), "Connection refused"),
        (("127.0.0.1", "nowhere.invalid"), "nowhere.invalid"),
        ((r"$", "?sslmode=require"), "server does not support SSL"),
        ((r"$", "?sslrootcert=/no/such"), "."),
    ],
    ids=["no database", "no user", "nobody listens", "no host", "no TLS", "nothing wrong"],
)
async def test_whoever_cannot_connect_is_told_why_in_one_line(
    database: str, change: tuple[str, str], said: str
) -> None:
    url = re.sub(*change, database)
    if said == ".":
        async with opened(url):
            return
    with pytest.raises(StorageError, match=said) as refused:
        await PostgresStorage.open(Target(url=url), limits=HASTY)
    assert "\n" not in str(refused.value)
    assert url in str(refused.value)


async def test_a_server_proves_who_it_is_where_the_url_asks_for_that(own_server: Server, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    files = authority.issue("localhost", "127.0.0.1", file="server")
    own_server.encrypt(files.cert, files.key)
    url = own_server.database()
    async with opened(f"{url}?sslmode=verify-full&sslrootcert={authority.cert}") as storage:
        await storage.commit("a", a_commit(1))
    with pytest.raises(StateUnwritable, match="certificate verify failed"):
        await PostgresStorage.open(
            Target(url=f"{url}?sslmode=verify-full&sslrootcert={stranger.cert}"), limits=IMPATIENT
        )


# Versions


OLDER = schema.MIGRATIONS
NEWER = (*OLDER, ("ALTER TABLE unpod_exporter.agents ADD COLUMN later text",))


async def test_of_exporters_that_start_together_on_nothing_one_creates_the_state(database: str) -> None:
    storages = await asyncio.gather(
        *(PostgresStorage.open(Target(url=database), shared=True, limits=IMPATIENT) for _ in range(5))
    )
    assert len({storage.created for storage in storages}) == 1
    for storage in storages:
        await storage.close()


async def test_an_older_state_is_brought_up_to_date_once_nobody_uses_it_and_loses_nothing(
    database: str, postgres_server: Server
) -> None:
    with psycopg.connect(database, autocommit=True) as newer:
        async with opened(database) as storage:
            await storage.commit("a", a_commit(1))
            with pytest.raises(
                StateInUse, match=r"has version 1, which is to become 2, and is in use by unpod-exporter"
            ):
                schema.prepare(newer, START, NEWER)
        await asyncio.to_thread(wait_until_free, newer)
        schema.prepare(newer, START, NEWER)
        assert newer.execute("SELECT handle, later FROM unpod_exporter.agents").fetchall() == [("a", None)]
        about = schema.about(newer, NEWER)
        assert about is not None
        assert about.version == 2
        with pytest.raises(StorageError, match="has version 2, this exporter reads versions up to 1; run the exporter"):
            await PostgresStorage.open(Target(url=database), limits=IMPATIENT)


def wait_until_free(connection: psycopg.Connection[Any]) -> None:
    while schema.holders(connection):
        connection.execute("SELECT pg_sleep(0.01)")


async def test_a_migration_that_fails_changes_nothing(database: str) -> None:
    async with opened(database) as storage:
        await storage.commit("a", a_commit(1))
    broken = (*NEWER, ("ALTER TABLE unpod_exporter.nothing ADD COLUMN later text",))
    with psycopg.connect(database, autocommit=True) as connection:
        wait_until_free(connection)
        with pytest.raises(psycopg.Error):
            schema.prepare(connection, START, broken)
    async with opened(database) as storage:
        assert await number_in(storage) == 1


async def test_a_schema_of_that_name_that_is_not_ours_is_refused(database: str, postgres_server: Server) -> None:
    with postgres_server.admin(name_of(database)) as admin:
        admin.execute(
            "CREATE SCHEMA unpod_exporter;"
            "CREATE TABLE unpod_exporter.state (version integer, identity text, created float8)"
        )
    with pytest.raises(StorageError, match="is empty: that is no state of an exporter"):
        await PostgresStorage.open(Target(url=database), limits=IMPATIENT)


async def test_an_exporter_whose_state_another_has_taken_meanwhile_writes_nothing_over_it(
    database: str, postgres_server: Server
) -> None:
    """It could not connect for a while, and the other one was started in its place."""
    async with (
        proxied(postgres_server.port) as proxy,
        opened(proxy.url(database), limits=HASTY) as first,
    ):
        await first.commit("a", a_commit(1))
        proxy.refuses = True
        proxy.cut()
        async with opened(database) as second:
            assert await number_in(second) == 1
            await second.commit("a", a_commit(7))
            proxy.refuses = False
            with pytest.raises(StateInUse):
                await first.commit("a", a_commit(2))
        with pytest.raises(StateTaken, match="another exporter has written the agent meanwhile"):
            await first.commit("a", a_commit(2))
        assert await number_in(first) == 7
