"""The exporter's reading half beside the simulator, over real HTTP and in injected time."""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from exporter.exposition.catalog import Settings as Shown
from exporter.exposition.catalog import buckets
from exporter.simulator import truth
from exporter.simulator.faults import Faults
from exporter.simulator.profiles import Profile
from exporter.simulator.runner import serve
from exporter.simulator.world import World
from exporter.tracking.damage import SetAside
from exporter.tracking.overlay import Overlay
from exporter.tracking.postgres import PostgresStorage, Target
from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Report, Summary
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Commit, State
from exporter.tracking.tallies import Limits
from exporter.tracking.tracker import Outcome, Tracker
from exporter.unpod.client import Client, Settings, StaticToken
from exporter.unpod.facts import Page
from exporter.unpod.urgency import Urgency
from tests.postgres import Server
from tests.proxy import Proxy
from tests.tracking.states import HASTY
from tests.truth.oracle import BOUNDS, Key, Oracle, Sight, Timeline

START = 1_764_000_000.0
TOKEN = "bench-token"
LIMITS = Limits(buckets=dict(buckets(Shown())), end_codes=1000)


Look = tuple[Sequence[str], float, float]
"""The tasks of a page, and when it was read by the platform's clock and by the exporter's."""


@dataclass
class Clock:
    """The time of everything: of the simulator, the client and the trackers."""

    now: float = START

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Witness:
    """Stands between the tracker and the client, and notes which tasks were read when."""

    client: Client
    clock: Clock
    now: Callable[[], float]
    """The exporter's time."""
    before: Callable[[int], Awaitable[None]]
    """Called before each request of a poll, with its number from 1."""
    looks: list[Look] = field(default_factory=list)
    requests: int = 0
    committed: int = 0
    """How many of the looks have been committed."""

    def commits(self) -> None:
        """What has been looked at so far is being committed."""
        self.committed = len(self.looks)

    def has_time(self) -> bool:
        return self.client.has_time()

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        self.requests += 1
        await self.before(self.requests)
        answer = await self.client.tasks(agent, page=page, page_size=page_size, urgency=urgency)
        self.looks.append(([task.id for task in answer.tasks], self.clock(), self.now()))
        return answer


async def nothing(request: int) -> None:
    """Leaves the poll alone."""


class Notes(list[tuple[str, dict[str, Any]]]):
    """A log that is remembered."""

    def debug(self, event: str, **fields: Any) -> None:
        self.append((event, fields))

    info = warning = error = debug

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self if name == event]


class Database(NamedTuple):
    """Where a state is in PostgreSQL."""

    url: str
    server: Server
    proxy: Proxy | None = None
    """What the URL leads through."""


class Noted(Overlay):
    """Tells of each commit that was made."""

    committed: Callable[[str], None]

    async def commit(self, agent: str, commit: Commit) -> None:
        await super().commit(agent, commit)
        self.committed(agent)


class Platform(Protocol):
    """What a bench asks of a simulated platform."""

    @property
    def handles(self) -> Sequence[str]: ...
    @property
    def truth(self) -> Sequence[truth.Event]: ...


