"""Every rule of counting, told as the story of one task."""

from __future__ import annotations

import pytest

from exporter.tracking.ledger import Look, observe
from exporter.tracking.records import pack
from exporter.tracking.tallies import Draft, Limits
from exporter.unpod.facts import Messages
from tests.tracking.stories import BUCKETS, SETTLING, START, Story, call, ended, live, stub, task


def test_a_new_task_is_created_and_enters_its_status() -> None:
    story = Story().tell(task("pending"))
    assert story.count("tasks_created", "call") == 1
    assert story.count("task_transitions", "call", "pending") == 1
    assert story.count("tasks", "call", "pending") == 1


def test_each_observed_change_of_status_is_one_entry() -> None:
    story = Story().tell(task("pending"), task("processing"), task("in_progress"), task("completed"))
    assert story.count("task_transitions", "call") == 4
    assert story.count("tasks", "call", "completed") == 1
    assert story.count("tasks", "call", "pending") == 0


def test_a_rise_of_retry_attempt_by_n_counts_n_and_a_fall_counts_nothing() -> None:
    story = Story().tell(
        task("pending"),
        task("scheduled", retry_attempt=2),
        task("pending", retry_attempt=0),
        task("scheduled", retry_attempt=1),
    )
    assert story.count("task_retries", "call") == 3


def test_attempts_that_are_not_told_are_those_last_known() -> None:
    untold = ("retry_attempt", "failure_count")
    story = Story().tell(
        task("scheduled", retry_attempt=2, failure_count=3),
        task("scheduled", untold=untold),
        task("scheduled", retry_attempt=2, failure_count=3),
        task("pending", untold=untold[:1], failure_count=4),
        task("scheduled", retry_attempt=3, untold=untold[1:]),
    )
    assert story.count("task_retries", "call") == 3
    assert story.count("task_failures", "call") == 4


def test_attempts_that_were_never_told_are_none() -> None:
    untold = ("retry_attempt", "failure_count")
    story = Story().tell(task("in_progress", untold=untold), task("completed", untold=untold))
    assert story.count("task_retries", "call") == story.count("task_failures", "call") == 0
    assert story.numbers[("task_retry_attempts", "call", "0.0")] == 1


def test_a_retry_that_is_not_told_for_once_leaves_no_second_call_behind() -> None:
    rejected = call(status="busy", over=True, duration=0.0)
    story = Story().tell(
        task("in_progress", rejected, retry_attempt=1),
        task("in_progress", rejected, untold=("retry_attempt",)),
        task("in_progress", rejected, retry_attempt=1),
        task("failed", rejected, retry_attempt=1),
    )
    assert story.count("calls") == 1


def test_retries_and_failures_that_a_task_already_shows_are_counted_with_it() -> None:
    story = Story().tell(task("failed", retry_attempt=2, failure_count=3))
    assert story.count("task_retries", "call") == 2
    assert story.count("task_failures", "call") == 3


def test_each_entry_into_failed_counts_its_reason() -> None:
    story = Story().tell(
        task("failed", failure_reason="no_answer"),
        task("failed", failure_reason="no_answer"),
        task("pending", failure_reason="no_answer"),
        task("failed", failure_reason="max_retries"),
    )
    assert story.count("task_failure_reasons", "no_answer") == 1
    assert story.count("task_failure_reasons", "max_retries") == 1


def test_a_success_that_sets_retry_attempt_back_still_tells_the_attempt() -> None:
    story = Story().tell(task("in_progress", retry_attempt=2), task("completed", retry_attempt=0))
    assert story.numbers[("task_retry_attempts", "call", "2.0")] == 1


def test_a_restarted_run_finishes_in_its_own_attempt() -> None:
    story = Story().tell(task("failed", retry_attempt=2), task("completed", retry_attempt=0))
    assert story.numbers[("task_retry_attempts", "call", "2.0")] == 1
    assert story.numbers[("task_retry_attempts", "call", "0.0")] == 1


def test_a_restarted_task_has_not_been_at_work_since_before_it_failed() -> None:
    story = Story().tell(
        task("processing", changed=START), task("failed", changed=START), task("processing", changed=START)
    )
    assert story.record is not None
    assert story.record.entered == story.now


def test_a_call_is_counted_when_it_is_enriched() -> None:
    story = Story().tell(task("in_progress", live("A")), task("completed", stub()))
    assert story.count("calls") == 0
    story.look(task("completed", ended("A")))
    assert story.count("calls", "outbound", "completed") == 1
    assert story.count("call_end_reasons", "customer_ended") == 1
    assert story.count("call_duration_seconds", "outbound") == 1


