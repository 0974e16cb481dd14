"""What only the state in PostgreSQL promises; what every state does is in ``test_storage``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from exporter.tracking.postgres import PostgresStorage, Target
from exporter.tracking.records import Record
from exporter.tracking.storage import Book, Commit, StateInUse, StateTaken
from tests.postgres import Server
from tests.tracking.states import IMPATIENT

BOOK = Book(since=1.0, count_from=0.0)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresStorage]:
    storage = await PostgresStorage.open(Target(url=url), **{"limits": IMPATIENT, **options})
    try:
        yield storage
    finally:
        await storage.close()


def of(number: int, **changes: Any) -> Commit:
    record = Record(status="completed", execution_type="call", created=float(number), **changes)
    return Commit(book=BOOK, numbers={("calls", "a"): number}, records={number: record})


async def test_what_is_committed_is_there_when_it_is_opened_again(database: str) -> None:
    async with opened(database) as storage:
        await storage.commit("a", of(1))
        await storage.commit("a", of(2, settles=5.0))
    async with opened(database) as storage:
        loaded = await storage.load("a")
        assert loaded is not None
        assert loaded.numbers == {("calls", "a"): 2}
        assert loaded.tracked == 2
        assert loaded.watched == {2: Record(status="completed", execution_type="call", created=2.0, settles=5.0)}
        assert await storage.created_between("a", 0.0, 1.5) == {
            1: Record(status="completed", execution_type="call", created=1.0)
        }
        assert await storage.agents() == ("a",)
        assert storage.size() > 0


async def test_another_exporter_is_refused(database: str) -> None:
    async with opened(database):
        with pytest.raises(StateInUse, match=r"in use by another exporter \(unpod-exporter from 127\.0\.0\.1\)"):
            await PostgresStorage.open(Target(url=database), limits=IMPATIENT)


async def test_sessions_that_are_cut_are_made_anew_without_anybody_noticing(
    database: str, postgres_server: Server
) -> None:
    async with opened(database) as storage:
        await storage.commit("a", of(1))
        postgres_server.cut_all()
        await storage.commit("a", of(2))
        postgres_server.cut_all()
        loaded = await storage.load("a")
        assert loaded is not None
        assert loaded.numbers == {("calls", "a"): 2}


async def test_of_two_that_share_a_state_none_writes_over_what_it_has_not_loaded(database: str) -> None:
    async with opened(database, shared=True) as one, opened(database, shared=True) as other:
        await one.commit("a", of(1))
        with pytest.raises(StateTaken):
            await other.commit("a", of(7))
        assert await other.load("a") is not None
        await other.commit("a", of(2))
        with pytest.raises(StateTaken):
            await one.commit("a", of(8))