class Bench:
    """A platform, the exporter's trackers of its agents, and an oracle for each."""

    def __init__(
        self,
        world: Platform,
        clock: Clock,
        client: Client,
        home: Path | Database,
        rules: Rules,
        faults: Faults | None = None,
    ) -> None:
        self.world = world
        self.clock = clock
        self.faults = faults or Faults()
        self.rules = rules
        self.database = None if isinstance(home, Path) else home
        self.path = home if isinstance(home, Path) else Path()
        """Of the state, where it is in a file."""
        self.before: Callable[[int], Awaitable[None]] = nothing
        self.oracles = {handle: Oracle(settling=rules.settling_time) for handle in world.handles}
        self.measured: dict[str, float] = {}
        """When the gauges of an agent were taken; without those whose history has not been read yet."""
        self.tasks_read = 0
        """By all polls that have ended."""
        self.told: list[SetAside] = []
        """The damaged states that were set aside."""
        self.skew = 0.0
        """Seconds by which the exporter's clock is ahead of the platform's."""
        self._skews: dict[str, float] = {}
        self._steady_from: dict[str, float] = {}
        """From when on the exporter's clock has not been set of late."""
        self._client = client
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._history_ends: dict[str, float] = {}
        self._unpublished: defaultdict[str, list[Look]] = defaultdict(list)
        """What was committed by polls that failed while they caught up."""
        self.committed_in_part = 0
        """How many polls failed so."""
        self._without_gauges: set[str] = set()
        """The agents that a process has taken up while they were being caught up with."""
        self._heard = 0
        self.log = Notes()
        self._state: State
        self._storage: Overlay
        self._trackers: dict[str, Tracker] = {}
        self._witnesses: dict[str, Witness] = {}

    def now(self) -> float:
        """The exporter's time."""
        return self.clock() + self.skew

    async def start(self) -> None:
        """A process starts: nothing is in memory, everything is on disk."""
        self._skews.clear()
        self._steady_from.clear()
        self._state = await self._opened()
        self._storage = Noted(self._state, self.log, clock=self.now)
        self._storage.committed = lambda agent: self._witnesses[agent].commits()
        for handle in self.world.handles:
            witness = Witness(self._client, self.clock, self.now, lambda request: self.before(request))
            tracker = Tracker(handle, witness, self._storage, self.rules, now=self.now, elapsed=self.clock)
            await tracker.load()
            self._witnesses[handle], self._trackers[handle] = witness, tracker
            if self._unpublished[handle]:
                self._without_gauges.add(handle)

    async def _opened(self) -> State:
        if self.database is None:
            return await SqliteStorage.open(self.path, clock=self.now, told=self.told.append)
        return await PostgresStorage.open(Target(url=self.database.url), limits=HASTY, clock=self.now)

    async def stop(self) -> None:
        """The process ends."""
        await self._storage.close()

    async def poll(self, handle: str) -> Outcome:
        """Polls an agent, and tells its oracle what was seen where that counts."""
        witness, tracker = self._witnesses[handle], self._trackers[handle]
        begun = tracker.history_ratio == 1.0
        witness.looks.clear()
        witness.requests = witness.committed = 0
        if self._skews.setdefault(handle, self.skew) != self.skew:
            self._skews[handle], self._steady_from[handle] = self.skew, self.clock() + 6 * self.rules.settling_time
        outcome: Outcome | None = None
        try:
            outcome = await tracker.poll()
        finally:
            self.tasks_read += sum(len(tasks) for tasks, *_ in witness.looks)
            # Long readings are committed page by page, and published like others: as a whole.
            succeeded = outcome is not None and outcome.error is None
            if succeeded or not begun:
                self._tell(handle, [*self._unpublished.pop(handle, ()), *witness.looks], first=not begun)
            else:
                self._unpublished[handle] += witness.looks[: witness.committed]
                self.committed_in_part += witness.committed > 0
            if succeeded:
                self._without_gauges.discard(handle)
                self.measured[handle] = self.now()
        return outcome

    def _tell(self, handle: str, looks: Sequence[Look], *, first: bool) -> None:
        for event in self.world.truth[self._heard :]:
            self._timelines.setdefault((event.agent, event.task), Timeline()).add(event)
        self._heard = len(self.world.truth)
        steady = self.clock() >= self._steady_from.get(handle, 0.0)
        for tasks, moment, now in looks:
            for task in tasks:
                sight = self._timelines[(handle, task)].at(moment)
                if first:
                    self._history_ends[handle] = max(sight.created, self._history_ends.get(handle, 0.0))
                self.oracles[handle].look(
                    task, sight, now, history=self._is_history(handle, sight, first=first), moment=moment, steady=steady
                )

    def _is_history(self, handle: str, sight: Sight, *, first: bool) -> bool:
        if self.rules.backfill == 0:
            # A task that slipped through the first reading is no younger for it.
            return first or sight.created < self._history_ends.get(handle, 0.0)
        return sight.created < START - self.rules.backfill

    def forget(self, handle: str) -> None:
        """Nothing is known of an agent any more: it is read as if for the first time."""
        self.oracles[handle] = Oracle(settling=self.rules.settling_time)
        self.measured.pop(handle, None)
        self._unpublished.pop(handle, None)

    async def die(self, path: Path) -> None:
        """The process is killed: what is on disk is all that is left, and goes on at ``path``, or in the database."""
        if self.database is None:
            self.leave(path)
            await self.go_on(path)
        else:
            await self._state.close()
            await self.start()

    def leave(self, path: Path) -> None:
        """What would be left on disk if the process were killed now."""
        for file in self.path.parent.glob(self.path.name + "*"):
            shutil.copy(file, path.with_name(file.name.replace(self.path.name, path.name)))

    async def go_on(self, path: Path) -> None:
        """Another process takes up what is left at ``path``."""
        await self.stop()
        self.path = path
        await self.start()

    def uncommitted(self) -> int:
        """Of how many tasks the latest is in memory only."""
        return self._storage.uncommitted()

    @asynccontextmanager
    async def asking(self, url: str) -> AsyncIterator[None]:
        """The exporter is told that the platform is elsewhere."""
        async with client_of(url, self.now, self.clock) as client:
            for witness in self._witnesses.values():
                witness.client = client
            yield
            for witness in self._witnesses.values():
                witness.client = self._client

    def requests(self, handle: str) -> int:
        """How many requests the last poll of an agent has made."""
        return self._witnesses[handle].requests

    def report(self, handle: str) -> Report:
        """All that is shown of an agent."""
        return self._trackers[handle].report({})

    def numbers(self, handle: str) -> dict[Key, float]:
        """What is exported of an agent."""
        return numbers_of(self._trackers[handle])

    def truth(self, handle: str) -> dict[Key, float]:
        """What every number of an agent must be."""
        oracle = self.oracles[handle]
        gauges: dict[Key, float] = {}
        if handle not in self._without_gauges:
            gauges = oracle.gauges(self.measured[handle], grace=self.rules.overdue_grace)
        return {key: value for key, value in (oracle.numbers | gauges).items() if value}

    def check(self, handle: str, *, apart: tuple[str, ...] = ()) -> None:
        """Every number of an agent, but for families named, is what the truth says, exactly; none is shown before its
        history has been read."""
        if handle not in self.measured:
            shown = self._trackers[handle].report({}).families
            assert all(name.startswith("agent_") for name in shown), f"{handle}: published half: {sorted(shown)}"
            return
        wrong = differences(numbers_of(self._trackers[handle]), self.truth(handle))
        wrong = {key: pair for key, pair in wrong.items() if key[0] not in apart}
        assert not wrong, f"{handle}: found and wanted: {wrong}"