def test_a_stub_is_counted_as_it_is_after_the_settling_time() -> None:
    story = Story().tell(task("completed", stub("busy")))
    story.look(task("completed", stub("busy")), after=SETTLING - 1)
    assert story.count("calls") == 0
    story.look(task("completed", stub("busy")), after=1)
    assert story.count("calls", "unknown", "busy") == 1
    story.look(task("completed", stub("busy")), after=SETTLING)
    assert story.count("calls") == 1


def test_what_arrives_after_the_settling_time_is_counted_once_and_the_call_not_again() -> None:
    story = Story().tell(task("completed", stub()))
    story.look(task("completed", stub()), after=SETTLING)
    story.tell(*[task("completed", ended("A", cost=0.25, outcome="interested", recorded=True))] * 2)
    assert story.count("calls") == 1
    assert story.count("call_duration_seconds") == 1
    assert story.count("call_outcomes", "interested") == 1
    assert story.count("calls_recorded") == 1
    assert story.count("call_cost_dollars") == 250_000_000


def test_a_stub_that_another_call_replaces_is_counted_as_it_was() -> None:
    story = Story().tell(
        task("completed", stub("voicemail")), task("scheduled", stub("voicemail")), task("in_progress", live("B"))
    )
    assert story.count("calls", "unknown", "voicemail") == 1


def test_an_amount_that_is_corrected_upwards_counts_the_rise() -> None:
    story = Story().tell(task("completed", ended("A", cost=0.1)), task("completed", ended("A", cost=0.139)))
    story.look(task("completed", ended("A", cost=0.05)))
    story.look(task("completed", ended("A", cost=0.139)))
    assert story.count("call_cost_dollars") == 139_000_000


def test_the_attempt_that_a_retry_leaves_behind_is_a_call_of_its_own() -> None:
    story = Story().tell(
        task("in_progress", live("A")),
        task("scheduled", ended("A", status="not_connected"), retry_attempt=1),
        task("in_progress", ended("A", status="not_connected"), retry_attempt=1),
        task("in_progress", live("B"), retry_attempt=1),
        task("completed", ended("B"), retry_attempt=0),
    )
    assert story.count("calls", "outbound", "not_connected") == 1
    assert story.count("calls", "outbound", "completed") == 1


def test_a_redial_of_the_same_task_is_another_call() -> None:
    story = Story().tell(
        task("completed", ended("A")), task("scheduled", ended("A")), task("completed", ended("B", start=START + 900))
    )
    assert story.count("calls") == 2


def test_calls_without_an_id_differ_by_their_start() -> None:
    story = Story().tell(task("completed", ended()), task("completed", ended(start=START + 900)))
    assert story.count("calls") == 2


def test_an_old_call_shown_again_is_not_counted_again() -> None:
    first, second = ended("A"), ended("B", start=START + 900)
    story = Story().tell(*(task("completed", shown) for shown in (first, second, first, second)))
    assert story.count("calls") == 2


@pytest.mark.parametrize("seen_waiting", [True, False])
def test_a_retry_tells_two_rejected_calls_without_id_or_start_apart(*, seen_waiting: bool) -> None:
    rejected = call(status="busy", over=True, duration=0.0)
    waiting = [task("scheduled", rejected, retry_attempt=1)] if seen_waiting else []
    story = Story().tell(task("in_progress", rejected), *waiting, task("failed", rejected, retry_attempt=1))
    assert story.count("calls", "unknown", "busy") == 2


def test_an_output_that_the_next_attempt_has_not_overwritten_yet_is_no_new_call() -> None:
    rejected = call(status="busy", over=True, duration=0.0)
    story = Story().tell(
        task("in_progress", rejected),
        task("scheduled", rejected, retry_attempt=1),
        task("in_progress", rejected, retry_attempt=1),
    )
    assert story.count("calls") == 1


def test_a_second_retry_leaves_a_second_call_behind() -> None:
    rejected = call(status="busy", over=True, duration=0.0)
    story = Story().tell(
        task("in_progress", rejected),
        task("scheduled", rejected, retry_attempt=1),
        task("scheduled", rejected, retry_attempt=2),
    )
    assert story.count("calls") == 2


