"""An unattended exporter with default settings stays below 60 requests a minute, whatever happens, and comes back."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec
import pytest

from exporter.simulator.profiles import DEFAULT_PROFILES, Profile
from tests.manners.jumping import run
from tests.manners.stage import MINUTE, most_in_a_minute, stage

QUIET = msgspec.structs.replace(
    DEFAULT_PROFILES[0], tasks_per_hour=20.0, live_tasks_per_hour=6.0, bulk_every=None, stuck=0.0
)


def agents(count: int) -> list[Profile]:
    return [msgspec.structs.replace(QUIET, handle=f"agent-{number}") for number in range(count)]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rate_limited", {"retry_after": None}),
        ("rate_limited", {"retry_after": 1.0, "probability": 0.5}),
        ("server_error", {}),
        ("server_error", {"probability": 0.5}),
        ("unavailable", {}),
        ("unauthorized", {}),
        ("unauthorized", {"probability": 0.5}),
        ("forbidden", {}),
        ("not_found", {}),
        ("no_access", {}),
        ("reset", {}),
        ("close", {"probability": 0.5}),
        ("black_hole", {"probability": 0.2}),
        ("wrong_json", {}),
        ("wrong_count", {}),
        ("redirect", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "sometimes" if "probability" in value else "always",
)
def test_no_minute_of_a_storm_sees_sixty_requests_and_everybody_comes_back(
    kind: str, options: dict[str, float]
) -> None:
    async def story() -> None:
        async with stage(agents(60)) as made:
            await asyncio.sleep(5 * MINUTE)
            assert made.up() == 60
            made.fails(kind, endpoint=None, **options)
            await asyncio.sleep(15 * MINUTE)
            assert made.up() < 60, "there is a storm"
            made.faults.clear()
            await asyncio.sleep(22 * MINUTE)
            assert made.up() == 60
            assert 40 <= most_in_a_minute(made.requests) < 60

    run(story())


def test_poisoned_pages_of_all_agents_multiply_no_load() -> None:
    async def story() -> None:
        async with stage(agents(20)) as made:
            for handle in made.world.handles:
                for one in made.world.tasks(handle, page_size=0).ids[::15]:
                    made.world.poison(handle, one)
            await asyncio.sleep(40 * MINUTE)
            assert made.up() == 20
            assert most_in_a_minute(made.requests) < 60

    run(story())


def test_a_bad_token_costs_a_few_requests_an_hour_however_many_agents_there_are() -> None:
    async def story() -> None:
        async with stage(agents(60)) as made:
            await asyncio.sleep(5 * MINUTE)
            before = len(made.requests)
            made.fails("unauthorized", endpoint=None)
            await asyncio.sleep(60 * MINUTE)
            assert len(made.requests) - before <= 20
            made.faults.clear()
            await asyncio.sleep(8 * MINUTE)
            assert made.up() == 60

    run(story())


@pytest.mark.parametrize(
    ("kind", "options", "many"),
    [("black_hole", {}, 6), ("slow_drip", {"piece": 2000, "pause": 5.0}, 6), ("black_hole", {}, 24)],
    ids=["black hole", "drip", "black hole for more than can have a turn"],
)
def test_slow_agents_delay_no_other(kind: str, options: dict[str, float], many: int) -> None:
    async def story() -> None:
        async with stage(agents(many + 10)) as made:
            await asyncio.sleep(10 * MINUTE)
            slow, quick = made.world.handles[:many], made.world.handles[many:]
            made.fails(kind, *slow, **options)
            # Each of them is known to be slow when its first request has ended.
            await asyncio.sleep(15 * MINUTE)
            begin = made.now()
            await asyncio.sleep(60 * MINUTE)
            for handle in quick:
                polls = [at for at in made.polls(handle) if at >= begin]
                assert max(after - before for before, after in pairwise(polls)) < 70.0, handle
            for handle in slow:
                assert [at for at in made.polls(handle) if at >= begin], "it is tried again and again"

    run(story())


def test_a_long_first_reading_takes_turns_with_fresh_polls() -> None:
    async def story() -> None:
        huge = msgspec.structs.replace(QUIET, handle="huge", tasks_per_hour=2_000.0)
        async with stage([*agents(10), huge], page_size=25) as made:
            await made.log_tells("history read", agent="huge")
            assert 2 * MINUTE < made.now() < 12 * MINUTE, "about every second turn is its own"
            for number in range(10):
                polls = made.polls(f"agent-{number}")
                assert max(after - before for before, after in pairwise([*polls, made.now()])) < 95.0

    run(story())
