"""A bad token never burns the quota."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.client import Client, FileToken
from exporter.unpod.errors import Forbidden, Unauthorized, UnpodError
from exporter.unpod.refusals import FIRST, LONGEST, Refusals

Connect = Callable[..., Client]


def works(refusals: Refusals, who: str, token: str, now: float) -> bool:
    try:
        refusals.check(who, token, now)
    except Unauthorized:
        return False
    return True


def test_one_agent_that_is_refused_keeps_no_other_from_asking() -> None:
    refusals = Refusals()
    refusals.check("a", "t", 0.0)
    refusals.refused("a", "t", "HTTP 401", 0.0)
    assert not works(refusals, "a", "t", FIRST - 1)
    assert works(refusals, "b", "t", 0.0)
    assert works(refusals, "a", "t", FIRST)


def test_two_that_are_refused_stand_for_the_account_until_one_try_of_any_is_accepted() -> None:
    refusals = Refusals()
    for who in ("a", "b"):
        refusals.check(who, "t", 0.0)
        refusals.refused(who, "t", "HTTP 401", 0.0)
    assert not works(refusals, "c", "t", FIRST - 1)
    refusals.asks("c", "t", FIRST)
    assert not works(refusals, "d", "t", FIRST), "c tries for all"
    refusals.accepted("c", "t")
    assert all(works(refusals, who, "t", FIRST) for who in "abcd")


def test_what_was_accepted_in_between_tells_that_it_is_not_the_account() -> None:
    refusals = Refusals()
    for who in ("a", "b"):
        refusals.check(who, "t", 0.0)
        refusals.refused(who, "t", "HTTP 401", 0.0)
        refusals.accepted("good", "t")
    assert works(refusals, "c", "t", 0.0)
    assert not works(refusals, "a", "t", 1.0)


def test_another_token_is_tried_at_once_and_an_old_answer_says_nothing_about_it() -> None:
    refusals = Refusals()
    for who in ("a", "b"):
        refusals.check(who, "old", 0.0)
        refusals.refused(who, "old", "HTTP 401", 0.0)
    assert works(refusals, "a", "new", 0.0)
    refusals.refused("a", "old", "HTTP 401", 0.0)
    refusals.refused("b", "old", "HTTP 401", 0.0)
    assert works(refusals, "a", "new", 0.0)


# It takes hundreds of wishes to see how rarely it is tried; a busy machine needs its time to draw them.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0.01, 40.0)), min_size=300, max_size=400))
def test_a_bad_token_is_tried_ever_more_rarely_however_many_ask(wishes: list[tuple[str, float]]) -> None:
    refusals, now, tried = Refusals(), 0.0, list[float]()
    for who, gap in wishes:
        now += gap
        if works(refusals, who, "t", now):
            refusals.asks(who, "t", now)
            refusals.refused(who, "t", "HTTP 401", now)
            tried.append(now)
    assert len(tried) <= 10 + now / LONGEST


async def test_a_refused_token_costs_two_requests_and_then_one_now_and_then(
    client: Client, platform: Any, clock: Any
) -> None:
    platform.answers(lambda: platform.json([], 401))
    reasons = set()
    for _ in range(60):
        for number in range(20):
            with pytest.raises(UnpodError) as caught:
                await client.tasks(f"agent-{number}", page=1, page_size=1)
            reasons.add((caught.value.reason, caught.value.status, str(caught.value)))
        if clock.now == 1_770_000_000:
            assert len(platform.seen) == 2
        clock.now += 60
    assert len(reasons) == 1, "all fail for the reason that the platform gave"
    assert len(platform.seen) <= 2 + 4 + 3600 / LONGEST


async def test_those_who_wait_when_the_token_is_refused_ask_no_more(
    connect: Connect, platform: Any, clock: Any
) -> None:
    platform.answers(lambda: platform.json([], 401))
    began = clock.now
    async with connect(requests_per_minute=60) as client:
        outcomes = await asyncio.gather(
            *(client.tasks(f"agent-{number}", page=1, page_size=1) for number in range(1000)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {Unauthorized}
    assert len(platform.seen) <= 4, "the first two, and those that were under way beside them"
    assert clock.now - began < 5


async def test_a_token_file_that_changes_is_tried_at_once(connect: Connect, platform: Any, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    async with connect(FileToken(path)) as client:
        platform.reply = lambda request: platform.json(
            [], 200 if request.headers["Authorization"] == "Token renewed" else 401
        )
        for agent in "abc":
            with pytest.raises(Unauthorized):
                await client.tasks(agent, page=1, page_size=1)
        path.write_text("renewed")
        for agent in "abc":
            await client.tasks(agent, page=1, page_size=1)


async def test_a_forbidden_agent_shows_that_the_token_is_good(client: Client, platform: Any) -> None:
    for agent in "abc":
        platform.answers(lambda: platform.json([], 401))
        with pytest.raises(Unauthorized):
            await client.tasks(agent, page=1, page_size=1)
        platform.answers(lambda: platform.json([], 403))
        with pytest.raises(Forbidden):
            await client.tasks("forbidden", page=1, page_size=1)
    assert len(platform.seen) == 6