def test_a_call_that_began_after_a_nameless_one_had_ended_is_another() -> None:
    story = Story().tell(task("failed", call(status="busy", over=True, duration=0.0)))
    story.look(task("completed", ended("B", start=story.now + 100)), after=600)
    assert story.count("calls") == 2


def test_a_call_under_way_is_another_than_the_one_that_had_ended_before_it_was_dialled() -> None:
    story = Story().tell(task("in_progress", stub("voicemail")), task("in_progress", live("B", start=START)))
    assert story.count("calls", "unknown", "voicemail") == 1
    assert story.count("task_start_delay_seconds") == 0


def test_a_stub_is_enriched_although_its_task_has_been_dialled_again_in_between() -> None:
    rejected = call(id="A", status="not_connected", over=True, duration=0.0)
    story = Story().tell(task("completed", stub()), task("processing", rejected))
    assert story.count("calls") == 1


def test_the_stub_of_an_attempt_after_an_unseen_retry_is_not_taken_for_the_call_seen_before() -> None:
    story = Story().tell(
        task("in_progress", live("A", start=START)),
        task("completed", stub("completed"), retry_attempt=1),
        task("completed", ended("B", start=START + 70), retry_attempt=1),
    )
    assert story.count("calls") == 1


def test_a_stub_in_place_of_a_full_record_is_another_call() -> None:
    story = Story().tell(task("completed", ended("A")), task("completed", stub("voicemail")))
    story.look(task("completed", ended("B", start=START + 90)))
    assert story.count("calls") == 2
    story.look(task("completed", ended("A")))
    assert story.count("calls") == 2


def test_a_stub_that_has_overwritten_a_full_record_and_stays_one_is_counted_too() -> None:
    story = Story().tell(task("completed", ended("A")), task("completed", stub("voicemail")))
    story.look(task("completed", stub("voicemail")), after=SETTLING)
    assert story.count("calls", "outbound", "completed") == 1
    assert story.count("calls", "unknown", "voicemail") == 1


def test_a_retry_after_an_unseen_redial_leaves_another_call_behind_than_the_stub() -> None:
    story = Story().tell(
        task("completed", stub("voicemail")),
        task("pending", call(id="B", status="dropped", over=True, duration=0.0), retry_attempt=1),
    )
    assert story.count("calls", "unknown", "voicemail") == 1
    assert story.count("calls", "unknown", "dropped") == 1


def test_a_redial_after_a_call_without_id_is_another_call_although_it_was_not_seen_waiting() -> None:
    story = Story().tell(task("completed", stub("voicemail")), task("in_progress", live()), task("completed", stub()))
    assert story.count("calls", "unknown", "voicemail") == 1


def test_a_call_that_is_under_way_is_not_counted() -> None:
    story = Story().tell(*[task("in_progress", call(id="A", duration=0.0))] * 2)
    assert story.count("calls") == 0


def test_the_zero_of_a_dispatched_call_is_no_enrichment_of_a_completed_task() -> None:
    story = Story().tell(task("completed", call(id="A", duration=0.0)))
    assert story.count("calls") == 0
    story.look(task("completed", ended("A", seconds=12.5)))
    assert story.count("calls") == 1
    assert story.numbers[("call_duration_seconds", "outbound", "sum")] == 12_500_000_000


def test_calls_without_a_duration_above_zero_have_no_place_in_the_histogram() -> None:
    story = Story().tell(task("completed", ended("A", seconds=0.0)))
    assert story.count("calls") == 1
    assert story.count("call_duration_seconds") == 0


def test_the_delay_of_a_start_counts_from_when_it_was_due() -> None:
    story = Story().tell(
        task("scheduled", scheduled=START + 100),
        task("in_progress", live("A", start=START + 107), scheduled=START + 100),
        task("completed", ended("A", start=START + 107), scheduled=START + 100),
    )
    assert story.numbers[("task_start_delay_seconds", "call", "sum")] == 7_000_000_000
    assert story.count("task_start_delay_seconds") == 1


def test_the_schedule_of_the_retry_is_not_that_of_the_first_call() -> None:
    story = Story().tell(
        task("scheduled", scheduled=START + 100),
        task("scheduled", ended("A", start=START + 107), scheduled=START + 1000, retry_attempt=1),
    )
    assert story.numbers[("task_start_delay_seconds", "call", "sum")] == 7_000_000_000


def test_a_delay_is_never_negative() -> None:
    story = Story().tell(task("completed", ended("A", start=START - 100)))
    assert story.numbers[("task_start_delay_seconds", "call", "sum")] == 0


