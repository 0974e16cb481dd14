"""What is kept of polls for people: a few of them, in words, and since when they have been failing."""

from __future__ import annotations

import gc
import weakref

import pytest

from exporter.tracking.polls import KEPT, Outcome, Recent
from exporter.tracking.storage import StorageError
from exporter.unpod.errors import Timeout, Unauthorized
from tests.tracking.crew import PRIVATE, crew, named
from tests.tracking.stories import ended, task

FINE = Outcome(seconds=0.5, pages=1, tasks=20, changes={"calls": 2, "tasks_created": 0})


def test_only_the_last_polls_are_kept_the_newest_first() -> None:
    recent = Recent()
    for at in range(KEPT + 5):
        recent.add(float(at), FINE)
    assert [poll.at for poll in recent.polls] == [float(at) for at in range(KEPT + 4, 4, -1)]


def test_of_what_was_counted_only_what_has_grown_is_kept() -> None:
    recent = Recent()
    recent.add(1.0, FINE)
    (poll,) = recent.polls
    assert (poll.pages, poll.tasks, poll.news, poll.reason, poll.error) == (1, 20, {"calls": 2}, None, None)


def test_failures_in_a_row_are_counted_from_the_first_one_on() -> None:
    recent = Recent()
    recent.add(1.0, FINE)
    assert (recent.failures, recent.failing_since) == (0, None)
    recent.add(2.0, Outcome(seconds=0.1, error=Timeout("40 s")))
    recent.add(3.0, Outcome(seconds=0.1, error=Unauthorized("401")))
    assert (recent.failures, recent.failing_since) == (2, 2.0)
    assert [poll.reason for poll in recent.polls] == ["unauthorized", "timeout", None]
    recent.add(4.0, FINE)
    assert (recent.failures, recent.failing_since) == (0, None)


@pytest.mark.parametrize("before", [FINE, Outcome(seconds=0.5, error=Timeout("40 s"))], ids=["well", "badly"])
def test_a_poll_that_turns_out_to_have_failed_is_one_failure(before: Outcome) -> None:
    recent = Recent()
    recent.amend(FINE)
    assert recent.polls == ()
    recent.add(1.0, before)
    recent.amend(Outcome(seconds=0.5, error=KeyError(PRIVATE)))
    (poll,) = recent.polls
    assert (poll.at, poll.reason, poll.error) == (1.0, "internal", "a defect of the exporter: KeyError")
    assert (recent.failures, recent.failing_since) == (1, 1.0)


def test_a_failure_of_the_state_is_told_from_a_defect() -> None:
    recent = Recent()
    recent.add(1.0, Outcome(seconds=0.1, error=StorageError("state file x: disk full")))
    recent.add(2.0, Outcome(seconds=0.1, error=KeyError(PRIVATE)))
    assert [(poll.reason, poll.storage) for poll in recent.polls] == [("internal", False), ("internal", True)]
    assert recent.polls[1].error == "state file x: disk full"


def test_the_exception_itself_is_not_kept() -> None:
    class Held(Timeout):
        pass

    error = Held("40 s")
    gone = weakref.ref(error)
    recent = Recent()
    recent.add(1.0, Outcome(seconds=0.1, error=error))
    del error
    gc.collect()
    assert gone() is None


async def test_each_poll_of_an_agent_is_kept_and_when_the_next_is_due_is_known() -> None:
    async with crew(named("one"), "one") as made:
        made.platform.agents["one"] = [task("completed", ended("A"))]
        await made.fleet.resume([])
        assert made.fleet.polling.due("one") is None
        async with made.running("poll one"):
            tracker = made.fleet.trackers["one"]
            assert made.fleet.polling.due("one") == made.time() + made.alarm.slept["poll one"][-1]
            assert (tracker.begun, tracker.calls) == (None, 1)
            made.platform.breaks["one"] = Timeout("40 s")
            await made.alarm.wake("poll one")
        assert [poll.reason for poll in tracker.recent.polls] == ["timeout", None]
        assert tracker.recent.polls[1].first
        assert tracker.recent.polls[1].news["calls"] == 1


async def test_while_a_poll_is_under_way_none_is_due() -> None:
    async with crew(named("one"), "one") as made:
        hung = made.platform.hangs()
        await made.fleet.resume([])
        async with made.running():
            await hung.wait()
            assert made.fleet.polling.due("one") is None
            assert made.fleet.trackers["one"].begun == made.time()
