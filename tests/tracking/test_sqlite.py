"""The state in a file: nobody else's is touched, and one that is damaged is set aside. What every state promises is in
``test_storage``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from exporter.tracking import tables
from exporter.tracking.records import Record, digest
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Commit, StateInUse, StorageError
from tests.tracking.states import BOOK, a_commit, clock_at, created_between, is_whole
from tests.tracking.stories import START


@asynccontextmanager
async def opened(path: Path | None = None, **more: Any) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(path, **more)
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_a_handle_may_hold_a_nul(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("\x00", a_commit(1))
    async with opened(path) as storage:
        assert await storage.agents() == ("\x00",)


# One writer


async def test_whoever_holds_the_state_is_told_by_its_process(path: Path) -> None:
    async with opened(path):
        with pytest.raises(StateInUse, match=rf"state\.db is in use by another exporter \(process {os.getpid()}\)"):
            await SqliteStorage.open(path)


async def test_a_link_to_a_state_in_use_is_refused_too(path: Path) -> None:
    async with opened(path):
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(StateInUse):
            await SqliteStorage.open(link)


async def test_states_in_memory_do_not_exclude_each_other() -> None:
    async with opened() as one, opened() as two:
        await one.commit("agent", a_commit(1))
        assert await two.agents() == ()


# Only our own files


MINUTES = b"minutes of the meeting\n" * 100


def content(path: Path) -> bytes:
    return path.read_bytes()


def write_minutes(path: Path) -> None:
    path.write_bytes(MINUTES)


def remove(path: Path) -> None:
    path.unlink()


def made_by_sqlite(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


@pytest.mark.parametrize("version", [0, 2, 7])
async def test_another_version_of_the_state_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
    made_by_sqlite(path, f"PRAGMA user_version = {version}")
    before = content(path)
    with pytest.raises(StorageError, match=rf"has version {version}, this exporter reads version 1; run the exporter"):
        await SqliteStorage.open(path)
    assert content(path) == before


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    made_by_sqlite(path, "CREATE TABLE precious (thing TEXT)")
    before = content(path)
    with pytest.raises(StorageError, match=r"is a database of another program; name another file in state\.path"):
        await SqliteStorage.open(path)
    assert content(path) == before


async def test_a_state_that_is_no_database_any_more_is_set_aside_as_it_is(path: Path) -> None:
    async with opened(path):
        pass
    write_minutes(path)
    async with opened(path, clock=clock_at(START)) as storage:
        assert storage.set_aside() == 1
    assert content(path.with_name("state.db.corrupt-20251124T160000Z")) == MINUTES


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"{tmp_path} is a directory; name a file in state\.path"):
        await SqliteStorage.open(tmp_path)


async def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"state\.db"):
        await SqliteStorage.open(tmp_path / "file" / "state.db")


async def test_a_directory_that_is_missing_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path / "a" / "b" / "state.db") as storage:
        assert await storage.agents() == ()


async def test_a_state_that_could_not_be_opened_can_be_opened_once_that_is_mended(path: Path) -> None:
    made_by_sqlite(path, "CREATE TABLE precious (thing TEXT)")
    with pytest.raises(StorageError):
        await SqliteStorage.open(path)
    remove(path)
    async with opened(path) as storage:
        assert await storage.agents() == ()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE agents SET book = '{'",
        "UPDATE tasks SET record = x'c1'",
        "UPDATE tasks SET record = x'93636300'",
        "UPDATE OR REPLACE numbers SET series = '['",
        "UPDATE OR REPLACE numbers SET series = '5'",
    ],
    ids=["no book", "no record", "a status that a later vocabulary has", "no series", "a number for a series"],
)
async def test_a_state_that_cannot_be_read_gives_way_to_a_new_one(path: Path, damage: str) -> None:
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
    made_by_sqlite(path, "UPDATE tasks SET watched = 1", damage)
    async with opened(path) as storage:
        assert await storage.load("agent") is None
        assert storage.set_aside() == 1
        await storage.commit("agent", a_commit(2))


async def test_the_size_is_that_of_the_file_and_its_journal(path: Path) -> None:
    async with opened(path) as storage:
        empty = storage.size()
        await storage.commit("agent", a_commit(1, tasks=2000))
        assert storage.size() > empty > 0
    async with opened() as storage:
        assert storage.size() == 0


def found(begin: int, end: int, *, attempt: int = 0) -> Commit:
    """Settled tasks that were found one after the other: their keys lie anywhere."""
    record = Record(status="completed", execution_type="call", retry_attempt=attempt, created=START)
    return Commit(book=BOOK, numbers={}, records={digest(f"T{place}"): record for place in range(begin, end)})


async def test_what_a_commit_writes_follows_what_has_changed_and_not_the_history(path: Path) -> None:
    async with opened(path) as storage:
        for begin in range(0, 20_000, 2_000):
            await storage.commit("agent", found(begin, begin + 2_000))
    async with opened(path) as storage:
        whole = storage.size()
        await storage.commit("agent", found(19_800, 20_000, attempt=1))
        assert storage.size() < 1.05 * whole


async def test_a_state_whose_tasks_lie_by_their_keys_goes_on(path: Path) -> None:
    before, by_key = "record BLOB NOT NULL, PRIMARY KEY (agent, key))", " WITHOUT ROWID"
    with closing(sqlite3.connect(path)) as database, database:
        assert any(before in statement for statement in tables.SCHEMA)
        for statement in tables.SCHEMA:
            database.execute(statement.replace(before, before + by_key))
        database.execute("INSERT INTO state VALUES (?)", (START,))
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
        await storage.commit("agent", a_commit(2))
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 2)
        assert len(await created_between(storage, "agent", START, START + 3)) == 2


async def test_only_who_limits_the_history_pays_for_finding_tasks_by_their_age(path: Path) -> None:
    def is_indexed() -> bool:
        with closing(sqlite3.connect(path)) as database:
            return bool(database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'tasks_by_age'").fetchall())

    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
        assert not is_indexed()
        await created_between(storage, "agent", START, START + 1)
        assert is_indexed()
        await storage.commit("agent", a_commit(2))


async def test_a_file_that_was_never_a_state_stays_where_it_is(path: Path) -> None:
    """It was named by mistake, and may be the settings."""
    write_minutes(path)
    with pytest.raises(StorageError, match=r"is no state of this exporter; name another file in state\.path"):
        await SqliteStorage.open(path)
    assert content(path) == MINUTES
    assert not path.with_name("state.db.lock").exists()
