"""What can happen to replicas, and what must be true meanwhile and afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Final, TypeAlias

from tests.replicas.increases import increases_are_true, increases_were_never_too_high
from tests.replicas.stage import AS_ONE, LEASE, SCRAPE, Stage, doubled, gaps, shown_in

Event: TypeAlias = Callable[[Stage], Awaitable[None]]

FAMILIES: Final = ("unpod_tasks", "unpod_tasks_created_total", "unpod_calls_total")


async def one_comes_and_goes(stage: Stage) -> None:
    """Agents are handed over, and none moves that need not."""
    first = stage.replicas[0]
    before = await stage.holders()
    await stage.stop(first)
    await stage.true()
    after = await stage.holders()
    moved = {agent for agent, holder in before.items() if after[agent] != holder}
    assert moved == {agent for agent, holder in before.items() if holder == first.name}
    await stage.step()
    await stage.start(first)
    await stage.even()
    await stage.step()


async def one_is_killed(stage: Stage) -> None:
    """What it held is taken over."""
    await stage.kill(stage.replicas[1])
    await stage.step()
    await stage.start(stage.replicas[1])
    await stage.step()


async def one_is_a_zombie(stage: Stage) -> None:
    """One that was stopped for longer than its lease shows and counts nothing when it wakes."""
    zombie = stage.replicas[2]
    zombie.sleep()
    await stage.step()
    asked = asyncio.create_task(zombie.shown())
    await asyncio.sleep(0.2)
    zombie.wake()
    assert shown_in(await asked) == set()
    await stage.true()
    await stage.step()


async def one_is_cut_off(stage: Stage) -> None:
    """One that cannot reach the database gives way to those who can, whether it hears of that or not."""
    lonely = stage.replicas[0]
    lonely.proxy.refuses = True
    lonely.proxy.cut()
    await stage.step()
    assert shown_in(await lonely.shown()) == set()
    lonely.proxy.refuses = False
    await stage.even()
    lonely.proxy.hold()
    await stage.step()
    assert shown_in(await lonely.shown()) == set()
    lonely.proxy.release()
    assert lonely.running.events("database not reached")


async def the_database_crashes(stage: Stage) -> None:
    """Nobody notices, but that it takes a moment."""
    await asyncio.to_thread(stage.server.restart, "immediate")
    await stage.step()


async def all_connections_are_gone(stage: Stage) -> None:
    """As after a failover: whoever was connected is not any more."""
    with stage.server.admin() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    await stage.step()


async def the_database_is_away(stage: Stage) -> None:
    """Numbers are shown as long as nobody can have taken over, and when it is back, everybody has what they had."""
    before = await stage.holders()
    await asyncio.to_thread(stage.server.stop)
    stopped = time.monotonic()
    shown = await stage.holders()
    if time.monotonic() - stopped < LEASE / 4:
        assert shown == before
    await stage.shown_by_nobody()
    await asyncio.to_thread(stage.server.start)
    await stage.step()
    assert await stage.holders() == before


EVENTS: Final[tuple[Event, ...]] = (
    one_comes_and_goes,
    one_is_killed,
    one_is_a_zombie,
    one_is_cut_off,
    the_database_crashes,
    all_connections_are_gone,
    the_database_is_away,
)


async def worst_gap(stage: Stage, begin: float) -> float | None:
    """For how many seconds an agent that has moved since then was not scraped, at most; None: none has moved. How long
    it may be is for a clock that no slow machine delays: ``tests.replicas.test_takeover``."""
    # What is shown now will have been scraped.
    await asyncio.sleep(2 * SCRAPE)
    found = await stage.scraped("unpod_tasks_created_total")
    worst = [gap for kinds in found.values() for seen in kinds.values() for gap in gaps(seen, begin, time.time())]
    return max(worst, default=None)


async def ends_well(stage: Stage) -> None:
    """No defect is in a log, and in all that Prometheus has scraped no counter has fallen, and no number was shown
    twice with different values for more than one scrape; and what its rules make of that is what has happened."""
    await stage.step()
    await increases_are_true(stage)
    await increases_were_never_too_high(stage)
    for one in stage.replicas:
        assert "Traceback" not in one.running.err
        assert not one.running.events("replica does not do its part")
    for family in FAMILIES:
        for agent, kinds in (await stage.scraped(family)).items():
            for seen in kinds.values():
                assert doubled(seen) <= 1, f"{agent}: {family} was shown twice with different numbers"
                fell = [pair for pair in pairwise(seen) if pair[0].value > pair[1].value]
                assert family == "unpod_tasks" or not fell, f"{agent}: {family} fell: {fell}"
    for agent, kinds in (await stage.scraped("unpod_tasks_created_total", AS_ONE)).items():
        for labels, seen in kinds.items():
            assert {one.instance for one in seen} == {"replicas"}
            assert all(before.value <= after.value for before, after in pairwise(seen)), f"{agent}: it fell: {labels}"
