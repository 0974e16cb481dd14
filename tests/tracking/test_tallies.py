"""Numbers: whole, exact in any order, and shown as what they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.records import NO_AMOUNTS, Amounts
from exporter.tracking.report import Counter, Distribution, Histogram, Summary, Total
from exporter.tracking.tallies import (
    BILLIONTHS,
    COUNTERS,
    Draft,
    Limits,
    amounts_of,
    billionths,
    bound_text,
    families,
    plus,
    tasks,
    without,
)
from exporter.unpod.facts import Call, Latency, Messages
from tests.tracking.stories import BUCKETS, START

LIMITS = Limits(buckets=BUCKETS)
DURATIONS = BUCKETS["call_duration_seconds"]
counts = st.integers(0, 10**9)
amounts = st.builds(Amounts, *[counts] * len(Amounts.__struct_fields__))


def shown(draft: Draft, limits: Limits = LIMITS, **since: float) -> dict[str, object]:
    return dict(families(plus({}, draft.added), limits, {"": START, **since}))


@given(seconds=st.lists(st.floats(0.0, 10_000.0), min_size=1, max_size=40), seed=st.integers())
def test_observations_fall_into_the_bucket_whose_bound_they_do_not_exceed(seconds: list[float], seed: int) -> None:
    draft = Draft(LIMITS, {})
    for value in seconds:
        draft.duration("outbound", value)
    cells = shown(draft)["call_duration_seconds"].values[("outbound",)]
    at_most = [sum(cells.counts[: place + 1]) for place in range(len(DURATIONS))]
    assert at_most == [sum(value <= bound for value in seconds) for bound in DURATIONS]
    assert sum(cells.counts) == len(seconds)
    assert cells.sum == pytest.approx(sum(seconds), abs=1e-6)


@given(costs=st.lists(st.floats(0, 100).map(lambda cost: round(cost, 4)), max_size=30), seed=st.integers())
def test_sums_are_exact_in_any_order_and_however_they_are_split(costs: list[float], seed: int) -> None:
    def total(order: Sequence[float], cut: int) -> dict[tuple[str, ...], int]:
        numbers: dict[tuple[str, ...], int] = {}
        for part in (order[:cut], order[cut:]):
            draft = Draft(LIMITS, numbers)
            for cost in part:
                draft.amounts(NO_AMOUNTS, Amounts(cost=billionths(cost)))
            numbers = plus(numbers, draft.added)
        return {key: number for key, number in numbers.items() if number}

    shuffled = sorted(costs, key=lambda _: Random(seed).random())
    assert total(costs, 0) == total(shuffled, len(costs) // 2)
    exact = sum(Fraction(str(cost)) for cost in costs)
    assert Fraction(total(costs, 0).get(("call_cost_dollars",), 0), 10**9) == exact


@given(steps=st.lists(amounts, max_size=6))
def test_of_each_amount_the_highest_that_was_shown_is_counted(steps: list[Amounts]) -> None:
    draft, known = Draft(LIMITS, {}), NO_AMOUNTS
    for step in steps:
        known = draft.amounts(known, step)
    highest = [max(column) for column in zip(*map(msgspec.structs.astuple, [NO_AMOUNTS, *steps]), strict=True)]
    assert list(msgspec.structs.astuple(known)) == highest
    assert sum(draft.added.values()) == sum(highest)


def test_each_amount_is_counted_where_it_belongs() -> None:
    call = Call(
        cost=0.139,
        prompt_tokens=2,
        completion_tokens=3,
        tts_characters=5,
        stt_seconds=61.5,
        messages=Messages(7, 11, 13),
        latency=Latency(17, 1.25),
    )
    draft = Draft(LIMITS, {})
    draft.amounts(NO_AMOUNTS, amounts_of(call))
    found = shown(draft)
    assert found["call_cost_dollars"] == Counter(START, {(): 0.139})
    assert found["call_stt_seconds"] == Counter(START, {(): 61.5})
    assert found["call_tts_characters"] == Counter(START, {(): 5})
    assert found["call_llm_tokens"] == Counter(START, {("prompt",): 2, ("completion",): 3})
    assert found["call_messages"] == Counter(START, {("agent",): 7, ("user",): 11, ("other",): 13})
    assert found["call_llm_latency_seconds"] == Summary(START, {(): Total(17, 1.25)})


def test_a_call_that_shows_nothing_has_no_amounts() -> None:
    assert amounts_of(Call()) == NO_AMOUNTS


def test_a_task_that_moves_is_counted_in_one_place() -> None:
    draft = Draft(LIMITS, {})
    draft.moved(None, ("call", "pending"))
    draft.moved(("call", "pending"), ("call", "completed"))
    assert tasks(plus({}, draft.added)) == {("call", "completed"): 1}


def test_the_first_codes_keep_their_names_and_the_rest_is_other_across_polls() -> None:
    limits = Limits(buckets=BUCKETS, end_codes=2)
    numbers: dict[tuple[str, ...], int] = {}
    for code in ("a", "unknown", "other", "b", "c", "a"):
        draft = Draft(limits, numbers)
        draft.call(Call(code=code))
        numbers = plus(numbers, draft.added)
    found = families(numbers, limits, {"": START})["call_end_codes"]
    assert found.values == {("a",): 2, ("unknown",): 1, ("other",): 2, ("b",): 1}


def test_families_that_are_switched_off_are_neither_counted_nor_shown() -> None:
    draft = Draft(Limits(buckets=BUCKETS, end_codes=0), {})
    draft.call(Call(code="a", number="+911234567890"))
    assert {key[0] for key in draft.added} == {"calls", "call_end_reasons"}
    assert not {"call_end_codes", "number_calls"} & shown(draft, Limits(buckets=BUCKETS, end_codes=0)).keys()


def test_a_family_that_has_counted_nothing_is_shown_empty() -> None:
    found = shown(Draft(LIMITS, {}))
    assert {*COUNTERS, *BILLIONTHS, "call_end_codes"} <= found.keys()
    assert found["calls"] == Counter(START, {})
    assert found["call_duration_seconds"] == Histogram(START, DURATIONS, {})


def test_a_family_tells_when_it_began_itself() -> None:
    found = shown(Draft(LIMITS, {}), call_duration_seconds=START + 5)
    assert found["call_duration_seconds"].since == START + 5
    assert found["calls"].since == START


def test_a_distribution_has_a_cell_for_each_bucket_and_one_above_all() -> None:
    draft = Draft(LIMITS, {})
    draft.duration("outbound", 5.0)
    draft.duration("outbound", 3601.0)
    cells = shown(draft)["call_duration_seconds"].values[("outbound",)]
    assert cells == Distribution((1, *[0] * (len(DURATIONS) - 1), 1), 3606.0)


def test_equal_bounds_have_equal_names() -> None:
    assert bound_text(5) == bound_text(5.0) == "5.0"


def test_adding_changes_neither_of_the_two() -> None:
    numbers, added = {("a",): 1}, {("a",): 2, ("b",): 3}
    assert plus(numbers, added) == {("a",): 3, ("b",): 3}
    assert numbers == {("a",): 1}


def test_dropping_a_family_leaves_those_whose_names_begin_alike() -> None:
    assert without({("calls", "x"): 1, ("calls_silent",): 2}, {"calls"}) == {("calls_silent",): 2}


def test_a_key_survives_being_written_as_text() -> None:
    draft = Draft(LIMITS, {})
    draft.duration("outbound", 12.5)
    draft.call(Call(code='a"\\ü'))
    assert {tuple(json.loads(json.dumps(key))) for key in draft.added} == draft.added.keys()
