"""Leases in a real PostgreSQL: nobody has what another holds, and whoever has lost an agent cannot commit it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from exporter.tracking.postgres import Limits, PostgresStorage, Target
from exporter.tracking.postgres.registry import Leases, fence
from exporter.tracking.replicas.quotas import View
from exporter.tracking.replicas.registry import Change, Me, Tenure
from exporter.tracking.storage import Book, Commit, StateTaken

LONG = 600.0
BOOK = Book(since=1.0, count_from=0.0)
ONE, OTHER = (Me(id=f"{name}-1", name=name, choice="all") for name in ("one", "other"))


@asynccontextmanager
async def registry(url: str) -> AsyncIterator[Leases]:
    """With the tables that whoever opens the state makes."""
    storage = await PostgresStorage.open(Target(url=url), shared=True)
    made = Leases(Target(url=url), limits=Limits(), elapsed=time.monotonic)
    try:
        yield made
    finally:
        await made.close()
        await storage.close()


def taking(*agents: str, share: int = 10) -> Callable[[View], Change]:
    return lambda view: Change(share=share, take=agents, tell=agents)


def holders(view: View | None) -> dict[str, str | None]:
    assert view is not None
    return {lease.agent: lease.holder for lease in view.leases}


def shares(view: View | None) -> dict[str, tuple[bool, int]]:
    """Of each replica, whether it is alive, and how many requests it may begin."""
    assert view is not None
    return {one.id: (one.alive, one.share) for one in view.replicas}


def dies(url: str, me: Me, *, seconds: float = 0.0) -> None:
    """The time of a replica ran out so many seconds ago."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "UPDATE unpod_exporter.replicas SET expires = clock_timestamp() - make_interval(secs => %s) WHERE id = %s",
            [seconds, me.id],
        )


