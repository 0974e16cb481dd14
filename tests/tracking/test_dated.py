"""When things happened: by the times that the platform tells, and at no time where it tells none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.dated import DatedDraft, Slots
from exporter.tracking.ledger import Look, observe
from exporter.tracking.tallies import Draft, Key, Limits
from exporter.unpod.facts import Call, Task
from exporter.unpod.vocabulary import STATUSES
from tests.tracking.stories import BUCKETS, SETTLING, START, call, ended, task

STEP = 60.0
NOW = START + 86_400.0
LIMITS = Limits(buckets=BUCKETS, numbers=10)
LOOK = Look(now=NOW, settling=SETTLING, keep_numbers=True)

moments = st.none() | st.floats(START - 86_400.0, NOW + 86_400.0).map(lambda moment: round(moment, 3))
calls = st.builds(
    Call,
    id=st.sampled_from(("", "C1", "C2")),
    start=moments,
    end=moments,
    duration=st.none() | st.floats(0.0, 600.0),
    over=st.booleans(),
    status=st.sampled_from(("connected", "not_connected", "unknown")),
    outcome=st.none() | st.just("interested"),
    cost=st.floats(0.0, 1.0),
    digest=st.integers(0, 2**60),
)
tasks = st.builds(
    Task,
    id=st.just("T1"),
    created=moments,
    status=st.sampled_from(STATUSES),
    retry_attempt=st.integers(0, 3),
    scheduled=moments,
    changed=moments,
    call=st.none() | calls,
)


def told(*looks: Task) -> Slots:
    """What a draft keeps of these looks at a task."""
    kept: list[Slots] = []
    draft = DatedDraft(LIMITS, {}, step=STEP, keep=kept.append)
    draft.latest = NOW
    record = None
    for shown in looks:
        record = observe(record, shown, LOOK, draft)
    draft.committed()
    return kept[0]


def slots_of(slots: Slots, family: str) -> Mapping[int | None, int]:
    found = {slot: sum(added[key] for key in added if key[0] == family) for slot, added in slots.items()}
    return {slot: amount for slot, amount in found.items() if amount}


def slot(moment: float) -> int:
    return math.ceil(moment / STEP)


@given(looks=st.lists(tasks, max_size=5))
def test_a_draft_that_keeps_times_counts_what_a_draft_without_them_counts(looks: list[Task]) -> None:
    plain = Draft(LIMITS, {})
    record = None
    for shown in looks:
        record = observe(record, shown, LOOK, plain)
    summed: Counter[Key] = Counter()
    for added in told(*looks).values():
        summed.update(added)
    assert {key: n for key, n in summed.items() if n} == {key: n for key, n in plain.added.items() if n}


@given(looks=st.lists(tasks, max_size=5))
def test_nothing_happens_in_times_to_come(looks: list[Task]) -> None:
    assert all(one is None or one <= slot(NOW) for one in told(*looks))


def test_a_task_was_created_when_it_says_so_and_its_call_counts_when_that_ended() -> None:
    begin = START + 5 * STEP
    shown = ended("C1", start=begin, seconds=3 * STEP, outcome="interested", cost=0.5)
    slots = told(task("completed", shown, created=START))
    assert slots_of(slots, "tasks_created") == {slot(START): 1}
    assert slots_of(slots, "calls") == {slot(begin + 3 * STEP): 1}
    assert slots_of(slots, "call_outcomes") == {slot(begin + 3 * STEP): 1}
    assert slots_of(slots, "call_cost_dollars") == {slot(begin + 3 * STEP): 500_000_000}
    assert set(slots_of(slots, "task_start_delay_seconds")) == {slot(begin)}
    assert slots_of(slots, "task_transitions") == {None: 1}


@pytest.mark.parametrize(
    ("times", "moment"),
    [
        ({"start": START, "end": START + 90, "duration": 30.0}, START + 90),
        ({"start": START, "duration": 30.0}, START + 30),
        ({"start": START}, START),
        ({"end": START + 90}, START + 90),
        ({"duration": 30.0}, None),
        ({}, None),
    ],
)
def test_when_a_call_ended(times: dict[str, Any], moment: float | None) -> None:
    shown = call(over=True, status="not_connected", **times)
    assert shown.moment == moment
    counted = slots_of(told(task("completed", shown)), "calls")
    assert counted == {None if moment is None else slot(moment): 1}


def test_the_call_that_another_one_follows_keeps_its_own_time() -> None:
    first = call(id="C1", start=START, over=True, status="not_connected")
    second = ended("C2", start=START + 10 * STEP, seconds=STEP)
    waiting = Task(id="T1", created=NOW - 60, status="completed", execution_type="call", call=first)
    slots = told(waiting, task("completed", second))
    assert slots_of(slots, "calls") == {slot(START): 1, slot(START + 11 * STEP): 1}


def test_nothing_is_kept_before_it_is_committed() -> None:
    kept: list[Slots] = []
    draft = DatedDraft(LIMITS, {}, step=STEP, keep=kept.append)
    draft.created("call")
    assert not kept
