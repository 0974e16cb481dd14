"""A fleet with everything around it: a platform that fails as it is told, a log that remembers, sleep until woken."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from exporter.tracking.fleet import Fleet
from exporter.tracking.plan import Named, Plan
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.tracker import Tracker
from exporter.unpod.facts import Agent, Page
from exporter.unpod.urgency import Urgency
from tests.tracking.platform import RULES, Shelf, Time

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

    def broken(self, event: str, **fields: Any) -> None:
        raise OSError("the disk of the log is full")

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

    async def ends(self, name: str) -> None:
        """Lets the task of this name do what it does until it ends."""
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
        self.sleepers.pop(name).set()
        async with asyncio.timeout(10):
            await asyncio.wait([task])


class Platform(Shelf):
    """A shelf on which the tasks of each agent may fail, with a list that may fail too."""

    def __init__(self, *handles: str) -> None:
        super().__init__({handle: [] for handle in handles})
        self.listed = [Agent(handle=handle, name=handle.title(), type="voice") for handle in handles]
        self.list_fails: Exception | None = None
        self.breaks: dict[str, Exception] = {}
        self.hung: asyncio.Event | None = None

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        if self.hung is not None:
            self.hung.set()
            await asyncio.Event().wait()
        if agent in self.breaks:
            raise self.breaks[agent]
        return await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)

    def hangs(self) -> asyncio.Event:
        """From now on tasks are never answered; gives what is set when they are asked for."""
        self.hung = asyncio.Event()
        return self.hung

    async def list_agents(self) -> Iterable[Agent]:
        if self.list_fails is not None:
            raise self.list_fails
        return self.listed


@dataclass
class Crew:
    """A fleet and everything around it."""

    platform: Platform
    storage: SqliteStorage
    log: Log = field(default_factory=Log)
    alarm: Alarm = field(default_factory=Alarm)
    time: Time = field(default_factory=Time)
    clock_set_by: float = 0.0
    """Seconds by which the wall clock of the fleet has been set."""
    published: list[Report] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unfit: dict[str, Exception] = field(default_factory=dict)
    """Agents whose new numbers cannot be published, and why."""

    may_ask: bool | None = None
    """Whether the platform may be asked, where others share the agents; None: nobody does."""
    unfit_at_all: bool = False
    """Not even what was published before can be."""

    def publish(self, report: Report) -> None:
        if report.agent in self.unfit and (self.unfit_at_all or self._is_new(report)):
            raise self.unfit[report.agent]
        self.published.append(report)

    def _is_new(self, report: Report) -> bool:
        return report.families["tasks"] is not self.shown(report.agent).families["tasks"]

    def starts(self, plan: Plan) -> Fleet:
        """A fleet as another process would start it on the same state."""
        self.fleet = Fleet(
            plan,
            track=lambda handle: Tracker(handle, self.platform, self.storage, RULES, now=self.time, elapsed=self.time),
            listed=self.platform.list_agents,
            publish=self.publish,
            remove=self.removed.append,
            log=self.log,
            now=lambda: self.time() + self.clock_set_by,
            elapsed=self.time,
            sleep=self.alarm.sleep,
            chance=Random(1),
            may_ask=None if self.may_ask is None else lambda: bool(self.may_ask),
        )
        return self.fleet

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
    storage = await SqliteStorage.open(None, clock=Time())
    try:
        made = Crew(Platform(*handles), storage)
        made.starts(plan)
        yield made
    finally:
        await storage.close()


def named(*handles: str, **more: Any) -> Plan:
    return Plan(named=tuple(Named(handle=handle) for handle in handles), list_interval=None, **more)
