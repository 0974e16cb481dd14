"""What one agent shows of itself: whole readings only, its failures apart, the same after a restart."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import msgspec
import pytest

from exporter.exposition.catalog import Settings, families
from exporter.exposition.family import Scope
from exporter.tracking.report import Counter, Family, Histogram, Report
from exporter.tracking.rules import Rules
from exporter.tracking.storage import Commit, StorageError
from exporter.tracking.tallies import Key, Limits, unpack
from exporter.unpod import errors
from exporter.unpod.facts import Page, Task
from exporter.unpod.urgency import Urgency
from tests.tracking.platform import RULES, Desk, desk, since, values
from tests.tracking.stories import BUCKETS, START, ended, live, stub, task

DOWN = errors.ServerError("HTTP 502", status=502)
PAGE_BY_PAGE = msgspec.structs.replace(RULES, page_size=1)


def tasks(*statuses: str) -> list[Task]:
    return [task(status, id=f"T{place}", created=START - place) for place, status in enumerate(statuses)]


def counted(report: Report) -> Mapping[str, Family]:
    """Everything but the agent's health."""
    return {name: family for name, family in report.families.items() if not name.startswith("agent_")}


def with_limits(rules: Rules = RULES, **limits: object) -> Rules:
    return msgspec.structs.replace(rules, limits=msgspec.structs.replace(rules.limits, **limits))


async def fail(made: Desk, error: Exception = DOWN, *, page: int = 1) -> Report:
    made.shelf.fails_at = {page: error}
    made.time.now += 60
    outcome = await made.tracker.poll()
    made.shelf.fails_at = {}
    assert outcome.error is error
    return made.tracker.report({})


# Only as a whole


async def test_nothing_but_health_is_shown_before_the_history_has_been_read_once() -> None:
    async with desk(PAGE_BY_PAGE) as made:
        made.show(*tasks("pending", "completed", "failed", "pending"))
        assert not counted(made.tracker.report({}))
        report = await fail(made, page=3)
        assert not counted(report)
        assert values(report, "agent_history_read_ratio") == {(): 0.5}
        assert values(report, "agent_history_complete") == {}
        assert made.tracker.tracked is None
        assert made.tracker.calls is None
        report = await made.poll(*tasks("pending", "completed", "failed", "pending"))
        assert values(report, "tasks_created") == {("call",): 4}
        assert values(report, "agent_history_complete") == {(): 1}
        assert made.tracker.tracked == 4


async def test_the_first_reading_tells_its_progress_and_later_ones_do_not() -> None:
    async with desk(PAGE_BY_PAGE) as made:
        await made.poll(*tasks("pending", "completed"))
        await made.poll(*tasks("pending", "completed"))
        assert made.progress == [("sales", 0.5), ("sales", 0.999)]


async def test_a_restart_in_the_middle_of_a_first_reading_tells_how_far_it_was() -> None:
    async with desk(PAGE_BY_PAGE) as made:
        made.show(*tasks("pending", "completed", "failed", "pending"))
        await fail(made, page=3)
        assert values(await made.restart(), "agent_history_read_ratio") == {(): 0.5}
        assert values(await fail(made, page=1), "agent_history_read_ratio") == {(): 0.5}


async def test_an_agent_without_tasks_is_complete_after_one_reading() -> None:
    async with desk() as made:
        report = await made.poll()
        assert values(report, "agent_history_complete") == {(): 1}
        assert values(report, "agent_history_read_ratio") == {(): 1}
        assert values(report, "tasks_created") == {}
        assert made.tracker.calls == made.tracker.tracked == 0


async def test_a_poll_that_fails_halfway_counts_nothing_and_the_next_one_counts_all_of_it_once() -> None:
    async with desk(PAGE_BY_PAGE) as made:
        before = await made.poll(*tasks("pending", "pending"))
        made.show(*tasks("completed", "failed"))
        assert counted(await fail(made, page=2)) == counted(before)
        report = await made.poll(*tasks("completed", "failed"))
        transitions = {("call", "pending"): 2, ("call", "completed"): 1, ("call", "failed"): 1}
        assert values(report, "task_transitions") == transitions


