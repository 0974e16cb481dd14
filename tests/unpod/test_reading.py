from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod import reading, wire
from exporter.unpod.facts import Task
from exporter.unpod.vocabulary import EXECUTION_TYPES, FIELDS, STATUSES

Read = Callable[[Any], Task]
OBJECT_ID = "697debb84c27faa892bfa0cc"
OBJECT_TIME = float(0x697DEBB8)
HUGE = 10**400
"""More than a float can hold, and within what the decoder takes."""
HUGES = [pytest.param(HUGE, id="huge"), pytest.param(-HUGE, id="huge and negative")]


def test_a_task_is_known_by_its_task_id(read: Read) -> None:
    assert read({"_id": OBJECT_ID, "task_id": "T1"}).id == "T1"
    assert read({"_id": OBJECT_ID, "task_id": 17}).id == "17"


@pytest.mark.parametrize("document", [OBJECT_ID, {"$oid": OBJECT_ID}])
@pytest.mark.parametrize("task", [{}, {"task_id": None}, {"task_id": ""}, {"task_id": "NULL"}])
def test_a_task_without_task_id_is_known_by_its_document(read: Read, task: dict[str, Any], document: object) -> None:
    facts = read({"_id": document, **task})
    assert (facts.id, facts.created, facts.odd) == (OBJECT_ID, OBJECT_TIME, ())


@pytest.mark.parametrize("odd", [{}, [], 1.5, True])
def test_a_task_id_that_is_none_is_odd(read: Read, odd: object) -> None:
    facts = read({"_id": OBJECT_ID, "task_id": odd})
    assert (facts.id, facts.odd) == (OBJECT_ID, ("task_id",))


@pytest.mark.parametrize("entry", [wire.Task(), wire.Task(id={"$oid": None}), None, 7, "T1", [], {"task_id": "T1"}])
def test_what_has_no_identity_is_no_task(entry: object) -> None:
    assert reading.task(entry) is None


@pytest.mark.parametrize(
    ("raw", "created"),
    [
        pytest.param("2025-11-18T11:13:58.671000", 1763464438.671, id="with a fraction"),
        pytest.param("2025-11-18T11:13:58", 1763464438.0, id="without a fraction"),
    ],
)
def test_a_task_was_created_when_it_says(read: Read, raw: str, created: float) -> None:
    assert read({"_id": OBJECT_ID, "task_id": "T1", "created": raw}).created == created


def test_a_task_that_does_not_say_was_created_with_its_document(read: Read) -> None:
    assert read({"_id": OBJECT_ID, "task_id": "T1"}).created == OBJECT_TIME


def test_a_task_id_with_a_time_is_the_last_resort(read: Read) -> None:
    made = read({"task_id": "T8ff2ccdffe9a11f0878d43cd8a99e069"}).created
    assert made == pytest.approx(OBJECT_TIME, abs=1)
    assert read({"task_id": "T1"}).created is None


@pytest.mark.parametrize("raw", ["yesterday", 0, "1999-12-31T00:00:00", "9999-12-31T00:00:00"])
def test_a_creation_time_that_is_nonsense_is_odd(read: Read, raw: object) -> None:
    facts = read({"_id": OBJECT_ID, "created": raw})
    assert (facts.created, facts.odd) == (OBJECT_TIME, ("created",))


@pytest.mark.parametrize(
    "raw", ["pending", "scheduled", "processing", "in_progress", "hold", "completed", "failed", "In Progress", "FAILED"]
)
def test_a_status_becomes_its_word(read: Read, raw: str) -> None:
    assert read({"task_id": "T1", "status": raw}).status == raw.lower().replace(" ", "_")


@pytest.mark.parametrize("raw", ["partially_completed", {}, 7])
def test_a_status_that_fits_nothing_is_other_and_odd(read: Read, raw: object) -> None:
    facts = read({"task_id": "T1", "status": raw})
    assert (facts.status, facts.odd) == ("other", ("status",))


def test_an_absent_status_is_other(read: Read) -> None:
    facts = read({"task_id": "T1"})
    assert (facts.status, facts.odd) == ("other", ())


@pytest.mark.parametrize("raw", ["call", "email", "answer", "sdk_call", "space_call", "email_classification", "dealer"])
def test_an_execution_type_becomes_its_word(read: Read, raw: str) -> None:
    assert read({"task_id": "T1", "execution_type": raw.upper().replace("_", "-")}).execution_type == raw


@pytest.mark.parametrize("raw", [None, "", "NA"])
def test_an_absent_execution_type_is_unknown(read: Read, raw: object) -> None:
    facts = read({"task_id": "T1", "execution_type": raw})
    assert (facts.execution_type, facts.odd) == ("unknown", ())


def test_an_execution_type_that_fits_nothing_is_other_and_odd(read: Read) -> None:
    facts = read({"task_id": "T1", "execution_type": "telepathy"})
    assert (facts.execution_type, facts.odd) == ("other", ("execution_type",))


@pytest.mark.parametrize("field", ["retry_attempt", "failure_count"])
@pytest.mark.parametrize(("raw", "told"), [(0, 0), (2, 2), ("3", 3), (4.0, 4)])
def test_attempts_are_whole_numbers(read: Read, field: str, raw: object, told: int) -> None:
    facts = read({"task_id": "T1", "retry_attempt": 0, "failure_count": 0, field: raw})
    assert (getattr(facts, field), facts.untold, facts.odd) == (told, (), ())


@pytest.mark.parametrize("field", ["retry_attempt", "failure_count"])
@pytest.mark.parametrize("raw", [None, "", "NULL"])
def test_attempts_that_are_not_told_are_said_to_be_so(read: Read, field: str, raw: object) -> None:
    facts = read({"task_id": "T1", "retry_attempt": 0, "failure_count": 0, field: raw})
    assert (getattr(facts, field), facts.untold, facts.odd) == (0, (field,), ())


