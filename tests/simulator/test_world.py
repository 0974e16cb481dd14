"""The same seed makes the same world, however it is advanced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.simulator import truth
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile, profiles
from exporter.simulator.world import World

NOW = 1_770_000_000.0
LIVELY = (
    Profile(
        handle="one", tasks_per_hour=200.0, restarted=0.8, styles=((1, "vapi"), (1, "native")), stub_delay=(1.0, 9.0)
    ),
    Profile(handle="two", tasks_per_hour=100.0, bulk_every=900.0, bulk_size=(5, 20), inbound=0.3, nameless=0.5),
)


def world(*, seed: int = 7, agents: Sequence[Profile] = LIVELY, history: float = 0.5) -> World:
    return World(seed=seed, now=NOW, agents=agents, history=history)


def documents(of: World) -> dict[str, set[bytes]]:
    return {handle: set(of.tasks(handle, page_size=0).documents) for handle in of.handles}


def test_the_same_seed_makes_the_same_truth_and_documents() -> None:
    one, other = world(), world()
    assert one.truth == other.truth
    assert documents(one) == documents(other)


def test_another_seed_makes_another_world() -> None:
    assert world(seed=1).truth != world(seed=2).truth


def test_an_agent_lives_the_same_whoever_else_there_is() -> None:
    def of_one(found: World) -> list[tuple[str, float, str]]:
        return [(type(event).__name__, event.at, event.task) for event in found.truth if event.agent == "one"]

    assert of_one(world()) == of_one(world(agents=LIVELY[:1]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 1800.0), max_size=12))
def test_slices_of_time_make_no_difference(steps: list[float]) -> None:
    straight, sliced = world(history=0.2), world(history=0.2)
    straight.advance(NOW + 1800.0)
    for step in [*steps, 1800.0]:
        sliced.advance(NOW + step)
        sliced.tasks("one", page_size=5)
    assert sliced.truth == straight.truth
    assert documents(sliced) == documents(straight)


def test_time_never_goes_back() -> None:
    found = world()
    found.advance(NOW + 60.0)
    before = len(found.truth)
    found.advance(NOW - 3600.0)
    assert (found.now, len(found.truth)) == (NOW + 60.0, before)


def test_the_truth_is_ordered_and_only_grows() -> None:
    found = world()
    log = found.truth
    before = list(log)
    found.advance(NOW + 3600.0)
    times = [event.at for event in log]
    assert list(log[: len(before)]) == before
    assert len(log) > len(before)
    assert times == sorted(times)
    assert NOW - 1800.0 <= times[0] <= times[-1] <= NOW + 3600.0


def test_history_lies_in_the_past_and_reaches_to_now() -> None:
    found = World(seed=7, now=NOW, agents=LIVELY, history=2.0)
    created = [event.at for event in found.truth if isinstance(event, truth.Created)]
    assert NOW - 7200.0 <= min(created) < NOW - 6600.0
    assert NOW - 300.0 < max(created) <= NOW
    assert not World(seed=7, now=NOW, agents=LIVELY, history=0.0).truth


def test_traffic_becomes_lively_from_now_on() -> None:
    found = World(seed=7, now=NOW)
    past = len(found.truth)
    found.advance(NOW + 60.0)
    kinds = Counter(type(event).__name__ for event in found.truth[past:])
    assert sum(kinds.values()) > 60 * 3
    assert min(kinds[name] for name in ("Created", "Changed", "Shown", "Attempted", "Ended")) > 10


def test_a_day_of_the_default_agents_is_a_few_thousand_tasks() -> None:
    found = World(seed=7, now=NOW)
    counts = [found.tasks(handle).count for handle in found.handles]
    assert len(counts) == len(DEFAULT_PROFILES) == 5
    assert min(counts) > 100
    # Work, not time: what a start costs is proportional to the number of events.
    assert len(found.truth) < 100_000
    assert found.archive.encodings == 20 * len(counts)


def test_profiles_build_as_many_agents_and_about_as_many_tasks() -> None:
    found = World(seed=7, now=NOW, agents=profiles(6, 400), history=24.0)
    counts = [found.tasks(handle).count for handle in found.handles]
    assert len(set(found.handles)) == 6
    assert all(300 < count < 500 for count in counts)


def test_events_of_one_task_at_one_moment_are_one_state() -> None:
    """Two Changed or two Shown of a task never share a moment, so that a look between them is impossible."""
    found = World(seed=7, now=NOW)
    seen = Counter((event.task, event.at, type(event)) for event in found.truth)
    assert max(seen.values()) == 1


def test_every_event_survives_json() -> None:
    found = world()
    union = truth.Created | truth.Changed | truth.Attempted | truth.Ended | truth.Shown | truth.Hidden
    encoded = msgspec.json.encode(found.truth)
    assert msgspec.json.decode(encoded, type=list[union]) == found.truth


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.7774, 0.0004, 0.9996])
def test_a_world_begins_at_any_fraction_of_a_second(fraction: float) -> None:
    world = World(seed=7, now=1_795_454_948 + fraction, history=1.0)
    assert world.now == 1_795_454_948 + fraction
    assert world.truth