def differences(found: dict[Key, float], wanted: dict[Key, float]) -> dict[Key, tuple[float | None, float | None]]:
    """What is exported, and what it should be, where the two differ."""
    return {
        key: (found.get(key), wanted.get(key))
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    }


_LEFT_OUT = ("agent_", "exporter_", "tasks_reported", "tasks_unreadable")
"""Families that tell of the exporter's own polls."""


def numbers_of(tracker: Tracker) -> dict[Key, float]:
    """A report in the oracle's terms: non-zero numbers, sums in billionths."""
    found: dict[Key, float] = {}
    for name, family in tracker.report({}).families.items():
        if name.startswith(_LEFT_OUT):
            continue
        if isinstance(family, Counter | Gauge):
            scale = 1e9 if name in ("call_cost_dollars", "call_stt_seconds") else 1
            found |= {
                (name, *labels): round(value * scale) if scale > 1 else value for labels, value in family.values.items()
            }
        elif isinstance(family, Histogram):
            for labels, cells in family.values.items():
                found |= _cells((name, *labels), cells)
        elif isinstance(family, Summary):
            total = family.values[()]
            found |= {(name, "count"): total.count, (name, "sum"): round(total.sum * 1e9)}
    return {key: value for key, value in found.items() if value}


def _cells(key: Key, cells: Distribution) -> dict[Key, float]:
    bounds = (*(repr(float(bound)) for bound in BOUNDS[key[0]]), "+Inf")
    return {(*key, bound): count for bound, count in zip(bounds, cells.counts, strict=True)} | {
        (*key, "sum"): round(cells.sum * 1e9)
    }


def client_of(url: str, now: Callable[[], float], clock: Clock, patience: float = 10.0) -> Client:
    """A client of a platform that is given up after ``patience`` seconds."""
    settings = Settings(base_url=url, org_handle="demo-org", requests_per_minute=10**6, timeout=patience)
    return Client(settings, StaticToken(TOKEN), clock=now, monotonic=clock, sleep=clock.sleep)


@asynccontextmanager
async def bench(
    home: Path | Database,
    profiles: Sequence[Profile],
    *,
    seed: int,
    history: float = 2.0,
    rules: Rules | None = None,
    gzip: bool = False,
    restless_ties: float = 0.25,
    patience: float = 10.0,
) -> AsyncIterator[Bench]:
    """A bench whose process has been started; ``history`` in hours."""
    clock, faults = Clock(), Faults(seed=seed)
    world = World(seed=seed, now=clock(), agents=profiles, history=history, restless_ties=restless_ties)
    async with (
        serve(world, clock=clock, token=TOKEN, faults=faults, gzip=gzip) as url,
        client_of(url, lambda: made.now(), clock, patience) as client,
    ):
        made = Bench(world, clock, client, home, rules or Rules(limits=LIMITS), faults)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