def test_attempts_that_are_absent_are_not_told(read: Read) -> None:
    assert read({"task_id": "T1"}).untold == ("retry_attempt", "failure_count")


@pytest.mark.parametrize("field", ["retry_attempt", "failure_count"])
@pytest.mark.parametrize("raw", [-1, 1.5, "two", True, {}, 10**7, 10**30, *HUGES, 1e300])
def test_attempts_that_are_nonsense_are_not_told_and_odd(read: Read, field: str, raw: object) -> None:
    facts = read({"task_id": "T1", "retry_attempt": 0, "failure_count": 0, field: raw})
    assert (getattr(facts, field), facts.untold, facts.odd) == (0, (field,), (field,))


def test_the_reason_of_a_failure_comes_from_the_task_else_from_its_output(read: Read) -> None:
    number, disabled = "No Contact Number Found", "Outgoing calls disabled via configuration."
    both = {"task_id": "T1", "last_failure_reason": number, "output": {"error": disabled}}
    assert read(both).failure_reason == "no_number"
    assert read({**both, "last_failure_reason": None}).failure_reason == "outgoing_disabled"
    assert read({"task_id": "T1", "last_failure_reason": {"text": 1}}).failure_reason == "other"


@pytest.mark.parametrize(
    "raw", [1763732400, "1763732400", "2025-11-21T13:40:00Z"], ids=["really an integer", "in a string", "as documented"]
)
def test_a_task_is_due_when_it_is_scheduled(read: Read, raw: object) -> None:
    assert read({"task_id": "T1", "scheduled_timestamp": raw}).scheduled == 1763732400.0


@pytest.mark.parametrize("raw", [None, 0, -1, ""])
def test_a_task_may_be_due_at_no_time(read: Read, raw: object) -> None:
    facts = read({"task_id": "T1", "scheduled_timestamp": raw})
    assert (facts.scheduled, facts.odd) == (None, ())


@pytest.mark.parametrize("raw", ["2026-01-31T11:47:31.198984", "2026-01-31T11:47:31.198984Z"])
def test_the_last_change_of_status_is_a_time(read: Read, raw: str) -> None:
    assert read({"task_id": "T1", "last_status_change": raw}).changed == 1769860051.198984


def test_the_last_change_of_status_may_be_null_or_odd(read: Read) -> None:
    assert read({"task_id": "T1", "last_status_change": None}).changed is None
    odd = read({"task_id": "T1", "last_status_change": [1]})
    assert (odd.changed, odd.odd) == (None, ("last_status_change",))


@pytest.mark.parametrize("provider", ["vapi", "livekit", "pipecat", "NA", None])
def test_the_provider_does_not_matter(read: Read, provider: object) -> None:
    assert read({"task_id": "T1", "provider": provider}) == read({"task_id": "T1"})


@pytest.mark.parametrize(("raw", "run"), [("R9", "R9"), (9, "9"), (None, ""), ({}, "")])
def test_the_run_is_an_identity_too(read: Read, raw: object, run: str) -> None:
    assert read({"task_id": "T1", "run_id": raw}).run == run


@pytest.mark.parametrize("raw", [*HUGES, {"$date": HUGE}, {"$date": -HUGE}])
@pytest.mark.parametrize("field", ["created", "last_status_change"])
def test_a_time_beyond_all_numbers_is_odd_and_loses_nothing(read: Read, field: str, raw: object) -> None:
    facts = read({"task_id": "T1", field: raw})
    assert (facts.created, facts.changed, facts.odd) == (None, None, (field,))


def test_a_due_time_beyond_all_numbers_is_odd_and_loses_nothing(read: Read) -> None:
    facts = read({"task_id": "T1", "scheduled_timestamp": HUGE})
    assert (facts.scheduled, facts.odd) == (None, ("scheduled_timestamp",))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([HUGE, -HUGE, 10**308])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["NULL", "completed", "2026-02-07T05:57:45Z", "12", "call", "Agent: hi", "voicemail"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def fields(struct: type) -> list[str]:
    return list(struct.__struct_encode_fields__)  # type: ignore[attr-defined]


def documents(struct: type, **inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: inner.get(name, JSON) for name in fields(struct)})


POST_CALL = documents(
    wire.PostCall,
    summary=JSON | documents(wire.Summary),
    realtime_agent_evaluation=JSON | documents(wire.Evaluation, llm_latency=JSON | documents(wire.Latency)),
)
OUTPUTS = documents(
    wire.Output,
    transcript=JSON | st.lists(JSON | documents(wire.Message), max_size=3),
    post_call_data=JSON | POST_CALL,
    metadata=JSON | documents(wire.Metadata, usage=JSON | documents(wire.Usage)),
    costBreakdown=JSON | documents(wire.CostBreakdown),
)
TASKS = documents(wire.Task, output=JSON | OUTPUTS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TASKS, min_size=1, max_size=2))
def test_no_json_in_any_field_loses_a_task(tasks: list[dict[str, Any]]) -> None:
    identified = [{**task, "task_id": f"T{place}"} for place, task in enumerate(tasks)]
    page = wire.tasks(msgspec.json.encode({"data": identified}))
    assert page is not None
    facts = [reading.task(entry) for entry in page.data]
    assert [task and task.id for task in facts] == [task["task_id"] for task in identified]
    for task in facts:
        assert task is not None
        assert task.status in STATUSES
        assert task.execution_type in EXECUTION_TYPES
        assert set(task.odd) <= set(FIELDS)
        assert task.odd == tuple(sorted(set(task.odd)))
