"""A platform of tasks held in memory, for trackers: what a source of pages does, and how it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Labels, Report, Summary
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Storage
from exporter.tracking.tallies import Limits
from exporter.tracking.tracker import Tracker
from exporter.unpod.facts import Page, Task
from exporter.unpod.urgency import Urgency
from tests.tracking.stories import BUCKETS, START

RULES = Rules(limits=Limits(buckets=BUCKETS))


@dataclass
class Shelf:
    """The tasks of each agent, newest first; one whose id is empty stands for a document without an identity.
    ``fails_at`` tells which page raises which error."""

    agents: dict[str, list[Task]] = field(default_factory=dict)
    fails_at: dict[int, Exception] = field(default_factory=dict)
    asked: int = 0

    def has_time(self) -> bool:
        return True

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        self.asked += 1
        if page in self.fails_at:
            raise self.fails_at[page]
        found = self.agents.get(agent, [])
        shown = found[(page - 1) * page_size : page * page_size]
        known = tuple(task for task in shown if task.id)
        return Page(tasks=known, total=len(found), received=len(shown), unidentified=len(shown) - len(known))


@dataclass
class Time:
    """Stands still until somebody moves it."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Desk:
    """One agent of a shelf, and a tracker of it that can be started again with other rules."""

    storage: Storage
    rules: Rules = RULES
    shelf: Shelf = field(default_factory=lambda: Shelf({"sales": []}))
    time: Time = field(default_factory=Time)
    jump: float = 0.0
    """Seconds by which the exporter's clock is ahead."""
    progress: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tracker = self._track()

    def _track(self) -> Tracker:
        return Tracker(
            "sales",
            self.shelf,
            self.storage,
            self.rules,
            now=lambda: self.time() + self.jump,
            elapsed=self.time,
            progressed=lambda agent, ratio: self.progress.append((agent, ratio)),
        )

    def show(self, *tasks: Task) -> None:
        """What the platform shows from now on, newest first."""
        self.shelf.agents["sales"] = list(tasks)

    async def poll(self, *tasks: Task, after: float = 60.0) -> Report:
        """Shows these tasks, polls well, and returns the report."""
        self.show(*tasks)
        self.time.now += after
        outcome = await self.tracker.poll()
        assert outcome.error is None, outcome.error
        return self.tracker.report({})

    async def restart(self, rules: Rules | None = None) -> Report:
        """The process starts again; returns what it shows before its first poll."""
        self.rules = rules or self.rules
        self.tracker = self._track()
        await self.tracker.load()
        return self.tracker.report({})

    async def change(self, rules: Rules) -> Report:
        """Other rules while the process runs; returns what it shows before the next poll."""
        self.rules = rules
        await self.tracker.obey(rules)
        return self.tracker.report({})


@asynccontextmanager
async def desk(rules: Rules = RULES, path: Path | None = None) -> AsyncIterator[Desk]:
    """A desk whose state is in memory, or at ``path``."""
    time = Time()
    storage = await SqliteStorage.open(path, clock=time)
    try:
        yield Desk(storage, rules, time=time)
    finally:
        await storage.close()


def values(report: Report, family: str) -> Mapping[Labels, float]:
    """The non-zero values of a counter or gauge; of the others how much they observed."""
    found = report.families[family]
    if isinstance(found, Counter | Gauge):
        return {labels: value for labels, value in found.values.items() if value}
    return {labels: _count(value) for labels, value in found.values.items()}


def _count(value: object) -> float:
    return sum(value.counts) if isinstance(value, Distribution) else getattr(value, "count", 0)


def since(report: Report, family: str) -> float:
    """When a counted family began."""
    found = report.families[family]
    assert isinstance(found, Counter | Histogram | Summary)
    return found.since
