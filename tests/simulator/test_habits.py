"""Agents can be given other habits while they are served: what a person does who wants to see what an alert sees."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from exporter.simulator.truth import Ended
from tests.simulator.conftest import NOW

ERRORS = {"start_error", "llm_error", "tts_error", "stt_error", "pipeline_error", "transport_error", "rate_limited"}


def ends(visitor: Any, since: float) -> list[str]:
    """How calls ended that began after ``since``, which is a call's length ago."""
    return [event.reason for event in visitor.world.truth if isinstance(event, Ended) and event.at > since]


async def later(visitor: Any, seconds: float) -> float:
    visitor.now += seconds
    await visitor.tasks()
    return visitor.now


async def test_habits_change_what_happens_from_now_on_and_can_be_taken_back(visitor: Any) -> None:
    habits = b'{"small": {"broken": 1.0, "styles": [[1, "vapi"]], "live_tasks_per_hour": 600}}'
    answer = await visitor.ask("/_habits", method="POST", data=habits)
    assert (answer.status, answer.json["small"]["broken"]) == (200, 1.0)
    settled = await later(visitor, 3600)
    await later(visitor, 3600)
    found = ends(visitor, settled)
    assert len(found) > 100
    assert set(found) <= ERRORS
    assert (await visitor.ask("/_habits", method="DELETE")).json["small"]["broken"] == 0.08
    settled = await later(visitor, 3600)
    await later(visitor, 36_000)
    assert not set(ends(visitor, settled)) <= ERRORS


@pytest.mark.parametrize(
    ("habits", "message"),
    [
        ({"large": {}}, "no agent large: there are small"),
        ({"small": {"brokn": 1.0}}, "Object contains unknown field `brokn`"),
        ({"small": {"broken": "often"}}, "Expected `float`, got `str` - at `$.broken`"),
        ({"small": {"handle": "large"}}, "an agent keeps its handle"),
    ],
)
async def test_wrong_habits_say_what_is_wrong_and_change_nothing(visitor: Any, habits: Any, message: str) -> None:
    before = visitor.world.profile("small")
    answer = await visitor.ask(
        "/_habits", method="POST", data=msgspec.json.encode({"small": {"silent": 1.0}, **habits})
    )
    assert (answer.status, answer.json) == (400, {"message": message})
    assert visitor.world.profile("small") == before


def test_a_world_whose_agents_keep_their_habits_is_the_same_world(make_world: Any) -> None:
    world, other = make_world(), make_world()
    other.behave(other.profile("small"))
    world.advance(NOW + 7200)
    other.advance(NOW + 7200)
    assert world.truth == other.truth
