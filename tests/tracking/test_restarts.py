"""A start with a state: each agent shows what was shown last, and is polled when it would have been without it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.plan import Named, Plan
from exporter.tracking.report import Family, Report
from exporter.tracking.schedule import left_to_slot, next_slot
from exporter.tracking.storage import Commit
from exporter.unpod.errors import Timeout
from exporter.unpod.facts import Page
from tests.tracking.crew import Crew, crew, named
from tests.tracking.platform import values
from tests.tracking.stories import START, ended, task

OF_THE_PROCESS = ("agent_polls", "agent_poll_failures", "agent_last_poll_duration_seconds")
"""What begins anew with each process."""


def told(report: Report) -> dict[str, Family]:
    """What is shown of an agent and not of the process."""
    return {name: family for name, family in report.families.items() if name not in OF_THE_PROCESS}


async def restart(made: Crew, plan: Plan, *, after: float = 5.0) -> None:
    """Another process goes on with the state of the one before, which has been down for so many seconds."""
    made.time.now += after
    made.published.clear()
    made.alarm.slept.clear()
    made.alarm.sleepers.clear()
    await made.starts(plan).resume(await made.storage.agents())


async def polled_once(made: Crew) -> None:
    await made.fleet.resume([])
    await made.fleet.once()


# When


async def test_a_restart_moves_no_poll() -> None:
    handles = [f"agent-{number}" for number in range(20)]
    plan = named(*handles)
    async with crew(plan, *handles) as made:
        await made.fleet.resume([])
        async with made.running(*(f"poll {handle}" for handle in handles)):
            due = {handle: made.fleet.polling.due(handle) for handle in handles}
        await restart(made, plan)
        assert {handle: made.fleet.polling.due(handle) for handle in handles} == due
        asked = made.platform.asked
        async with made.running(*(f"poll {handle}" for handle in handles)):
            assert made.platform.asked == asked, "nobody is polled before its slot"
            await made.alarm.wake("poll agent-7")
            assert made.platform.asked == asked + 1


@pytest.mark.parametrize("handle", [f"agent-{number}" for number in range(8)])
async def test_nor_does_one_after_a_poll_that_took_long(handle: str) -> None:
    plan = named(handle)
    async with crew(plan, handle) as made:
        answer = made.platform.tasks

        async def slowly(agent: str, **asked: Any) -> Page:
            made.time.now += 40.0
            return await answer(agent, **asked)

        made.platform.tasks = slowly  # type: ignore[method-assign]
        await made.fleet.resume([])
        async with made.running(f"poll {handle}"):
            due = made.fleet.polling.due(handle)
        await restart(made, plan)
        assert made.fleet.polling.due(handle) == due


async def test_whoever_has_missed_its_slot_or_was_never_polled_is_polled_at_once() -> None:
    plan = named("one", "new")
    async with crew(plan, "one", "new") as made:
        made.starts(named("one"))
        await polled_once(made)
        await restart(made, plan, after=next_slot("one", 60.0, START))
        assert made.fleet.polling.due("one") is None
        assert "agent_up" not in made.shown("one").families, "how it does is not known"
        async with made.running("poll one", "poll new"):
            assert values(made.shown("one"), "agent_polls") == values(made.shown("new"), "agent_polls") == {(): 1}


async def test_an_agent_whose_polls_have_failed_since_is_polled_at_once() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        await made.fleet.resume([])
        async with made.running("poll one"):
            made.platform.breaks["one"] = Timeout("40 s")
            made.time.now += made.alarm.slept["poll one"][-1]
            await made.alarm.wake("poll one")
        await restart(made, plan, after=1.0)
        assert made.fleet.polling.due("one") is None
        assert made.fleet.waits_for() is not None


async def test_a_poll_that_has_left_a_part_is_made_up_for_at_once() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        await polled_once(made)
        loaded = await made.storage.load("one")
        assert loaded is not None
        book = msgspec.structs.replace(loaded.book, unread=((0, 25),))
        await made.storage.commit("one", Commit(book=book))
        await restart(made, plan)
        assert made.fleet.polling.due("one") is None


async def test_intervals_stay_stretched_as_they_were() -> None:
    handles = [f"agent-{number}" for number in range(8)]
    plan = named(*handles, requests_per_minute=4.0)
    async with crew(plan, *handles) as made:
        for handle in handles:
            made.platform.agents[handle] = [task("pending", id=f"{handle} {number}") for number in range(50)]
        await made.fleet.resume([])
        async with made.running(*(f"poll {handle}" for handle in handles)):
            for _ in range(30):
                await made.alarm.wake(*(f"poll {handle}" for handle in handles))
            lag = made.fleet.polling.lag
            due = {handle: made.fleet.polling.due(handle) for handle in handles}
        await restart(made, plan)
        assert made.fleet.polling.lag == pytest.approx(lag, rel=0.05)
        assert {handle: made.fleet.polling.due(handle) for handle in handles} == due


async def test_an_agent_that_is_to_be_polled_more_often_from_now_on_does_not_wait_for_its_old_slot() -> None:
    async with crew(named("one", interval=3600.0), "one") as made:
        await polled_once(made)
        await restart(made, named("one"))
        due = made.fleet.polling.due("one")
        assert due is not None
        assert due - START == pytest.approx(next_slot("one", 60.0, START))


async def test_a_shorter_interval_while_it_waits_for_its_first_slot_brings_that_forward() -> None:
    slow = named("one", interval=3600.0)
    async with crew(slow, "one") as made:
        await polled_once(made)
        await restart(made, slow)
        async with made.running("poll one"):
            made.alarm.sleepers.clear()
            await made.fleet.replan(named("one"))
            await made.alarm.until_asleep("poll one")
            assert made.alarm.slept["poll one"][-1] == pytest.approx(next_slot("one", 60.0, START) - 5.0)


async def test_polling_once_waits_for_no_slot() -> None:
    async with crew(named("one"), "one") as made:
        await polled_once(made)
        await restart(made, named("one"))
        assert {handle: outcome.reason for handle, outcome in (await made.fleet.once()).items()} == {"one": None}


@given(
    handle=st.text(max_size=5),
    polled=st.floats(1e9, 2e9),
    interval=st.floats(1.0, 1e5),
    took=st.floats(0.0, 2e5),
    down=st.floats(0.0, 2e5),
)
def test_no_restart_makes_numbers_older_than_they_would_have_been(
    handle: str, polled: float, interval: float, took: float, down: float
) -> None:
    wait = left_to_slot(handle, (interval, interval), polled, took, polled + down)
    assert down + wait == pytest.approx(next_slot(handle, interval, polled, took), abs=1e-3)
    assert down + wait <= 1.5 * interval + 1e-3


# What is shown


async def test_what_was_shown_last_is_shown_at_once_and_nothing_else() -> None:
    plan = Plan(named=(Named(handle="one", labels=(("team", "a"),)),), list_interval=None)
    async with crew(plan, "one") as made:
        made.platform.agents["one"] = [
            task("scheduled", id="soon", scheduled=START - 300.0 + 2.0),
            task("scheduled", id="late", scheduled=START - 900.0),
            task("completed", ended("A"), id="done", retry_attempt=2),
        ]
        await polled_once(made)
        before = made.shown("one")
        assert values(before, "tasks_overdue") == {("call",): 1}
        # The other task would be overdue by now; but nobody has looked whether it still waits.
        await restart(made, plan)
        after = made.shown("one")
        assert told(after) == told(before)
        assert (after.info, after.fresh_until) == (before.info, before.fresh_until)
        assert values(after, "agent_up") == {(): 1}
        assert values(after, "agent_last_success_timestamp_seconds") == {(): START}


async def test_it_is_ready_at_once_and_stays_so_while_the_first_polls_are_under_way() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        await polled_once(made)
        await restart(made, plan)
        assert made.fleet.waits_for() is None
        begun = made.platform.hangs()
        async with made.running("poll one"):
            made.alarm.sleepers.pop("poll one").set()
            await begun.wait()
            assert made.fleet.waits_for() is None
            assert values(made.shown("one"), "agent_up") == {(): 1}


async def test_a_first_poll_that_fails_is_told_as_any_other() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        await polled_once(made)
        await restart(made, plan)
        made.platform.breaks["one"] = Timeout("40 s")
        async with made.running("poll one"):
            await made.alarm.wake("poll one")
        assert values(made.shown("one"), "agent_up") == {}
        assert made.fleet.trackers["one"].up is False


# Where several share the agents


async def test_an_agent_that_is_taken_over_keeps_its_slot_and_its_numbers() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        made.platform.agents["one"] = [task("pending")]
        await polled_once(made)
        before = made.shown("one")
        made.may_ask = True
        await restart(made, plan)
        assert made.published == [], "whose agent it is is not known yet"
        async with made.running():
            assert await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            assert told(made.shown("one")) == told(before)
            (slept,) = made.alarm.slept["poll one"]
            assert slept == pytest.approx(next_slot("one", 60.0, START) - 5.0)
            made.fleet.hide("one")
            shown = len(made.published)
            await made.alarm.wake("poll one")
            assert len(made.published) == shown
