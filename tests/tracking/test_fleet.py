"""All agents together: each at its time, whatever becomes of the others, and told in the log what is worth telling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exporter.tracking.plan import Named, Plan
from exporter.tracking.roster import Choice
from exporter.tracking.schedule import HEARTBEAT, PLANNED, next_slot
from exporter.tracking.storage import StorageError
from exporter.unpod.errors import BadRequest, ConnectionFailed, NotFound, Timeout, Unauthorized
from exporter.unpod.facts import Agent
from tests.tracking.crew import EVERYBODY, PRIVATE, crew, named
from tests.tracking.platform import RULES, values
from tests.tracking.stories import ended, task

# One does not stop the others


async def test_every_agent_is_polled_again_and_again_at_its_own_slots() -> None:
    async with crew(named("one", "two"), "one", "two") as made:
        await made.fleet.resume([])
        async with made.running("poll one", "poll two"):
            await made.alarm.wake("poll one")
            await made.alarm.wake("poll one", "poll two")
        assert values(made.shown("one"), "agent_polls") == {(): 3}
        assert values(made.shown("two"), "agent_polls") == {(): 2}
        assert made.alarm.slept["poll one"] == [next_slot("one", 60.0, made.time())] * 3


async def test_a_defect_in_one_agent_stops_no_other_and_itself_only_until_it_is_mended() -> None:
    async with crew(named("bad", "good"), "bad", "good") as made:
        made.platform.breaks["bad"] = KeyError(PRIVATE)
        await made.fleet.resume([])
        async with made.running("poll bad", "poll good"):
            await made.alarm.wake("poll good", "poll bad")
            assert values(made.shown("good"), "agent_polls") == {(): 2}
            assert values(made.shown("bad"), "agent_poll_failures") == {("internal",): 2}
            made.platform.breaks.clear()
            await made.alarm.wake("poll bad")
        assert values(made.shown("bad"), "agent_up") == {(): 1}


async def test_a_defect_is_logged_each_time_with_its_place_and_without_its_message() -> None:
    async with crew(named("bad"), "bad") as made:
        made.platform.breaks["bad"] = KeyError(PRIVATE)
        await made.fleet.resume([])
        await made.fleet.once()
        await made.fleet.once()
        assert made.log.events("error") == ["poll failed by a defect"] * 2
        told = next(fields for level, _, fields in made.log.lines if level == "error")
        assert told["agent"] == "bad"
        assert told["error"].startswith("KeyError < crew.py:")
        assert PRIVATE not in str(made.log.lines)
        assert PRIVATE not in str(made.published)


async def test_numbers_that_cannot_be_shown_fail_their_poll_and_stop_no_other_agent() -> None:
    async with crew(named("bad", "good"), "bad", "good") as made:
        made.platform.agents["bad"] = [task("completed", ended("A"))]
        await made.fleet.resume([])
        async with made.running("poll bad", "poll good"):
            made.unfit["bad"] = ValueError(PRIVATE)
            await made.alarm.wake("poll good", "poll bad")
            failed = made.shown("bad")
            made.unfit.clear()
            await made.alarm.wake("poll bad", "poll good")
        assert values(made.shown("good"), "agent_polls") == {(): 3}
        assert values(failed, "agent_up") == {}
        assert values(failed, "agent_poll_failures") == {("internal",): 1}
        assert values(failed, "calls") == {("outbound", "completed"): 1}, "what was shown before stays"
        healed = made.shown("bad")
        assert values(healed, "agent_up") == {(): 1}
        assert (values(healed, "agent_polls"), values(healed, "agent_poll_failures")) == ({(): 3}, {("internal",): 1})
        (told,) = [fields for level, _, fields in made.log.lines if level == "error"]
        assert told["error"].startswith("ValueError < crew.py:")
        assert PRIVATE not in str(made.log.lines) + str(made.published)


async def test_a_poll_that_fails_in_two_ways_is_counted_as_one_failure() -> None:
    async with crew(named("bad"), "bad") as made:
        await made.fleet.resume([])
        made.platform.breaks["bad"] = Timeout("40 s")
        made.unfit["bad"] = ValueError(PRIVATE)
        made.unfit_at_all = True
        assert (await made.fleet.once())["bad"].reason == "internal"
        made.unfit.clear()
        await made.fleet.once()
        assert values(made.shown("bad"), "agent_poll_failures") == {("timeout",): 2}


async def test_an_agent_that_cannot_be_taken_up_or_shown_stops_no_other() -> None:
    async with crew(named("bad", "good"), "bad", "good") as made:
        made.unfit["bad"] = ValueError(PRIVATE)
        made.unfit_at_all = True
        await made.fleet.resume([])
        async with made.running("poll bad", "poll good"):
            await made.alarm.wake("poll bad", "poll good")
        assert values(made.shown("good"), "agent_polls") == {(): 2}
        assert made.log.events("error").count("agent not shown") == 3
        assert PRIVATE not in str(made.log.lines)


async def test_a_defect_in_loading_the_state_of_an_agent_stops_no_other() -> None:
    async with crew(named("bad", "good"), "bad", "good") as made:
        load = made.storage.load

        async def defective(agent: str) -> Any:
            if agent == "bad":
                raise IndexError(PRIVATE)
            return await load(agent)

        made.storage.load = defective
        await made.fleet.resume([])
        outcomes = await made.fleet.once()
        assert {handle: outcome.reason for handle, outcome in outcomes.items()} == {"bad": "internal", "good": None}


async def test_a_defect_in_telling_of_a_poll_stops_no_loop() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        made.log.info = made.log.broken
        async with made.running("poll one"):
            assert made.alarm.slept["poll one"] == [60.0]
            await made.alarm.wake("poll one")
        assert made.log.events("error") == ["agent not polled"]
        assert values(made.shown("one"), "agent_polls") == {(): 2}


async def test_a_defect_in_reading_the_list_stops_nothing_and_is_told_by_its_place() -> None:
    async with crew(EVERYBODY, "one") as made:
        made.platform.list_fails = KeyError(PRIVATE)
        await made.fleet.resume(["one"])
        async with made.running("list of agents", "poll one"):
            await made.alarm.wake("poll one")
        ((_, event, told),) = [line for line in made.log.lines if line[0] == "error"]
        assert (event, told["reason"]) == ("list of agents not read", "internal")
        assert told["error"].startswith("KeyError < crew.py:")
        assert made.fleet.notice == "The list of agents could not be read: a defect of the exporter: KeyError"
        assert PRIVATE not in str(made.log.lines)


async def test_a_state_that_cannot_be_written_is_told_in_words() -> None:
    async with crew(named("one"), "one") as made:
        made.platform.breaks["one"] = StorageError("state file x: disk full")
        await made.fleet.resume([])
        await made.fleet.once()
        assert made.log.events("warning") == ["poll failed"]
        assert made.log.lines[-1][2]["error"] == "state file x: disk full"


# When


async def test_an_agent_with_an_interval_of_its_own_is_polled_at_that() -> None:
    plan = Plan(named=(Named(handle="quick", interval=10.0), Named(handle="usual")), list_interval=None)
    async with crew(plan, "quick", "usual") as made:
        await made.fleet.resume([])
        async with made.running("poll quick", "poll usual"):
            assert made.alarm.slept["poll quick"] == [next_slot("quick", 10.0, made.time())]
            assert made.alarm.slept["poll usual"] == [next_slot("usual", 60.0, made.time())]


async def test_what_needs_a_person_is_tried_at_a_heartbeat_and_what_can_heal_with_growing_patience() -> None:
    async with crew(named("gone", "slow"), "gone", "slow") as made:
        made.platform.breaks = {"gone": NotFound("404"), "slow": Timeout("40 s")}
        await made.fleet.resume([])
        async with made.running("poll gone", "poll slow"):
            for _ in range(5):
                await made.alarm.wake("poll gone", "poll slow")
        gone, slow = made.alarm.slept["poll gone"], made.alarm.slept["poll slow"]
        assert all(0.9 * HEARTBEAT <= delay <= 1.1 * HEARTBEAT for delay in gone)
        assert all(30.0 <= delay <= 60.0 * 2**place for place, delay in enumerate(slow, start=1))
        assert max(slow) > 120.0


async def test_after_a_failure_has_healed_patience_begins_anew() -> None:
    async with crew(named("slow"), "slow") as made:
        await made.fleet.resume([])
        made.platform.breaks = {"slow": Timeout("40 s")}
        async with made.running("poll slow"):
            for _ in range(6):
                await made.alarm.wake("poll slow")
            made.platform.breaks.clear()
            await made.alarm.wake("poll slow")
            assert made.alarm.slept["poll slow"][-1] == next_slot("slow", 60.0, made.time())
            made.platform.breaks = {"slow": Timeout("40 s")}
            await made.alarm.wake("poll slow")
            assert made.alarm.slept["poll slow"][-1] <= 120.0


# What the log tells


async def test_a_failure_is_told_once_and_its_end_with_how_many_there_were() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        made.platform.breaks = {"one": ConnectionFailed("no connection")}
        for _ in range(4):
            await made.fleet.once()
        assert made.log.events("warning") == ["poll failed"]
        assert made.log.events("debug") == ["poll failed again"] * 3
        assert made.log.lines[0][2] == {
            "agent": "one",
            "reason": "connection",
            "failures": 1,
            "error": "no connection",
        }
        made.platform.breaks.clear()
        await made.fleet.once()
        assert ("info", "agent works again", {"agent": "one", "failures": 4}) in made.log.lines
        made.platform.breaks = {"one": ConnectionFailed("no connection")}
        await made.fleet.once()
        assert made.log.events("warning") == ["poll failed"] * 2


async def test_another_reason_of_a_failure_that_lasts_is_told_too() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        for error in (Timeout("40 s"), Timeout("40 s"), Unauthorized("401"), Unauthorized("401"), Timeout("40 s")):
            made.platform.breaks = {"one": error}
            await made.fleet.once()
        warned = [fields for level, _, fields in made.log.lines if level == "warning"]
        assert [(told["reason"], told["failures"]) for told in warned] == [
            ("timeout", 1),
            ("unauthorized", 3),
            ("timeout", 5),
        ]
        made.platform.breaks.clear()
        await made.fleet.once()
        assert ("info", "agent works again", {"agent": "one", "failures": 5}) in made.log.lines


async def test_news_are_told_at_info_and_their_absence_is_not() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        await made.fleet.once()
        assert made.log.lines[-1][:2] == ("info", "history read")
        await made.fleet.once()
        assert made.log.lines[-1][:2] == ("debug", "agent polled")
        made.platform.agents["one"] = [task("completed", ended("A"), retry_attempt=2)]
        await made.fleet.once()
        assert made.log.lines[-1] == (
            "info",
            "agent polled",
            {"agent": "one", "tasks": 1, "pages": 1, "seconds": 0.0}
            | {"new": 1, "transitions": 1, "calls": 1, "retries": 2},
        )


# What is shown beside the numbers


async def test_the_list_tells_the_names_of_agents_and_the_plan_adds_labels() -> None:
    plan = Plan(named=(Named(handle="one", labels=(("team", "support"),)), Named(handle="hidden")))
    async with crew(plan, "one") as made:
        await made.fleet.resume([])
        assert made.shown("one").info == {"name": "", "agent_type": "unknown", "team": "support"}
        await made.fleet.once()
        assert made.shown("one").info == {"name": "One", "agent_type": "voice", "team": "support"}
        assert made.shown("hidden").info == {"name": "", "agent_type": "unknown"}
        assert made.fleet.trackers["one"].identity == Agent(handle="one", name="One", type="voice")


async def test_names_are_kept_for_a_start_without_a_list() -> None:
    async with crew(EVERYBODY, "one") as made:
        await made.fleet.once()
        made.platform.list_fails = Timeout("40 s")
        fleet = made.starts(EVERYBODY)
        await fleet.resume(await made.storage.agents())
        assert made.shown("one").info == {"name": "One", "agent_type": "voice"}
        await fleet.once()
        assert made.shown("one").info == {"name": "One", "agent_type": "voice"}
        made.platform.list_fails, made.platform.listed = None, [Agent(handle="one", name="Renamed", type="chat")]
        await fleet.once()
        made.starts(EVERYBODY)
        await made.fleet.resume(["one"])
        assert made.shown("one").info == {"name": "Renamed", "agent_type": "chat"}


async def test_an_agent_is_never_shown_without_the_name_by_which_it_was_discovered() -> None:
    async with crew(EVERYBODY, "one") as made:
        await made.fleet.once()
        assert {report.info["name"] for report in made.published} == {"One"}


async def test_it_stays_ready_when_agents_are_found_later() -> None:
    async with crew(EVERYBODY, "one") as made, made.running("list of agents", "poll one"):
        assert made.fleet.waits_for() is None
        begun = made.platform.hangs()
        made.platform.listed.append(Agent(handle="two"))
        await made.alarm.wake("list of agents")
        await begun.wait()
        assert made.fleet.trackers["two"].last is None
        assert made.fleet.waits_for() is None


async def test_it_says_what_it_waits_for_until_each_first_poll_has_ended_well_or_badly() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        assert made.fleet.waits_for() == "the list of agents has not been read yet"
        await made.fleet.resume(["one", "two"])
        made.platform.breaks["two"] = Timeout("40 s")
        await made.fleet.once()
        assert made.fleet.waits_for() is None
    async with crew(named("one", "two"), "one", "two") as made:
        await made.fleet.resume([])
        assert made.fleet.waits_for() == "2 of 2 agents have not been polled yet"
        await made.fleet.trackers["one"].poll()
        assert made.fleet.waits_for() == "1 of 2 agents have not been polled yet"


# Once


async def test_polling_once_tells_what_became_of_each_agent() -> None:
    async with crew(EVERYBODY, "good", "bad") as made:
        made.platform.breaks["bad"] = Timeout("40 s")
        outcomes = await made.fleet.once()
        assert {handle: outcome.reason for handle, outcome in outcomes.items()} == {"good": None, "bad": "timeout"}


async def test_polling_once_without_the_list_polls_whom_it_knows_and_tells_that_some_may_be_missing() -> None:
    async with crew(EVERYBODY, "one") as made:
        await made.fleet.once()
        assert not made.fleet.lacks_agents
        made.platform.list_fails = BadRequest("400")
        made.starts(EVERYBODY)
        await made.fleet.resume(["one"])
        assert (await made.fleet.once())["one"].error is None
        assert made.fleet.lacks_agents
        assert made.log.events("warning") == ["list of agents not read"]


async def test_polling_once_needs_the_list_only_for_discovery() -> None:
    async with crew(Plan(named=(Named(handle="one"),)), "one") as made:
        made.platform.list_fails = BadRequest("400")
        await made.fleet.resume([])
        assert (await made.fleet.once())["one"].error is None
        assert not made.fleet.lacks_agents


# Another plan


async def test_agents_come_and_go_with_the_plan_and_the_others_are_polled_when_they_would_have_been() -> None:
    async with crew(named("stays", "leaves"), "stays", "leaves", "comes") as made:
        await made.fleet.resume([])
        async with made.running("poll stays", "poll leaves"):
            slept = list(made.alarm.slept["poll stays"])
            await made.fleet.replan(named("comes", "stays"))
            await made.alarm.until_asleep("poll comes")
            assert made.removed == ["leaves"]
            assert made.fleet.trackers.keys() == {"stays", "comes"}
            assert made.alarm.slept["poll stays"] == slept
            await made.alarm.wake("poll stays", "poll comes")
        assert values(made.shown("stays"), "agent_polls") == {(): 2}
        assert values(made.shown("comes"), "agent_polls") == {(): 2}


async def test_a_poll_under_way_goes_on_while_the_plan_changes_and_one_of_an_agent_that_leaves_is_abandoned() -> None:
    async with crew(named("stays", "leaves"), "stays", "leaves") as made:
        made.platform.agents = {handle: [task("completed", ended("A"))] for handle in ("stays", "leaves")}
        asked = made.platform.hangs()
        await made.fleet.resume([])
        run = asyncio.create_task(made.fleet.run())
        await asked.wait()
        loop = made.fleet.polling._loops["stays"]
        await made.fleet.replan(named("stays"))
        assert made.fleet.polling._loops == {"stays": loop}
        assert not loop.done()
        run.cancel()
        await asyncio.wait([run])
        made.platform.hung = None
        made.starts(named("stays", "leaves"))
        await made.fleet.resume([])
        await made.fleet.once()
        assert values(made.shown("leaves"), "calls") == {("outbound", "completed"): 1}, "counted once, when it is read"


async def test_another_interval_holds_at_once_and_not_only_after_the_old_one_has_passed() -> None:
    async with crew(Plan(interval=3600.0, named=(Named(handle="one"),), list_interval=None), "one") as made:
        await made.fleet.resume([])
        async with made.running("poll one"):
            made.alarm.sleepers.clear()
            await made.fleet.replan(Plan(interval=10.0, named=(Named(handle="one"),), list_interval=None))
            await made.alarm.until_asleep("poll one")
            assert made.alarm.slept["poll one"][-1] == next_slot("one", 10.0, made.time())
            made.alarm.sleepers.clear()
            await made.fleet.replan(Plan(interval=3600.0, named=(Named(handle="one"),), list_interval=None))
            await made.alarm.until_asleep("poll one")
            assert made.alarm.slept["poll one"][-1] == next_slot("one", 10.0, made.time()), "no poll is put off"


async def test_however_often_the_plan_changes_no_agent_is_kept_from_being_polled() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        async with made.running("poll one"):
            due = made.fleet.polling.due("one")
            for interval in (50.0, 40.0, 60.0, 50.0):
                made.time.now += 1.0
                made.alarm.sleepers.clear()
                await made.fleet.replan(Plan(interval=interval, named=(Named(handle="one"),), list_interval=None))
                await made.alarm.until_asleep("poll one")
            assert made.fleet.polling.due("one") <= due


async def test_labels_of_the_plan_are_shown_at_once() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        async with made.running("poll one"):
            plan = Plan(named=(Named(handle="one", labels=(("team", "sales"),)),), list_interval=None)
            await made.fleet.replan(plan)
            assert made.shown("one").info["team"] == "sales"


async def test_discovery_that_is_switched_on_looks_at_once_and_switched_off_leaves_the_named_alone() -> None:
    async with crew(named("one"), "one", "two") as made:
        await made.fleet.resume([])
        async with made.running("poll one"):
            await made.fleet.replan(Plan(choice=Choice(), named=(Named(handle="one"),)))
            await made.alarm.until_asleep("poll two", "list of agents")
            await made.fleet.replan(named("one"))
            assert made.removed == ["two"]
            assert made.fleet.trackers.keys() == {"one"}


async def test_a_list_that_is_still_fresh_is_not_read_again_for_another_plan() -> None:
    plan = Plan(choice=Choice(), list_interval=600.0)
    async with crew(plan, "one") as made:
        await made.fleet.resume([])
        async with made.running("poll one", "list of agents"):
            made.alarm.sleepers.pop("list of agents")
            made.time.now += 100.0
            await made.fleet.replan(Plan(choice=Choice(), list_interval=600.0, interval=61.0))
            await made.alarm.until_asleep("list of agents")
            assert made.alarm.slept["list of agents"] == [600.0, 500.0]


async def test_an_agent_that_another_plan_names_has_its_name_at_once_and_one_that_leaves_costs_no_request() -> None:
    def plan(*handles: str) -> Plan:
        return Plan(named=tuple(Named(handle=handle) for handle in handles), list_interval=600.0)

    async with crew(plan("one"), "one", "two") as made:
        await made.fleet.resume([])
        async with made.running("poll one", "list of agents"):
            made.time.now += 100.0
            made.alarm.sleepers.pop("list of agents")
            await made.fleet.replan(plan("one", "two"))
            await made.alarm.until_asleep("list of agents", "poll two")
            assert made.shown("two").info["name"] == "Two"
            made.time.now += 100.0
            made.alarm.sleepers.pop("list of agents")
            await made.fleet.replan(plan("two"))
            await made.alarm.until_asleep("list of agents")
            assert made.alarm.slept["list of agents"] == [600.0, 600.0, 500.0]


async def test_within_a_pause_nothing_is_polled_and_after_it_everybody_when_they_are_due() -> None:
    async with crew(named("asleep", "polling"), "asleep", "polling") as made:
        await made.fleet.resume([])
        async with made.running("poll asleep", "poll polling"):
            asked = made.platform.hangs()
            made.alarm.sleepers.pop("poll polling").set()
            await asked.wait()
            async with made.fleet.paused():
                made.platform.hung = None
                made.alarm.sleepers.clear()
                assert all(loop.done() for loop in made.fleet.polling._loops.values())
            await made.alarm.until_asleep("poll asleep", "poll polling")
        assert made.alarm.slept["poll asleep"] == [next_slot("asleep", 60.0, made.time())] * 2
        assert values(made.shown("polling"), "agent_polls") == {(): 2}
        assert values(made.shown("asleep"), "agent_polls") == {(): 1}


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
async def test_a_clock_that_is_set_moves_neither_a_poll_nor_a_look_at_the_list(seconds: float) -> None:
    async with crew(EVERYBODY, "one") as made, made.running("poll one", "list of agents"):
        slept = {name: list(made.alarm.slept[name]) for name in ("poll one", "list of agents")}
        made.clock_set_by = seconds
        made.alarm.sleepers.clear()
        async with made.fleet.paused():
            pass
        await made.alarm.until_asleep("poll one", "list of agents")
        assert made.alarm.slept == {name: once * 2 for name, once in slept.items()}
        assert made.fleet.polling.due("one") == pytest.approx(made.time() + seconds + slept["poll one"][0])
        assert values(made.shown("one"), "agent_polls") == {(): 1}


async def test_every_agent_is_told_what_its_share_of_the_requests_is() -> None:
    handles = [f"agent-{number}" for number in range(200)]
    async with crew(Plan(choice=Choice(), requests_per_minute=50.0), *handles) as made:
        await made.fleet.resume([])
        await made.fleet.once()
        assert {made.fleet.polling.trackers[handle].share for handle in handles} == {PLANNED * 50.0 / 200}


# How long numbers are fresh


async def test_the_gauges_of_agents_whose_interval_is_stretched_outlive_it() -> None:
    handles = [f"agent-{number}" for number in range(200)]
    plan = Plan(choice=Choice(), requests_per_minute=5.0)
    async with crew(plan, *handles) as made:
        async with made.running("list of agents", *(f"poll {handle}" for handle in handles)):
            interval = made.fleet.polling.interval(handles[0])
            assert interval > 2 * RULES.max_staleness
            for handle in handles:
                fresh_until = made.shown(handle).fresh_until
                assert fresh_until == pytest.approx(made.time() + 2.5 * interval)
                assert fresh_until > made.fleet.polling.due(handle)
        fleet = made.starts(plan)
        await fleet.resume(await made.storage.agents())
        fresh = {made.shown(handle).fresh_until for handle in handles}
        assert min(fresh) > made.time() + 2.4 * interval, "after a restart too"


async def test_the_gauges_of_an_agent_that_is_polled_often_vanish_after_the_staleness_of_the_settings() -> None:
    async with crew(named("one"), "one") as made:
        await made.fleet.resume([])
        await made.fleet.once()
        assert made.shown("one").fresh_until == made.time() + RULES.max_staleness


async def test_who_fails_is_asked_again_as_soon_as_a_pause_ends_that_may_have_mended_it() -> None:
    async with crew(named("bad", "good"), "bad", "good") as made:
        made.platform.breaks = {"bad": Unauthorized("401")}
        await made.fleet.resume([])
        async with made.running("poll bad", "poll good"):
            async with made.fleet.paused():
                made.platform.breaks.clear()
                made.alarm.sleepers.clear()
                made.fleet.retry_failing()
            await made.alarm.until_asleep("poll bad", "poll good")
        assert values(made.shown("bad"), "agent_polls") == {(): 2}
        assert values(made.shown("good"), "agent_polls") == {(): 1}