async def test_a_report_has_every_family_of_an_agent_in_the_catalog_and_no_other() -> None:
    catalog = {family.source for family in families(Settings()) if family.scope is not Scope.PROCESS}
    async with desk(with_limits(numbers=1)) as made:
        report = await made.poll(task("completed", ended("A")))
        assert report.families.keys() == catalog - {"agent_info"}


# Failures


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.Unauthorized("401"), "unauthorized"),
        (errors.NoAccess("206"), "no_access"),
        (errors.RateLimited("429"), "rate_limited"),
        (errors.Timeout("40 s"), "timeout"),
        (StorageError("state file x: disk full"), "internal"),
        (ZeroDivisionError("+911234567890"), "internal"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_a_failure_changes_no_number_but_its_own(error: Exception, reason: str) -> None:
    async with desk() as made:
        before = await made.poll(task("completed", ended("A")))
        made.show(task("failed", ended("A")), task("pending", id="T2"))
        report = await fail(made, error)
        assert counted(report) == counted(before)
        assert values(report, "agent_up") == {}
        assert values(report, "agent_polls") == {(): 2}
        assert values(report, "agent_poll_failures") == {(reason,): 1}
        assert values(report, "agent_last_success_timestamp_seconds") == {(): START + 60}
        assert report.fresh_until == before.fresh_until


async def test_a_success_after_a_failure_is_up_again_and_its_failures_stay_counted() -> None:
    async with desk() as made:
        await fail(made)
        await fail(made)
        report = await made.poll()
        assert values(report, "agent_up") == {(): 1}
        assert values(report, "agent_polls") == {(): 3}
        assert values(report, "agent_poll_failures") == {("server_error",): 2}


async def test_a_defect_is_told_without_its_message() -> None:
    async with desk() as made:
        await fail(made, KeyError("+911234567890"))
        last = made.tracker.last
        assert last is not None
        assert last.is_defect
        assert last.error_in_words == "a defect of the exporter: KeyError"


async def test_an_expected_failure_is_told_in_its_own_words() -> None:
    async with desk() as made:
        await fail(made, StorageError("state file x: disk full"))
        last = made.tracker.last
        assert last is not None
        assert not last.is_defect
        assert last.error_in_words == "state file x: disk full"


async def test_a_commit_that_fails_leaves_the_numbers_to_the_next_poll() -> None:
    async with desk() as made:
        before = await made.poll(task("pending"))
        commit, made.storage.commit = made.storage.commit, refused
        made.show(task("completed", ended("A")))
        outcome = await made.tracker.poll()
        assert isinstance(outcome.error, StorageError)
        assert counted(made.tracker.report({})) == counted(before)
        made.storage.commit = commit
        report = await made.poll(task("completed", ended("A")))
        assert values(report, "calls") == {("outbound", "completed"): 1}


async def refused(agent: str, commit: Commit) -> None:
    raise StorageError("disk full")


async def test_a_state_that_cannot_be_read_is_a_failed_poll_and_heals() -> None:
    async with desk() as made:
        load, made.storage.load = made.storage.load, unreadable
        await made.tracker.try_load()
        outcome = await made.tracker.poll()
        assert isinstance(outcome.error, StorageError)
        made.storage.load = load
        assert values(await made.poll(task("pending")), "tasks_created") == {("call",): 1}


async def unreadable(agent: str) -> None:
    raise StorageError("damaged")


# What is shown when


async def test_numbers_are_fresh_until_the_staleness_after_the_last_success() -> None:
    async with desk(msgspec.structs.replace(RULES, max_staleness=900.0)) as made:
        assert made.tracker.report({}).fresh_until is None
        assert (await made.poll()).fresh_until == START + 60 + 900
        assert (await fail(made)).fresh_until == START + 60 + 900


async def test_the_duration_of_a_poll_is_measured_whether_it_succeeds_or_not() -> None:
    async with desk() as made:
        tracker = made.tracker

        async def slow(agent: str, *, page: int, page_size: int, urgency: Urgency) -> None:
            made.time.now += 7
            raise DOWN

        made.shelf.tasks = slow
        await tracker.poll()
        assert values(tracker.report({}), "agent_last_poll_duration_seconds") == {(): 7}
        assert tracker.last_poll == START + 7


async def test_after_a_restart_the_numbers_are_shown_before_anything_is_asked_of_the_platform() -> None:
    async with desk() as made:
        before = await made.poll(task("completed", ended("A", cost=0.139)), *tasks("pending"))
        asked = made.shelf.asked
        after = await made.restart()
        assert made.shelf.asked == asked
        assert counted(after) == counted(before)
        assert after.fresh_until == before.fresh_until
        assert "agent_up" not in after.families
        assert values(after, "agent_last_success_timestamp_seconds") == {(): START + 60}


async def test_polls_are_counted_from_the_start_of_the_process() -> None:
    async with desk() as made:
        await made.poll()
        made.time.now = START + 1000
        report = await made.restart()
        assert since(report, "agent_polls") == START + 1000
        assert values(report, "agent_polls") == {}
        assert since(report, "tasks_created") == START + 60


async def test_the_outcome_tells_what_has_grown() -> None:
    async with desk() as made:
        made.show(task("completed", ended("A")))
        outcome = await made.tracker.poll()
        assert outcome.first
        assert (outcome.pages, outcome.tasks) == (1, 1)
        assert outcome.changes["tasks_created"] == outcome.changes["calls"] == 1
        outcome = await made.tracker.poll()
        assert not outcome.first
        assert not outcome.changes
        assert made.tracker.calls == 1


# Gauges


async def test_a_waiting_task_is_overdue_once_the_grace_after_its_schedule_is_over() -> None:
    due = task("scheduled", scheduled=START)
    async with desk(msgspec.structs.replace(RULES, overdue_grace=300.0)) as made:
        assert values(await made.poll(due, after=300.0), "tasks_overdue") == {}
        assert values(await made.poll(due, after=1.0), "tasks_overdue") == {("call",): 1}
        assert values(await made.poll(task("in_progress", scheduled=START)), "tasks_overdue") == {}


async def test_the_oldest_open_task_of_each_status_tells_since_when_it_waits() -> None:
    async with desk() as made:
        report = await made.poll(
            task("pending", id="P", created=START - 50),
            task("pending", id="older", created=START - 70),
            task("hold", id="H", created=START - 60),
            task("scheduled", id="S", created=START - 80, scheduled=START + 500),
            task("processing", id="W", created=START - 90, changed=START - 5),
            task("in_progress", id="new", created=START - 90),
            task("completed", id="C", created=START - 999),
        )
        assert values(report, "oldest_open_task_timestamp_seconds") == {
            ("pending",): START - 70,
            ("hold",): START - 60,
            ("scheduled",): START + 500,
            ("processing",): START - 5,
            ("in_progress",): START + 60,
        }


async def test_open_runs_are_the_distinct_runs_of_open_tasks() -> None:
    async with desk() as made:
        report = await made.poll(
            task("pending", id="1", run="R1"),
            task("in_progress", id="2", run="R1"),
            task("hold", id="3", run="R2"),
            task("completed", id="4", run="R3"),
            task("pending", id="5"),
        )
        assert values(report, "open_runs") == {(): 2}


async def test_the_last_call_end_never_goes_back() -> None:
    first, second = ended("A", start=START), ended("B", start=START - 900)
    async with desk() as made:
        assert "last_call_end_timestamp_seconds" not in (await made.poll()).families
        await made.poll(task("completed", first))
        report = await made.poll(task("completed", first), task("completed", second, id="T2"))
        assert values(report, "last_call_end_timestamp_seconds") == {(): START + 30}
        assert values(await made.restart(), "last_call_end_timestamp_seconds") == {(): START + 30}


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_stub_is_counted_after_the_settling_time_however_the_clock_jumps(jump: float) -> None:
    over = task("completed", stub(), changed=START + 60)
    async with desk() as made:
        await made.poll(task("in_progress"))
        made.jump = jump
        await made.poll(over)
        for made.jump in (0.0, jump, 0.0):
            report = await made.poll(over, after=RULES.settling_time / 3 - 1)
            assert not values(report, "calls"), "it is not counted early"
        report = await made.poll(over, after=4.0)
        assert sum(values(report, "calls").values()) == 1


async def test_a_stub_that_ended_while_the_clock_was_ahead_is_counted_soon_though_the_process_starts_again() -> None:
    over = task("completed", stub(), changed=START + 60)
    async with desk() as made:
        await made.poll(task("in_progress"))
        made.jump = 86_400.0
        await made.poll(over)
        made.jump = 0.0
        await made.restart()
        assert not values(await made.poll(over, after=RULES.settling_time - 1), "calls"), "it is not counted early"
        report = await made.poll(over, after=RULES.settling_time)
        assert sum(values(report, "calls").values()) == 1


async def test_the_record_of_a_stub_that_ended_while_the_clock_was_behind_is_no_second_call() -> None:
    async with desk() as made:
        await made.poll(task("in_progress", created=START - 5_000))
        made.jump = -86_400.0
        await made.poll(task("completed", stub("completed"), created=START - 5_000))
        made.jump = 0.0
        report = await made.poll(task("completed", ended("A", start=START + 70), created=START - 5_000))
        assert sum(values(report, "calls").values()) == 1
        assert values(report, "task_start_delay_seconds") == {("call",): 1}


async def test_one_end_of_a_call_in_the_far_future_does_not_stay_for_ever() -> None:
    async with desk() as made:
        made.jump = 10 * 365 * 86_400.0
        wrong = task("completed", ended("A", start=START + 9 * 365 * 86_400.0))
        await made.poll(wrong)
        made.jump = 0.0
        assert "last_call_end_timestamp_seconds" not in (await made.poll(wrong)).families
        report = await made.poll(task("completed", ended("B", start=START + 100), id="T2"), wrong)
        assert values(report, "last_call_end_timestamp_seconds") == {(): START + 130}


async def test_tasks_that_vanish_from_the_list_are_not_deleted() -> None:
    async with desk() as made:
        await made.poll(*tasks("pending", "completed"))
        made.show(tasks("pending")[0])
        for _ in range(3):
            assert (await made.tracker.poll()).reason == "bad_response"
        report = await made.poll(tasks("pending")[0])
        assert values(report, "tasks") == {("call", "pending"): 1, ("call", "completed"): 1}
        assert values(report, "tasks_reported") == {(): 1}
        assert values(report, "exporter_tracked_tasks") == {(): 2}


# Other limits after a restart

FEW_BUCKETS = {**BUCKETS, "call_duration_seconds": (60.0, 600.0)}


async def test_a_histogram_in_other_buckets_begins_anew_and_nothing_else_does() -> None:
    async with desk() as made:
        before = await made.poll(task("completed", ended("A")))
        made.time.now = START + 500
        after = await made.restart(with_limits(buckets=FEW_BUCKETS))
        fresh = after.families["call_duration_seconds"]
        assert fresh == Histogram(START + 500, (60.0, 600.0), {})
        others = counted(before).keys() - {"call_duration_seconds"}
        assert {name: after.families[name] for name in others} == {name: before.families[name] for name in others}
        report = await made.poll(task("completed", ended("A")), task("completed", ended("B"), id="T2"))
        assert values(report, "call_duration_seconds") == {("outbound",): 1}
        assert values(report, "calls") == {("outbound", "completed"): 2}
        made.time.now = START + 9000
        assert since(await made.restart(), "call_duration_seconds") == START + 500


async def test_the_same_buckets_written_otherwise_are_the_same() -> None:
    async with desk() as made:
        before = await made.poll(task("completed", ended("A")))
        written = {name: tuple(map(float, bounds)) for name, bounds in BUCKETS.items()}
        assert counted(await made.restart(with_limits(buckets=written))) == counted(before)


async def test_end_codes_that_are_switched_on_later_begin_then() -> None:
    async with desk(with_limits(end_codes=0)) as made:
        assert "call_end_codes" not in (await made.poll(task("completed", ended("A", code="a")))).families
        made.time.now = START + 500
        report = await made.restart(with_limits(end_codes=50))
        assert report.families["call_end_codes"] == Counter(START + 500, {})
        report = await made.poll(task("completed", ended("B", start=START + 900, code="b")))
        assert values(report, "call_end_codes") == {("b",): 1}
        made.time.now = START + 9000
        assert since(await made.restart(), "call_end_codes") == START + 500


async def test_end_codes_that_are_switched_off_and_on_again_begin_anew() -> None:
    async with desk() as made:
        await made.poll(task("completed", ended("A", code="a")))
        await made.restart(with_limits(end_codes=0))
        await made.poll(task("completed", ended("B", start=START + 900, code="b")))
        made.time.now = START + 5000
        report = await made.restart(with_limits(end_codes=50))
        assert report.families["call_end_codes"] == Counter(START + 5000, {})


async def test_a_lower_limit_of_end_codes_keeps_those_that_it_has() -> None:
    async with desk() as made:
        await made.poll(task("completed", ended("A", code="a")), task("completed", ended("B", code="b"), id="T2"))
        await made.restart(with_limits(end_codes=1))
        report = await made.poll(
            task("completed", ended("C", code="b"), id="T3"), task("completed", ended("D", code="c"), id="T4")
        )
        assert values(report, "call_end_codes") == {("a",): 1, ("b",): 2, ("other",): 1}


@pytest.mark.parametrize(
    "rules",
    [
        RULES,
        with_limits(buckets=FEW_BUCKETS),
        with_limits(end_codes=0),
        with_limits(end_codes=1),
        with_limits(numbers=5),
        msgspec.structs.replace(RULES, settling_time=1.0, overdue_grace=0.0, page_size=3, history=100.0),
    ],
    ids=["the same", "other buckets", "no end codes", "fewer end codes", "numbers", "none of the limits"],
)
async def test_rules_that_change_while_it_runs_come_to_the_same_as_at_a_start(rules: Rules) -> None:
    shown = []
    for changes in (Desk.change, Desk.restart):
        async with desk() as made:
            past = (task("completed", ended("A", code="a")), task("completed", ended("B", code="b"), id="T2"))
            await made.poll(*past)
            made.time.now += 500
            shown.append(counted(await changes(made, rules)))
            shown.append(counted(await made.poll(*past, task("completed", ended("C", code="c"), id="T3"))))
            await changes(made, RULES)
            shown.append(counted(await made.poll(*past, task("completed", ended("D", code="d"), id="T4"))))
    assert shown[:3] == shown[3:]


async def test_other_limits_that_cannot_be_committed_are_taken_up_by_the_next_poll() -> None:
    async with desk() as made:
        await made.poll(task("completed", ended("A")))
        commit, made.storage.commit = made.storage.commit, _full
        with pytest.raises(StorageError):
            await made.change(with_limits(buckets=FEW_BUCKETS))
        made.storage.commit = commit
        report = await made.poll(task("completed", ended("A")), task("completed", ended("B"), id="T2"))
        assert report.families["call_duration_seconds"].bounds == (60.0, 600.0)
        assert values(report, "calls") == {("outbound", "completed"): 2}


async def _full(agent: str, commit: Commit) -> None:
    raise StorageError("the disk is full")


async def test_numbers_of_the_organisation_are_counted_only_on_demand() -> None:
    async with desk() as made:
        report = await made.poll(task("completed", ended("A", number="+911234567890")))
        assert "number_calls" not in report.families
    async with desk(with_limits(numbers=1)) as made:
        report = await made.poll(
            task("completed", ended("A", number="+911234567890")),
            task("completed", ended("B", number="+919999999999"), id="T2"),
            task("completed", ended("C"), id="T3"),
        )
        assert values(report, "number_calls").keys() == {
            ("+911234567890", "completed"),
            ("other", "completed"),
            ("unknown", "completed"),
        }


# How far back


def limited(history: float | None) -> Rules:
    return msgspec.structs.replace(RULES, history=history, page_size=1)


async def test_tasks_leave_the_gauges_when_they_age_out_and_their_counts_stay() -> None:
    young, old = tasks("pending")[0], task("pending", id="old", created=START - 900, run="R1")
    async with desk(limited(1000.0)) as made:
        report = await made.poll(young, old)
        assert values(report, "tasks") == {("call", "pending"): 2}
        assert values(report, "open_runs") == {(): 1}
        report = await made.poll(young, old)
        assert values(report, "tasks") == {("call", "pending"): 1}
        assert values(report, "oldest_open_task_timestamp_seconds") == {("pending",): START}
        assert values(report, "open_runs") == {}
        assert values(report, "tasks_created") == {("call",): 2}


async def test_tasks_that_have_aged_out_stay_out_after_a_restart() -> None:
    young, old = tasks("pending")[0], task("pending", id="old", created=START - 900, run="R1")
    async with desk(limited(1000.0)) as made:
        await made.poll(young, old)
        before = await made.poll(young, old)
        assert counted(await made.restart()) == counted(before)
        assert counted(await made.poll(young, old, after=0.0)) == counted(before)


async def test_tasks_are_back_when_the_history_is_widened_and_are_not_counted_again() -> None:
    young, old = tasks("pending")[0], task("pending", id="old", created=START - 900)
    async with desk(limited(None)) as made:
        await made.poll(young, old)
        await made.restart(limited(500.0))
        assert values(await made.poll(young, old), "tasks") == {("call", "pending"): 1}
        await made.restart(limited(None))
        report = await made.poll(young, old)
        assert values(report, "tasks") == {("call", "pending"): 2}
        assert values(report, "oldest_open_task_timestamp_seconds") == {("pending",): START - 900}
        assert values(report, "tasks_created") == {("call",): 2}


async def test_tasks_that_age_out_while_the_first_reading_fails_leave_the_gauges_once() -> None:
    shown = [task("pending", id=f"T{age}", created=START - age) for age in (0, 10, 20, 800, 900)]
    async with desk(limited(1000.0)) as made:
        made.show(*shown)
        await fail(made, page=5)
        for _ in range(3):
            await fail(made, page=1)
        made.time.now += 100
        report = await made.poll(*shown)
        assert values(report, "tasks") == {("call", "pending"): 3}


async def test_a_task_that_tells_no_time_is_always_read() -> None:
    async with desk(limited(1000.0)) as made:
        report = await made.poll(task("pending", created=None))
        assert values(report, "tasks_created") == {("call",): 1}


# What a new ledger counts


async def test_without_backfill_what_is_found_is_no_event_and_what_comes_then_is() -> None:
    async with desk(msgspec.structs.replace(RULES, backfill=0.0)) as made:
        report = await made.poll(task("completed", ended("A")), task("in_progress", live("B"), id="T2"))
        assert values(report, "tasks_created") == values(report, "calls") == {}
        assert values(report, "tasks") == {("call", "completed"): 1, ("call", "in_progress"): 1}
        report = await made.poll(
            task("pending", id="T3", created=made.time.now + 1),
            task("completed", ended("A")),
            task("completed", ended("B"), id="T2"),
        )
        assert values(report, "tasks_created") == {("call",): 1}
        assert values(report, "calls") == {("outbound", "completed"): 1}


async def test_a_task_dated_in_the_future_does_not_make_history_of_all_that_follow() -> None:
    future = task("pending", id="skewed", created=START + 10**9)
    async with desk(msgspec.structs.replace(RULES, backfill=0.0)) as made:
        await made.poll(future, task("pending"))
        report = await made.poll(future, task("pending", id="T2", created=START + 100), task("pending"))
        assert values(report, "tasks_created") == {("call",): 1}


async def test_a_backfill_counts_what_was_created_since_then() -> None:
    async with desk(msgspec.structs.replace(RULES, backfill=100.0)) as made:
        report = await made.poll(*tasks("pending"), task("pending", id="old", created=START - 200))
        assert values(report, "tasks_created") == {("call",): 1}
        assert values(report, "tasks") == {("call", "pending"): 2}


async def test_by_default_the_whole_history_is_counted() -> None:
    assert math.isinf(Rules(limits=Limits(buckets={})).backfill)
    async with desk() as made:
        report = await made.poll(task("completed", ended("A"), created=1.0))
        assert values(report, "calls") == {("outbound", "completed"): 1}


async def test_a_held_stub_is_counted_after_the_settling_time_across_a_restart() -> None:
    async with desk() as made:
        await made.poll(task("completed", stub("busy")))
        await made.restart()
        assert values(await made.poll(task("completed", stub("busy")), after=599.0), "calls") == {}
        report = await made.poll(task("completed", stub("busy")), after=1.0)
        assert values(report, "calls") == {("unknown", "busy"): 1}


async def test_a_call_that_is_told_to_end_in_the_far_future_does_not_hide_when_calls_end() -> None:
    async with desk() as made:
        wrong = task("completed", ended("C1", start=START + 30 * 86_400), id="T1")
        report = await made.poll(wrong)
        assert "last_call_end_timestamp_seconds" not in report.families
        assert values(report, "calls") == {("outbound", "completed"): 1}
        report = await made.poll(task("completed", ended("C2", start=START), id="T2"), wrong)
        assert values(report, "last_call_end_timestamp_seconds") == {(): START + 30}


async def test_tasks_beyond_number_that_cannot_be_delivered_are_found_over_some_polls() -> None:
    async with desk(msgspec.structs.replace(RULES, page_size=100)) as made:
        shelf = made.shelf
        made.show(*(task("completed", id=f"T{number}") for number in range(100)))
        deliver = shelf.tasks

        async def poisoned(agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
            answer = await deliver(agent, page=page, page_size=page_size, urgency=urgency)
            if any(int(one.id[1:]) % 3 == 0 for one in answer.tasks):
                raise errors.ServerError("500", status=500)
            return answer

        shelf.tasks = poisoned
        failed = 0
        while (await made.tracker.poll()).error is not None:
            failed += 1
            assert failed < 10
        report = made.tracker.report({})
        assert failed > 0
        assert values(report, "tasks_unreadable") == {(): 34}
        assert values(report, "tasks") == {("call", "completed"): 66}


async def test_a_first_reading_that_was_interrupted_ends_although_some_tasks_cannot_be_told_apart() -> None:
    """The platform counts a document without an identity, too, and only those who read its page know of it."""
    async with desk(msgspec.structs.replace(RULES, page_size=4)) as made:
        shown = (
            task("pending", id="" if number == 5 else f"T{number}", created=START - number) for number in range(16)
        )
        made.show(*shown)
        made.shelf.fails_at[4] = DOWN
        assert (await made.tracker.poll()).error is DOWN
        made.shelf.fails_at.clear()
        await made.restart()
        assert (await made.tracker.poll()).error is None
        assert values(made.tracker.report({}), "tasks") == {("call", "pending"): 15}


# The numbers that were shown first


def opening(made: Desk) -> dict[Key, int]:
    assert made.tracker._state is not None
    return unpack(made.tracker._state.book.opening)


async def test_the_numbers_that_were_shown_first_are_kept() -> None:
    async with desk() as made:
        await made.poll(task("completed", ended("C1")), *tasks("pending"))
        first = opening(made)
        assert first[("tasks_created", "call")] == 2
        assert ("tasks", "call", "pending") not in first
        await made.poll(task("completed", ended("C1")), *tasks("completed"))
        await made.restart()
        assert opening(made) == first


async def test_an_interrupted_first_reading_is_shown_first_once_it_is_whole() -> None:
    async with desk(PAGE_BY_PAGE) as made:
        made.show(*tasks("pending", "completed", "failed"))
        await fail(made, page=3)
        assert opening(made) == {}
        await made.poll(*tasks("pending", "completed", "failed"))
        assert opening(made)[("tasks_created", "call")] == 3


async def test_a_poll_that_is_abandoned_is_not_under_way_any_more() -> None:
    async with desk() as made:
        begun = asyncio.Event()

        async def tasks(agent: str, **asked: object) -> Page:
            begun.set()
            return await asyncio.get_running_loop().create_future()

        made.shelf.tasks = tasks  # type: ignore[method-assign, assignment]
        poll = asyncio.create_task(made.tracker.poll())
        await begun.wait()
        assert made.tracker.begun == made.time.now
        poll.cancel()
        await asyncio.wait([poll])
        assert made.tracker.begun is None
        assert made.tracker.last is None