def test_a_later_attempt_has_no_start_delay() -> None:
    story = Story().tell(
        task("scheduled", stub(), retry_attempt=1), task("completed", ended("B", start=START + 900), retry_attempt=0)
    )
    assert story.count("task_start_delay_seconds") == 0


def test_a_redial_has_no_start_delay_although_the_start_of_the_first_call_was_never_told() -> None:
    story = Story().tell(task("completed", stub()), task("in_progress", live("B", start=START + 900)))
    story.look(task("completed", ended("C", start=START + 1900)))
    assert story.count("task_start_delay_seconds") == 0


def test_history_that_is_not_to_be_counted_counts_nothing_but_the_gauge() -> None:
    story = Story(history=True).tell(
        task("completed", ended("A"), retry_attempt=2, odd=("cost",)),
        task("completed", ended("A", cost=1.0, outcome="interested"), retry_attempt=2, odd=("cost",)),
    )
    assert {key: value for key, value in story.numbers.items() if value} == {("tasks", "call", "completed"): 1}


def test_what_happens_to_history_later_is_counted() -> None:
    story = Story(history=True).tell(task("in_progress", live("A")), task("completed", ended("A")))
    assert story.count("calls") == 1
    assert story.count("task_transitions", "call") == 1
    story.look(task("completed", ended("B", start=START + 900)))
    assert story.count("calls") == 2


def test_a_value_that_fits_nothing_is_counted_once_for_each_task_and_field() -> None:
    story = Story().tell(task("pending", odd=("status",)), task("pending", odd=("status", "cost")), task("pending"))
    assert story.count("exporter_unknown_values", "status") == 1
    assert story.count("exporter_unknown_values", "cost") == 1


def test_silence_and_messages_are_counted_once() -> None:
    shown = ended("A", messages=Messages(agent=3, user=1), silent=True)
    story = Story().tell(*[task("completed", shown)] * 3)
    assert story.count("calls_silent") == 1
    assert story.count("call_messages", "agent") == 3


def test_raw_codes_beyond_the_limit_become_other() -> None:
    story = Story(limits=Limits(buckets=BUCKETS, end_codes=2))
    for number, code in enumerate(["a", "b", "c", "a", "unknown"]):
        story.look(task("completed", ended(f"C{number}", start=START + number * 900, code=code)))
    assert story.count("call_end_codes", "a") == 2
    assert story.count("call_end_codes", "other") == 1
    assert story.count("call_end_codes", "unknown") == 1


def test_a_held_call_keeps_no_number_unless_numbers_are_counted() -> None:
    record = observe(
        None,
        task("completed", call(status="busy", over=True, number="+911234567890")),
        Look(now=START, settling=SETTLING),
        Draft(Limits(buckets=BUCKETS), {}),
    )
    assert record.call is not None
    assert record.call.held is not None
    assert b"911234567890" not in pack(record)


def test_a_call_that_starts_a_moment_before_its_schedule_has_no_delay() -> None:
    due = START + 100
    story = Story().tell(task("scheduled", scheduled=due, created=START - 90_000))
    story.look(task("completed", ended("A", start=due - 0.5), scheduled=due, created=START - 90_000))
    assert story.numbers[("task_start_delay_seconds", "call", "sum")] == 0
    assert story.count("task_start_delay_seconds") == 1


def test_a_schedule_that_a_retry_has_overwritten_before_it_was_seen_tells_no_delay() -> None:
    story = Story().tell(task("scheduled", ended("A", start=START), scheduled=START + 1000, retry_attempt=1))
    assert story.count("task_start_delay_seconds") == 0


@pytest.mark.parametrize("ahead", [0.0, 3.0, 30.0])
def test_a_platform_whose_clock_runs_ahead_makes_no_second_call_of_a_stub(ahead: float) -> None:
    story = Story()
    story.look(task("completed", stub("busy")), after=3.0)
    story.look(task("completed", ended("A", start=START + ahead, seconds=2.0)))
    assert story.count("calls") == 1


def test_a_start_told_with_and_without_its_fraction_is_the_same_start() -> None:
    story = Story().tell(task("completed", ended("", start=START)), task("completed", ended("A", start=START + 0.123)))
    assert story.count("calls") == 1


def test_a_wrong_date_makes_no_start_delay() -> None:
    story = Story().tell(task("completed", ended("A", start=START), created=START - 400 * 86_400))
    assert story.count("task_start_delay_seconds") == 0
