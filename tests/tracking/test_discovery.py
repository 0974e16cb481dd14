"""Which agents are polled: those that are named, those that the list has, and those that were known before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from exporter.tracking.plan import Named, Plan
from exporter.tracking.roster import Choice, Shard
from exporter.tracking.schedule import SOON
from exporter.tracking.storage import StorageError
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import BadRequest, Forbidden, NoAccess, NotFound, Timeout, UnpodError
from exporter.unpod.facts import Agent
from tests.tracking.crew import EVERYBODY, PRIVATE, Crew, crew, named
from tests.tracking.platform import RULES, values
from tests.tracking.stories import ended, task


async def test_discovery_adds_agents_while_it_runs() -> None:
    async with crew(EVERYBODY, "one") as made:
        async with made.running("list of agents", "poll one"):
            assert made.fleet.trackers.keys() == {"one"}
            made.platform.listed.append(Agent(handle="two"))
            await made.alarm.wake("list of agents")
            await made.alarm.until_asleep("poll two")
            assert made.fleet.trackers.keys() == {"one", "two"}
            assert values(made.shown("two"), "agent_up") == {(): 1}
        assert made.log.events("info").count("agent discovered") == 2
        assert made.alarm.slept["list of agents"] == [600.0, 600.0]


async def test_an_agent_that_leaves_the_list_keeps_its_counters_until_its_last_open_task_is_settled() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        made.platform.agents["two"] = [task("pending"), task("completed", ended("A"), id="T2")]
        async with made.running("list of agents", "poll one", "poll two"):
            made.platform.listed.pop()
            await made.alarm.wake("list of agents", "poll two")
            assert values(made.shown("two"), "agent_polls") == {(): 2}
            made.platform.agents["two"][0] = task("completed", ended("B"))
            made.time.now += 60
            await made.alarm.wake("poll two")
            assert made.removed == [], "it may still change"
            made.time.now += 3600
            await made.alarm.ends("poll two")
            assert made.removed == ["two"]
            assert made.fleet.trackers.keys() == {"one"}
            assert ("info", "agent gone", {"agent": "two"}) in made.log.lines
            await made.alarm.wake("list of agents")
            assert made.removed == ["two"]
            made.platform.listed.append(Agent(handle="two"))
            await made.alarm.wake("list of agents")
            assert values(made.shown("two"), "calls") == {("outbound", "completed"): 2}
            await made.alarm.until_asleep("poll two")
            assert values(made.shown("two"), "calls") == {("outbound", "completed"): 2}


async def test_an_agent_with_nothing_open_leaves_with_the_list_that_has_it_no_more() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        async with made.running("list of agents", "poll one", "poll two"):
            made.platform.listed.pop()
            await made.alarm.wake("list of agents")
            assert made.removed == ["two"]
        made.starts(EVERYBODY)
        await made.fleet.resume(await made.storage.agents())
        assert made.fleet.trackers.keys() == {"one"}, "it does not come back with a restart"
        made.platform.listed.append(Agent(handle="two"))
        assert (await made.fleet.once()).keys() == {"one", "two"}
        made.starts(EVERYBODY)
        await made.fleet.resume(await made.storage.agents())
        assert made.fleet.trackers.keys() == {"one", "two"}


async def test_an_agent_that_left_while_nobody_looked_is_polled_once_more() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        await made.fleet.once()
        made.platform.agents["two"] = [task("completed", ended("A"))]
        made.platform.listed.pop()
        fleet = made.starts(EVERYBODY)
        await fleet.resume(await made.storage.agents())
        assert (await fleet.once()).keys() == {"one", "two"}
        assert values(made.shown("two"), "calls") == {("outbound", "completed"): 1}
        assert fleet.trackers.keys() == {"one", "two"}, "its record may still change"


def stays_until_told(tracker: Tracker) -> tuple[asyncio.Event, asyncio.Event]:
    """From now on the last commit of an agent lasts; gives what is set when it begins, and what lets it end."""
    begun, ends, leave = asyncio.Event(), asyncio.Event(), tracker.leave

    async def slowly() -> None:
        begun.set()
        await ends.wait()
        await leave()

    tracker.leave = slowly  # type: ignore[method-assign]
    return begun, ends


@asynccontextmanager
async def about_to_leave(*leaving: str) -> AsyncIterator[Crew]:
    """Agents that are listed no more, and of which the next poll finds that all is settled, beside one that stays."""
    async with crew(EVERYBODY, "stays", *leaving) as made:
        made.platform.agents |= {handle: [task("pending")] for handle in leaving}
        polls = [f"poll {handle}" for handle in leaving]
        async with made.running("list of agents", "poll stays", *polls):
            made.platform.listed = made.platform.listed[:1]
            await made.alarm.wake("list of agents")
            made.platform.agents |= {handle: [task("completed", ended("A"))] for handle in leaving}
            made.time.now += 60
            await made.alarm.wake(*polls)
            made.time.now += 7200
            yield made


async def test_an_agent_that_leaves_by_itself_while_the_list_lets_others_go_ends_nothing() -> None:
    async with about_to_leave("one", "two") as made:
        trackers = dict(made.fleet.trackers)
        for tracker in trackers.values():
            await tracker.poll()
        slow = {handle: stays_until_told(trackers[handle]) for handle in ("one", "two")}
        made.alarm.sleepers.pop("list of agents").set()
        first = await first_of(slow)
        last = ({"one", "two"} - {first}).pop()
        slow[last][1].set()
        await made.alarm.ends(f"poll {last}")
        assert made.removed == [last], "it has left by itself"
        slow[first][1].set()
        await made.alarm.until_asleep("list of agents")
        assert made.removed == [last, first]
        assert made.log.events("info").count("agent gone") == 2
        assert made.log.events("warning", "error") == []
        await made.alarm.wake("poll stays", "list of agents")


async def first_of(slow: Mapping[str, tuple[asyncio.Event, asyncio.Event]]) -> str:
    async with asyncio.timeout(10):
        waiting = {asyncio.create_task(begun.wait()): handle for handle, (begun, _) in slow.items()}
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        return waiting[done.pop()]


async def test_an_agent_that_is_leaving_when_the_list_finds_it_gone_leaves_once() -> None:
    async with about_to_leave("one") as made:
        tracker = made.fleet.trackers["one"]
        begun, ends = stays_until_told(tracker)
        made.alarm.sleepers.pop("poll one").set()
        await begun.wait()
        begun.clear()
        made.alarm.sleepers.pop("list of agents").set()
        await begun.wait()
        ends.set()
        await made.alarm.until_asleep("list of agents")
        assert made.removed == ["one"]
        assert made.log.events("info").count("agent gone") == 1
        assert made.log.events("warning", "error") == []
        assert tracker.has_left


async def test_a_plan_that_changes_while_an_agent_leaves_holds_for_all_others() -> None:
    async with about_to_leave("one") as made:
        begun, ends = stays_until_told(made.fleet.trackers["one"])
        made.alarm.sleepers.pop("poll one").set()
        await begun.wait()
        made.alarm.sleepers.clear()
        leaving, reschedule = made.fleet.polling._loops["one"], made.fleet.polling._reschedule

        async def once_it_has_left(handle: str, before: float) -> None:
            ends.set()
            await asyncio.wait([leaving])
            await reschedule(handle, before)

        made.fleet.polling._reschedule = once_it_has_left  # type: ignore[method-assign]
        await made.fleet.replan(msgspec.structs.replace(EVERYBODY, interval=30.0))
        await made.alarm.until_asleep("list of agents", "poll stays")
        assert made.removed == ["one"]
        assert made.fleet.polling.interval("stays") == 30.0
        await made.alarm.wake("list of agents", "poll stays")


async def test_whatever_breaks_while_the_plan_changes_polls_and_discovery_go_on() -> None:
    async with crew(EVERYBODY, "one", "two") as made, made.running("list of agents", "poll one", "poll two"):
        made.alarm.sleepers.clear()

        async def broken(*_: Any) -> None:
            raise KeyError(PRIVATE)

        made.fleet.polling._reschedule = broken  # type: ignore[method-assign]
        with pytest.raises(KeyError):
            await made.fleet.replan(msgspec.structs.replace(EVERYBODY, interval=30.0))
        await made.alarm.until_asleep("list of agents")
        made.platform.listed.append(Agent(handle="three"))
        await made.alarm.wake("list of agents")
        await made.alarm.until_asleep("poll three")


async def test_a_defect_in_obeying_the_list_is_told_and_ends_nothing() -> None:
    async with crew(EVERYBODY, "one") as made, made.running("list of agents", "poll one"):
        made.platform.listed.append(Agent(handle="two"))
        take_up = made.fleet._take_up

        async def broken(*_: Any) -> None:
            raise KeyError(PRIVATE)

        made.fleet._take_up = broken  # type: ignore[method-assign]
        await made.alarm.wake("list of agents", "poll one")
        ((told, fields),) = [(event, fields) for level, event, fields in made.log.lines if level == "error"]
        assert (told, fields["reason"]) == ("list of agents not read", "internal")
        assert PRIVATE not in str(made.log.lines) + made.fleet.notice
        assert made.alarm.slept["list of agents"][-1] <= SOON, "it is tried again soon"
        made.fleet._take_up = take_up  # type: ignore[method-assign]
        await made.alarm.wake("list of agents")
        await made.alarm.until_asleep("poll two")


async def test_an_agent_that_cannot_be_taken_off_the_board_is_polled_no_more() -> None:
    async with about_to_leave("one") as made:

        def broken(handle: str) -> None:
            raise KeyError(PRIVATE)

        made.fleet.polling._remove = broken
        await made.alarm.ends("poll one")
        assert made.fleet.trackers.keys() == {"stays"}
        assert made.log.events("error") == ["agent still shown"]


@pytest.mark.parametrize("barred", [NotFound("404"), Forbidden("403"), NoAccess("206")], ids=lambda error: error.reason)
async def test_an_agent_that_is_neither_listed_nor_readable_leaves_once_its_gauges_are_stale(
    barred: UnpodError,
) -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        made.platform.agents["two"] = [task("pending")]
        async with made.running("list of agents", "poll one", "poll two"):
            made.platform.listed.pop()
            made.platform.breaks["two"] = barred
            await made.alarm.wake("list of agents", "poll two")
            made.time.now += RULES.max_staleness
            await made.alarm.wake("poll two")
            assert made.removed == []
            made.time.now += 1
            await made.alarm.ends("poll two")
            assert made.removed == ["two"]


async def test_an_agent_that_is_not_listed_and_fails_in_a_way_that_can_heal_stays() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        made.platform.agents["two"] = [task("pending")]
        async with made.running("list of agents", "poll one", "poll two"):
            made.platform.listed.pop()
            made.platform.breaks["two"] = Timeout("40 s")
            await made.alarm.wake("list of agents", "poll two")
            made.time.now += 86_400
            await made.alarm.wake("poll two", "list of agents")
            assert made.removed == []


async def test_an_agent_that_is_named_never_leaves() -> None:
    plan = msgspec.structs.replace(EVERYBODY, named=(Named(handle="two"),))
    async with crew(plan, "one", "two") as made:
        await made.fleet.resume([])
        async with made.running("list of agents", "poll one", "poll two"):
            made.platform.listed.pop()
            made.platform.breaks["two"] = NotFound("404")
            made.time.now += 86_400
            await made.alarm.wake("list of agents", "poll two", "poll one")
            assert made.removed == []


async def test_a_list_that_cannot_be_read_makes_nobody_leave() -> None:
    async with crew(EVERYBODY, "one", "two") as made, made.running("list of agents", "poll one", "poll two"):
        made.platform.listed.pop()
        made.platform.list_fails = Timeout("40 s")
        await made.alarm.wake("list of agents", "poll one", "poll two")
        assert made.removed == []


async def test_a_state_that_cannot_be_written_lets_an_agent_leave_all_the_same() -> None:
    async with crew(EVERYBODY, "one", "two") as made, made.running("list of agents", "poll one", "poll two"):
        made.platform.listed.pop()

        async def full(*_: Any) -> None:
            raise StorageError("disk full")

        made.storage.commit = full
        await made.alarm.wake("list of agents")
        assert made.removed == ["two"]


async def test_of_what_the_state_knows_a_shard_shows_and_polls_its_own_agents_only() -> None:
    handles = [f"agent-{number}" for number in range(20)]
    async with crew(EVERYBODY, *handles) as made:
        await made.fleet.once()
        polled: list[str] = []
        for index in range(3):
            shard = Shard(index=index, count=3)
            made.published.clear()
            fleet = made.starts(Plan(choice=Choice(shard=shard)))
            await fleet.resume(await made.storage.agents())
            own = {handle for handle in handles if shard.owns(handle)}
            assert {report.agent for report in made.published} == own
            assert (await fleet.once()).keys() == own
            polled += own
        assert sorted(polled) == sorted(handles)


async def test_a_list_that_cannot_be_read_changes_nothing_and_is_read_again() -> None:
    async with crew(EVERYBODY, "one") as made, made.running("list of agents", "poll one"):
        made.platform.list_fails = BadRequest("HTTP 400: an organisation handle is needed")
        await made.alarm.wake("list of agents", "poll one")
        assert made.fleet.trackers.keys() == {"one"}
        assert made.fleet.waits_for() is None
        assert made.log.lines.count(
            (
                "warning",
                "list of agents not read",
                {"reason": "bad_request", "error": "HTTP 400: an organisation handle is needed"},
            )
        )
        made.platform.list_fails = None
        made.platform.listed.append(Agent(handle="two"))
        await made.alarm.wake("list of agents")
        await made.alarm.until_asleep("poll two")


async def test_a_list_that_was_not_read_is_tried_again_soon_and_ever_later_up_to_the_interval() -> None:
    async with crew(EVERYBODY, "one") as made:
        made.platform.list_fails = Timeout("40 s")
        async with made.running("list of agents"):
            for _ in range(7):
                await made.alarm.wake("list of agents")
            delays = made.alarm.slept["list of agents"]
            for delay, longest in zip(delays, [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0, 600.0], strict=True):
                assert 0.8 * longest <= delay <= longest
            made.platform.list_fails = None
            await made.alarm.wake("list of agents")
            assert delays[-1] == 600.0
            await made.alarm.until_asleep("poll one")
            made.platform.list_fails = Timeout("40 s")
            await made.alarm.wake("list of agents")
            assert delays[-1] <= 30.0


async def test_a_list_that_was_not_read_is_not_tried_more_often_than_it_would_be_read() -> None:
    plan = msgspec.structs.replace(EVERYBODY, list_interval=5.0)
    async with crew(plan) as made:
        made.platform.list_fails = Timeout("40 s")
        async with made.running("list of agents"):
            await made.alarm.wake("list of agents")
        assert all(4.0 <= delay <= 5.0 for delay in made.alarm.slept["list of agents"])


async def test_why_there_are_no_agents_is_said_until_there_are_some() -> None:
    async with crew(Plan(choice=Choice(types=("voice",))), "one") as made:
        assert made.fleet.notice == ""
        made.platform.list_fails = BadRequest("HTTP 400: an organisation handle is needed")
        async with made.running("list of agents"):
            assert made.fleet.waits_for() is None
            assert made.fleet.notice == (
                "The list of agents could not be read: HTTP 400: an organisation handle is needed"
            )
            made.platform.list_fails, made.platform.listed = None, [Agent(handle="one", type="chat")]
            await made.alarm.wake("list of agents")
            assert made.fleet.notice == "Discovery wants none of the agents that the platform lists (1)."
            made.platform.listed = [Agent(handle="one", type="voice")]
            await made.alarm.wake("list of agents")
            assert made.fleet.notice == ""


async def test_a_resumed_agent_that_the_list_shows_as_unwanted_is_polled_and_shown_no_more() -> None:
    async with crew(EVERYBODY, "voice", "chat", "gone", "named") as made:
        made.platform.agents["gone"] = [task("pending")]
        await made.fleet.once()
        asked_before = made.platform.asked
        plan = Plan(choice=Choice(types=("voice",)), named=(Named(handle="named"),))
        fleet = made.starts(plan)
        made.platform.listed = [
            Agent(handle="voice", type="voice"),
            Agent(handle="chat", type="chat"),
            Agent(handle="named", type="chat"),
        ]
        made.platform.list_fails = Timeout("40 s")
        made.time.now += 600.0
        await fleet.resume(await made.storage.agents())
        async with made.running("list of agents", "poll voice", "poll chat", "poll gone", "poll named"):
            assert fleet.trackers.keys() == {"voice", "chat", "gone", "named"}
            polls = [task for task in asyncio.all_tasks() if task.get_name() == "poll chat"]
            made.platform.list_fails = None
            await made.alarm.wake("list of agents")
            assert fleet.trackers.keys() == {"voice", "gone", "named"}
            assert made.removed == ["chat"]
            await asyncio.wait(polls, timeout=10)
            assert [poll.cancelled() for poll in polls] == [True]
            asked_after = made.platform.asked
            await made.alarm.wake("poll voice", "poll gone", "poll named")
            assert made.platform.asked == asked_after + 3
            assert asked_after > asked_before
            made.platform.listed[1] = Agent(handle="chat", type="voice")
            del made.alarm.sleepers["poll chat"]
            await made.alarm.wake("list of agents")
            await made.alarm.until_asleep("poll chat")
            assert values(made.shown("chat"), "agent_up") == {(): 1}


async def test_an_agent_that_is_dropped_while_it_is_polled_shows_nothing_afterwards() -> None:
    async with crew(EVERYBODY, "slow") as made:
        await made.fleet.once()
        begun = made.platform.hangs()

        async def once_it_polls() -> Iterable[Agent]:
            await begun.wait()
            return made.platform.listed

        made.platform.list_agents = once_it_polls
        made.time.now += 600.0
        fleet = made.starts(Plan(choice=Choice(types=("chat",))))
        await fleet.resume(["slow"])
        made.published.clear()
        async with made.running("list of agents"):
            assert made.removed == ["slow"]
            assert fleet.waits_for() is None
        assert made.published == []


async def test_without_a_list_only_the_named_agents_are_polled_and_nothing_is_listed() -> None:
    async with crew(named("one"), "one", "two") as made:
        made.platform.list_fails = AssertionError("asked")
        await made.fleet.resume(["two"])
        assert (await made.fleet.once()).keys() == {"one"}


async def test_an_agent_that_is_named_and_listed_is_polled_once() -> None:
    plan = msgspec.structs.replace(EVERYBODY, named=(Named(handle="one"),))
    async with crew(plan, "one", "two") as made:
        await made.fleet.resume([])
        assert (await made.fleet.once()).keys() == {"one", "two"}
        assert made.platform.asked == 2


async def test_what_is_stored_is_shown_before_anything_is_asked_of_the_platform() -> None:
    async with crew(EVERYBODY, "one", "two") as made:
        made.platform.agents["one"] = [task("completed", ended("A"))]
        await made.fleet.once()
        made.published.clear()
        again = made.starts(Plan(choice=Choice(exclude=("two",), types=("voice",))))
        asked = made.platform.asked
        await again.resume(await made.storage.agents())
        assert made.platform.asked == asked
        assert [report.agent for report in made.published] == ["one"]
        assert values(made.shown("one"), "calls") == {("outbound", "completed"): 1}


async def test_a_list_shows_none_anew_but_those_of_which_it_tells_something_new() -> None:
    everything = ("list of agents", "poll one", "poll two")
    async with crew(EVERYBODY, "one", "two") as made, made.running(*everything):
        made.published.clear()
        await made.alarm.wake("list of agents")
        assert made.published == []
        made.platform.listed[0] = msgspec.structs.replace(made.platform.listed[0], name="Another")
        made.platform.listed.append(Agent(handle="three", name="Three", type="voice"))
        await made.alarm.wake("list of agents")
        assert {(report.agent, report.info["name"]) for report in made.published} == {
            ("one", "Another"),
            ("three", "Three"),
        }


async def test_a_state_that_cannot_be_read_holds_up_no_other_agent() -> None:
    async with crew(named("one", "two"), "one", "two") as made:
        load = made.storage.load

        async def damaged(agent: str) -> Any:
            if agent == "one":
                raise StorageError("damaged")
            return await load(agent)

        made.storage.load = damaged
        await made.fleet.resume([])
        outcomes = await made.fleet.once()
        assert isinstance(outcomes["one"].error, StorageError)
        assert outcomes["two"].error is None
