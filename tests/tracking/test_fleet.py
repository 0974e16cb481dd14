"""All agents together: each at its time, whatever becomes of the others, and told in the log what is worth telling."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest

from exporter.tracking.fleet import Fleet, Named, Plan
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice
from exporter.tracking.schedule import HEARTBEAT, next_slot
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import StorageError
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import BadRequest, ConnectionFailed, NotFound, Timeout
from exporter.unpod.facts import Agent, Page
from tests.tracking.platform import RULES, Shelf, Time, values
from tests.tracking.stories import ended, task

EVERYBODY = Plan(choice=Choice())
PRIVATE = "+911234567890"


@dataclass
class Log:
    """Remembers what it was told."""

    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append(("debug", event, fields))

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(("error", event, fields))

    def events(self, *levels: str) -> list[str]:
        return [event for level, event, _ in self.lines if level in levels]


@dataclass
class Alarm:
    """Sleep that lasts until it is woken, by the name of the sleeping task."""

    slept: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sleepers: dict[str, asyncio.Event] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def sleep(self, seconds: float) -> None:
        current = asyncio.current_task()
        assert current is not None
        name = current.get_name()
        self.slept[name].append(seconds)
        woken = self.sleepers[name] = asyncio.Event()
        async with self.changed:
            self.changed.notify_all()
        await woken.wait()

    async def until_asleep(self, *names: str) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: self.sleepers.keys() >= set(names))

    async def wake(self, *names: str) -> None:
        """Lets them do what they do until they sleep again."""
        for name in names:
            self.sleepers.pop(name).set()
        await self.until_asleep(*names)


class Platform(Shelf):
    """A shelf on which the tasks of each agent may fail, with a list that may fail too."""

    def __init__(self, *handles: str) -> None:
        super().__init__({handle: [] for handle in handles})
        self.listed = [Agent(handle=handle, name=handle.title(), type="voice") for handle in handles]
        self.list_fails: Exception | None = None
        self.breaks: dict[str, Exception] = {}

    async def tasks(self, agent: str, *, page: int, page_size: int) -> Page:
        if agent in self.breaks:
            raise self.breaks[agent]
        return await super().tasks(agent, page=page, page_size=page_size)

    async def list_agents(self) -> Iterable[Agent]:
        if self.list_fails is not None:
            raise self.list_fails
        return self.listed


@dataclass
class Crew:
    """A fleet and everything around it."""

    fleet: Fleet
    platform: Platform
    storage: SqliteStorage
    log: Log
    alarm: Alarm
    time: Time
    published: list[Report]

    def shown(self, handle: str) -> Report:
        """What was published last of an agent."""
        return next(report for report in reversed(self.published) if report.agent == handle)

    @asynccontextmanager
    async def running(self, *until_asleep: str) -> AsyncIterator[None]:
        """Polls in the background; begins once these tasks sleep for the first time."""
        run = asyncio.create_task(self.fleet.run())
        try:
            await self.alarm.until_asleep(*until_asleep)
            yield
        finally:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run


@asynccontextmanager
async def crew(plan: Plan, *handles: str) -> AsyncIterator[Crew]:
    time, platform, log, alarm = Time(), Platform(*handles), Log(), Alarm()
    storage = await SqliteStorage.open(None, clock=time)
    published: list[Report] = []
    fleet = Fleet(
        plan,
        track=lambda handle: Tracker(handle, platform, storage, RULES, now=time, elapsed=time),
        listed=platform.list_agents,
        publish=published.append,
        log=log,
        now=time,
        sleep=alarm.sleep,
        chance=Random(1),
    )
    try:
        yield Crew(fleet, platform, storage, log, alarm, time, published)
    finally:
        await storage.close()


def named(*handles: str, **more: Any) -> Plan:
    return Plan(named=tuple(Named(handle=handle) for handle in handles), list_interval=None, **more)


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
        assert told["error"].startswith("KeyError < test_fleet.py:")
        assert PRIVATE not in str(made.log.lines)
        assert PRIVATE not in str(made.published)


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


# Which agents


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


async def test_an_agent_that_leaves_the_list_is_polled_on() -> None:
    async with crew(EVERYBODY, "one", "two") as made, made.running("list of agents", "poll one", "poll two"):
        made.platform.listed.pop()
        await made.alarm.wake("list of agents", "poll two")
        assert values(made.shown("two"), "agent_polls") == {(): 2}


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
        again = Fleet(
            Plan(choice=Choice(exclude=("two",), types=("voice",))),
            track=lambda handle: Tracker(handle, made.platform, made.storage, RULES, now=made.time, elapsed=made.time),
            listed=made.platform.list_agents,
            publish=made.published.append,
            log=made.log,
            now=made.time,
        )
        asked = made.platform.asked
        await again.resume(await made.storage.agents())
        assert made.platform.asked == asked
        assert [report.agent for report in made.published] == ["one"]
        assert values(made.shown("one"), "calls") == {("outbound", "completed"): 1}


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


# What is shown beside the numbers


async def test_the_list_tells_the_names_of_agents_and_the_plan_adds_labels() -> None:
    plan = Plan(named=(Named(handle="one", labels=(("team", "support"),)), Named(handle="hidden")))
    async with crew(plan, "one") as made:
        await made.fleet.resume([])
        assert made.shown("one").info == {"name": "", "agent_type": "unknown", "team": "support"}
        await made.fleet.once()
        assert made.shown("one").info == {"name": "One", "agent_type": "voice", "team": "support"}
        assert made.shown("hidden").info == {"name": "", "agent_type": "unknown"}
        assert (made.fleet.name_of("one"), made.fleet.name_of("hidden")) == ("One", "")


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


async def test_polling_once_needs_the_list_only_for_discovery() -> None:
    async with crew(EVERYBODY, "one") as made:
        made.platform.list_fails = BadRequest("400")
        with pytest.raises(BadRequest):
            await made.fleet.once()
    async with crew(Plan(named=(Named(handle="one"),)), "one") as made:
        made.platform.list_fails = BadRequest("400")
        await made.fleet.resume([])
        assert (await made.fleet.once())["one"].error is None
