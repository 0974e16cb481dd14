"""When an agent is polled: at its own slot, spread over all agents, the same after a restart; later where it fails."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.schedule import (
    HEARTBEAT,
    LONGEST,
    NEEDS_A_PERSON,
    PLANNED,
    STEADY,
    Stretch,
    after_failure,
    next_slot,
    slot,
)
from exporter.unpod.errors import REASONS

handles = st.text(max_size=30)
intervals = st.floats(1.0, 86_400.0)
moments = st.floats(1.6e9, 2.0e9)
heals = st.sampled_from([reason for reason in REASONS if reason not in NEEDS_A_PERSON])
seeds = st.integers(0, 2**32)


@given(handle=handles, interval=intervals, now=moments)
def test_the_next_poll_is_half_to_one_and_a_half_intervals_away(handle: str, interval: float, now: float) -> None:
    assert interval / 2 <= next_slot(handle, interval, now) <= interval * 1.5


@given(handle=handles, now=moments)
def test_polls_come_at_the_same_place_of_every_interval_whenever_the_last_one_was(handle: str, now: float) -> None:
    place = (now + next_slot(handle, 60.0, now)) % 60.0
    distance = abs(place - slot(handle, 60.0))
    assert min(distance, 60.0 - distance) < 1e-3


def test_a_poll_that_took_no_time_is_followed_by_the_next_after_one_interval() -> None:
    at = 1_764_000_000.0 + next_slot("sales", 60.0, 1_764_000_000.0)
    assert next_slot("sales", 60.0, at) == pytest.approx(60.0)


def test_agents_are_spread_over_the_interval() -> None:
    tenths = [int(slot(f"agent-{number}", 10.0)) for number in range(1000)]
    assert all(60 <= tenths.count(tenth) <= 140 for tenth in range(10))


def test_the_place_of_an_agent_is_the_same_in_every_process() -> None:
    assert slot("sales", 60.0) == pytest.approx(55.766, abs=1e-3)


persons = sorted(NEEDS_A_PERSON - {"unauthorized"})


@given(reason=st.sampled_from(persons), failures=st.integers(1, 10**6), interval=intervals, seed=seeds)
def test_what_no_retry_heals_is_tried_at_a_slow_heartbeat(
    reason: str, failures: int, interval: float, seed: int
) -> None:
    delay = after_failure(reason, failures, interval, Random(seed))
    assert 0.9 * max(interval, HEARTBEAT) <= delay <= 1.1 * max(interval, HEARTBEAT)


@given(failures=st.integers(1, 10**6), interval=intervals, seed=seeds)
def test_a_refused_token_which_costs_no_request_keeps_no_agent_waiting(
    failures: int, interval: float, seed: int
) -> None:
    assert 0.9 * interval <= after_failure("unauthorized", failures, interval, Random(seed)) <= 1.1 * interval


@given(reason=heals, failures=st.integers(1, 10**6), interval=intervals, seed=seeds)
def test_what_can_heal_is_tried_again_between_half_an_interval_and_the_longest_back_off(
    reason: str, failures: int, interval: float, seed: int
) -> None:
    delay = after_failure(reason, failures, interval, Random(seed))
    assert interval / 2 <= delay <= max(interval, LONGEST)
    assert delay <= interval * 2.0 ** min(failures, 30)


def test_the_back_off_grows_with_the_failures_and_then_no_more() -> None:
    means = [
        sum(after_failure("timeout", n, 60.0, Random(seed)) for seed in range(500)) / 500 for n in (1, 2, 3, 9, 99)
    ]
    assert means[0] < means[1] < means[2] < means[3]
    assert means[3] == pytest.approx(means[4])


def test_agents_that_fail_together_do_not_come_back_together() -> None:
    chance = Random(1)
    delays = {round(after_failure("connection", 5, 60.0, chance)) for _ in range(200)}
    assert len(delays) > 100


def test_every_reason_has_a_back_off() -> None:
    assert set(REASONS) > NEEDS_A_PERSON
    assert all(after_failure(reason, 1, 60.0, Random(0)) > 0 for reason in REASONS)


# Stretching


def stretch_of(agents: int, *, per_minute: float | None = 60.0, interval: float = 60.0) -> Stretch:
    made = Stretch(per_minute)
    for number in range(agents):
        made.expects(str(number), interval)
    made.settle()
    return made


def test_intervals_are_as_wished_while_requests_suffice() -> None:
    assert stretch_of(1).factor == 1.0
    assert stretch_of(48).factor == 1.0, "four fifths of 60"
    assert stretch_of(2000, per_minute=None).factor == 1.0


@given(agents=st.integers(52, 2000), per_minute=st.floats(1.0, 60.0), interval=st.floats(1.0, 60.0))
def test_stretched_polls_need_what_is_planned_for_them(agents: int, per_minute: float, interval: float) -> None:
    factor = stretch_of(agents, per_minute=per_minute, interval=interval).factor
    assert agents * 60.0 / (interval * factor) == pytest.approx(PLANNED * per_minute)


@given(agents=st.integers(1, 2000), per_minute=st.floats(1.0, 600.0), interval=st.floats(1.0, 600.0))
def test_agents_that_take_their_share_need_what_is_planned_for_them(
    agents: int, per_minute: float, interval: float
) -> None:
    share = stretch_of(agents, per_minute=per_minute, interval=interval).share(interval)
    assert agents * share * 60.0 / interval == pytest.approx(PLANNED * per_minute)


def test_where_any_number_of_requests_is_allowed_so_is_any_share() -> None:
    assert stretch_of(2000, per_minute=None).share(60.0) == math.inf
    assert stretch_of(0).share(60.0) == math.inf


def test_the_first_poll_of_an_agent_tells_at_once_what_it_needs() -> None:
    made = stretch_of(4, per_minute=24.0, interval=15.0)
    for number in range(4):
        made.learns(str(number), 15.0, 12)
    assert made.needed == pytest.approx(4 * 12 * 4 / PLANNED)


def test_agents_whose_polls_take_more_requests_or_come_more_often_count_for_more() -> None:
    made = Stretch(60.0)
    for _ in range(100):
        made.learns("deep", 60.0, 40)
    made.expects("often", 10.0)
    assert made.needed == pytest.approx((40 + 6) / PLANNED)
    made.forget("deep")
    assert made.needed == pytest.approx(6 / PLANNED)


@given(
    agents=st.integers(1, 300),
    requests=st.lists(st.integers(1, 3), min_size=50, max_size=400),
    per_minute=st.floats(1.0, 200.0),
)
def test_the_factor_moves_only_when_it_makes_a_difference(agents: int, requests: list[int], per_minute: float) -> None:
    made = stretch_of(agents, per_minute=per_minute)
    for number, took in enumerate(requests):
        before = made.factor
        made.learns(str(number % agents), 60.0, took)
        made.settle()
        wanted = max(1.0, made.needed / per_minute)
        assert wanted / STEADY <= made.factor <= wanted * STEADY
        assert made.factor == before or max(made.factor / before, before / made.factor) > 1.0
        made.settle()
        assert made.factor == before or made.factor == max(1.0, made.needed / per_minute), "it settles at once"


def test_the_same_need_is_always_answered_by_the_same_factor() -> None:
    made = stretch_of(500)
    for _ in range(20):
        for number in range(500):
            made.learns(str(number), 60.0, 1)
            made.settle()
        assert made.factor == pytest.approx(500 / 48)
