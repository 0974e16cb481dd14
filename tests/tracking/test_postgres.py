"""What only the state in PostgreSQL promises; what every state does is in ``test_storage``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import psycopg
import pytest

from exporter.tracking.overlay import Overlay
from exporter.tracking.postgres import Limits, PostgresStorage, Target
from exporter.tracking.records import Record
from exporter.tracking.storage import (
    Book,
    Commit,
    State,
    StateInUse,
    StateTaken,
    StateUnwritable,
)
from tests.postgres import Server
from tests.proxy import DOWN, UP, Fate, proxied
from tests.tracking.states import HASTY, IMPATIENT, a_commit, created_between, is_whole
from tests.truth.harness import Notes

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
        assert await created_between(storage, "a", 0.0, 1.5) == {
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
        postgres_server.cut(database)
        await storage.commit("a", of(2))
        postgres_server.cut(database)
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


# Wherever the connection is lost


async def number_in(storage: State, agent: str = "a") -> int:
    """What all of an agent tells, or would if it were whole."""
    loaded = await storage.load(agent)
    assert loaded is not None
    number = loaded.book.reported
    assert number is not None
    assert is_whole(loaded, number)
    return number


class Once:
    """Lets so many pieces pass in a direction; the next one meets its fate, and then all pass again."""

    def __init__(self, direction: str, fate: Fate, after: int = 0) -> None:
        self._direction, self._fate, self._after = direction, fate, after
        self.struck = False

    def __call__(self, direction: str, data: bytes) -> Fate:
        if direction != self._direction or self.struck:
            return Fate.PASSED
        self._after -= 1
        self.struck = self._after < 0
        return self._fate if self.struck else Fate.PASSED


@pytest.mark.parametrize(
    ("direction", "fate"),
    [(UP, Fate.CUT), (UP, Fate.PASSED_THEN_CUT), (DOWN, Fate.CUT), (DOWN, Fate.PASSED_THEN_CUT)],
    ids=["before it arrives", "as it arrives", "before the answer arrives", "as the answer arrives"],
)
async def test_a_commit_whose_connection_is_cut_is_made_once(
    database: str, postgres_server: Server, direction: str, fate: Fate
) -> None:
    async with proxied(postgres_server.port) as proxy, opened(proxy.url(database)) as storage:
        await storage.commit("a", a_commit(1))
        proxy.rule = rule = Once(direction, fate)
        await storage.commit("a", a_commit(2))
        assert rule.struck
        assert await number_in(storage) == 2
        await storage.commit("a", a_commit(3))
    async with opened(database) as storage:
        assert await number_in(storage) == 3


@pytest.mark.parametrize("seed", range(4))
async def test_wherever_connections_are_cut_what_was_told_is_there_in_the_end(
    database: str, postgres_server: Server, seed: int
) -> None:
    """Also while they are made, and again while they are made anew."""
    random = Random(seed)
    cut = 0

    def rule(direction: str, data: bytes) -> Fate:
        nonlocal cut
        if random.random() > 0.1:
            return Fate.PASSED
        cut += 1
        return random.choice((Fate.CUT, Fate.PASSED_THEN_CUT))

    log = Notes()
    async with proxied(postgres_server.port) as proxy:
        storage = await PostgresStorage.open(Target(url=proxy.url(database)), limits=HASTY)
        overlay = Overlay(storage, log, clock=lambda: 0.0)
        proxy.rule = rule
        for number in range(1, 60):
            await overlay.commit(random.choice("ab"), a_commit(number))
            if random.random() < 0.2:
                proxy.cut()
        proxy.release()
        for agent in "ab":
            await overlay.commit(agent, a_commit(60))
        assert overlay.uncommitted() == 0
        await overlay.close()
    assert cut > 10
    async with opened(database) as storage:
        assert {agent: await number_in(storage, agent) for agent in "ab"} == {"a": 60, "b": 60}


async def test_a_commit_that_arrives_late_changes_nothing_that_is_newer(database: str, postgres_server: Server) -> None:
    """Of one who shares the state: nobody ends the session that it was sent in."""
    async with (
        proxied(postgres_server.port) as proxy,
        opened(proxy.url(database), limits=HASTY, shared=True) as storage,
    ):
        await storage.commit("a", a_commit(1))
        proxy.rule = rule = Once(UP, Fate.HELD)
        with pytest.raises(StateUnwritable, match="no answer within"):
            await storage.commit("a", a_commit(2))
        assert rule.struck
        await storage.commit("a", a_commit(3))
        proxy.release()
        await asyncio.to_thread(wait_for_sessions, postgres_server, database, 1)
        assert await number_in(storage) == 3
        await storage.commit("a", a_commit(4))


def wait_for_sessions(server: Server, url: str, number: int) -> None:
    """Returns when no more sessions than this use a database."""
    deadline = time.monotonic() + 30
    with server.admin() as admin:
        while sessions(admin, url) > number:
            assert time.monotonic() < deadline
            admin.execute("SELECT pg_sleep(0.01)")


def sessions(admin: psycopg.Connection[Any], url: str) -> int:
    row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [url.rpartition("/")[2]]).fetchone()
    assert row is not None
    return int(row[0])


async def test_one_whose_connection_was_swallowed_takes_its_state_back(database: str, postgres_server: Server) -> None:
    """The server still thinks that the connection before lives, and holds the lock."""
    async with proxied(postgres_server.port) as proxy, opened(proxy.url(database), limits=HASTY) as storage:
        await storage.commit("a", a_commit(1))
        proxy.rule = rule = Once(UP, Fate.HELD)
        with pytest.raises(StateUnwritable):
            await storage.commit("a", a_commit(2))
        assert rule.struck
        await storage.commit("a", a_commit(3))
        proxy.release()
        assert await number_in(storage) == 3


async def test_a_server_that_is_silent_holds_nobody_up_and_is_not_asked_by_everybody(
    database: str, postgres_server: Server
) -> None:
    limits = Limits(connect=1.0, work=0.3, rest=100.0, patience=0.2)
    now = 0.0
    async with proxied(postgres_server.port) as proxy:
        storage = await PostgresStorage.open(Target(url=proxy.url(database)), limits=limits, elapsed=lambda: now)
        await storage.commit("a", a_commit(1))
        proxy.hold()
        begun, turns = time.monotonic(), 0
        waiting = asyncio.create_task(storage.commit("a", a_commit(2)))
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0.01)
        assert turns > 20, "the loop went on"
        with pytest.raises(StateUnwritable):
            await waiting
        proxy.cut()
        proxy.refuses = True
        for _ in range(50):
            with pytest.raises(StateUnwritable):
                await storage.commit("a", a_commit(3))
        assert proxy.connections <= 3
        proxy.refuses = False
        proxy.release()
        now = 101.0
        await storage.commit("a", a_commit(4))
        proxy.hold()
        unheard = asyncio.create_task(storage.commit("a", a_commit(5)))
        await asyncio.sleep(0)
        await storage.close()
        with pytest.raises(StateUnwritable):
            await unheard
        assert time.monotonic() - begun < 30