async def test_what_one_holds_nobody_takes_while_it_lives(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        assert holders(await leases.change(ONE, taking("x", "y"))) == {"x": ONE.id, "y": ONE.id}
        assert holders(await leases.change(OTHER, taking("x", "y", "z"))) == {"x": ONE.id, "y": ONE.id, "z": OTHER.id}


async def test_the_dead_lose_what_they_hold_and_each_taking_has_a_higher_epoch(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        first = await leases.change(ONE, taking("x"))
        dies(database, ONE)
        second = await leases.change(OTHER, taking("x"))
        assert holders(second) == {"x": OTHER.id}
        assert first is not None
        assert second is not None
        assert second.leases[0].epoch > first.leases[0].epoch


async def test_whoever_renews_too_late_keeps_what_nobody_has_taken_meanwhile(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        await leases.change(ONE, taking("x", "y"))
        dies(database, ONE)
        await leases.change(OTHER, taking("x"))
        assert holders(await leases.renew(ONE, LONG)) == {"x": OTHER.id, "y": ONE.id}
        assert holders(await leases.change(OTHER, taking("x", "y"))) == {"x": OTHER.id, "y": ONE.id}


async def test_nobody_comes_back_to_life_while_its_leases_are_taken(database: str) -> None:
    async with registry(database) as leases, registry(database) as others:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        await leases.change(ONE, taking("x"))
        dies(database, ONE)
        renewals: list[asyncio.Task[View | None]] = []
        loop = asyncio.get_running_loop()

        def decide(view: View) -> Change:
            # The other one is locked out by now, and tries.
            loop.call_soon_threadsafe(lambda: renewals.append(loop.create_task(others.renew(ONE, LONG))))
            while not renewals or not _waits_for_a_lock(database):
                pass
            return Change(share=10, take=("x",))

        assert holders(await leases.change(OTHER, decide)) == {"x": OTHER.id}
        assert holders(await renewals[0]) == {"x": OTHER.id}


def _waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row is not None and row[0] > 0


async def test_those_who_are_dead_for_a_minute_are_forgotten_by_whoever_renews_and_have_to_join_anew(
    database: str,
) -> None:
    """Also where nothing else is to be changed: their requests count no more."""
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        await leases.change(ONE, taking("x", share=40))
        await leases.change(OTHER, taking())
        dies(database, ONE, seconds=59.0)
        assert shares(await leases.renew(OTHER, LONG)) == {ONE.id: (False, 40), OTHER.id: (True, 10)}
        dies(database, ONE, seconds=61.0)
        assert shares(await leases.renew(OTHER, LONG)) == {OTHER.id: (True, 10)}
        assert await leases.renew(ONE, LONG) is None
        assert holders(await leases.change(OTHER, taking("x"))) == {"x": OTHER.id}


async def test_whoever_renews_first_after_a_long_time_is_alive_again(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        for one in (ONE, OTHER):
            dies(database, one, seconds=61.0)
        assert shares(await leases.renew(ONE, LONG)) == {ONE.id: (True, 0)}


async def test_whoever_leaves_frees_all_at_once_and_is_counted_with_what_it_has_asked(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        await leases.change(ONE, taking("x", share=40))
        await leases.leave(ONE, begun=7)
        view = await leases.change(OTHER, taking("x"))
        assert holders(view) == {"x": OTHER.id}
        assert view is not None
        assert [(one.alive, one.share) for one in view.replicas] == [(False, 7), (True, 10)]


async def test_leases_are_given_back_and_forgotten_by_their_holder_alone(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        await leases.change(ONE, taking("x", "y"))
        assert holders(await leases.release(OTHER, ["x"])) == {"x": ONE.id, "y": ONE.id}
        assert holders(await leases.release(ONE, ["x"])) == {"x": None, "y": ONE.id}
        assert holders(await leases.forget(OTHER, ["y"])) == {"x": None, "y": ONE.id}
        assert holders(await leases.forget(ONE, ["x", "y"])) == {"x": None}


async def test_one_changes_at_a_time_and_nobody_waits_for_another(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        with psycopg.connect(database) as busy:
            busy.execute("SELECT FROM unpod_exporter.state FOR NO KEY UPDATE")
            assert await leases.change(ONE, taking("x")) is None
        assert holders(await leases.change(ONE, taking("x"))) == {"x": ONE.id}


# Fencing


def tenure_of(me: Me, held: dict[str, int]) -> Tenure:
    tenure = Tenure()
    tenure.replica, tenure.epochs = me.id, held
    return tenure


@asynccontextmanager
async def fenced(url: str, me: Me, held: dict[str, int]) -> AsyncIterator[PostgresStorage]:
    storage = await PostgresStorage.open(Target(url=url), shared=True, fence=fence(tenure_of(me, held)))
    try:
        yield storage
    finally:
        await storage.close()


def commit(number: int) -> Commit:
    return Commit(book=BOOK, numbers={("calls",): number})


def epochs(view: View | None, me: Me) -> dict[str, int]:
    assert view is not None
    return {lease.agent: lease.epoch for lease in view.leases if lease.holder == me.id}


async def numbers(storage: PostgresStorage) -> dict[Any, int]:
    loaded = await storage.load("x")
    assert loaded is not None
    return loaded.numbers


async def test_a_replica_that_was_dead_and_wakes_cannot_commit(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        held = epochs(await leases.change(ONE, taking("x")), ONE)
        async with fenced(database, ONE, held) as storage:
            await storage.commit("x", commit(1))
            dies(database, ONE)
            held_by_other = epochs(await leases.change(OTHER, taking("x")), OTHER)
            with pytest.raises(StateTaken):
                await storage.commit("x", commit(2))
            async with fenced(database, OTHER, held_by_other) as others:
                assert await numbers(others) == {("calls",): 1}
                await others.commit("x", commit(3))
            with pytest.raises(StateTaken):
                await storage.commit("x", commit(4))
            assert await numbers(storage) == {("calls",): 3}


async def test_a_lease_that_was_lost_and_won_back_does_not_let_commit_what_was_known_before(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        held = epochs(await leases.change(ONE, taking("x")), ONE)
        async with fenced(database, ONE, held) as storage:
            await storage.commit("x", commit(1))
            await leases.release(ONE, ["x"])
            await leases.change(OTHER, taking("x"))
            await leases.release(OTHER, ["x"])
            again = epochs(await leases.change(ONE, taking("x")), ONE)
            with pytest.raises(StateTaken):
                await storage.commit("x", commit(2))
            held.update(again)
            await storage.commit("x", commit(5))
            assert await numbers(storage) == {("calls",): 5}


async def test_a_lease_is_not_taken_while_its_agent_is_being_committed_but_nobody_waits_for_that(database: str) -> None:
    async with registry(database) as leases:
        await leases.join(ONE, LONG)
        await leases.join(OTHER, LONG)
        held = epochs(await leases.change(ONE, taking("x", "y")), ONE)
        dies(database, ONE)
        with psycopg.connect(database) as committing:
            fence(tenure_of(ONE, held))(committing, "x")
            assert holders(await leases.change(OTHER, taking("x", "y"))) == {"x": ONE.id, "y": OTHER.id}
        assert holders(await leases.change(OTHER, taking("x", "y"))) == {"x": OTHER.id, "y": OTHER.id}


async def test_what_is_not_held_cannot_be_committed(database: str) -> None:
    async with registry(database), fenced(database, ONE, {}) as storage:
        with pytest.raises(StateTaken):
            await storage.commit("x", commit(1))
