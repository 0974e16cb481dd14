"""Settings that change at random moments, polls under way: every number equals the truth all the same."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest

from exporter.config import AgentConfig, Api, Config, Discovery, Metrics, Polling, Secret, State
from exporter.service import Clock, Exporter, assembled, assembly
from exporter.simulator.runner import serve
from exporter.simulator.world import World
from exporter.tracking.polls import Outcome
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Commit
from exporter.tracking.tracker import Tracker
from tests.service.running import until
from tests.tracking.crew import Log
from tests.truth.harness import START, TOKEN, differences, numbers_of
from tests.truth.oracle import Key, Oracle, Timeline
from tests.truth.test_truth import BUSY

SETTLING = 600.0
GRACE = 300.0
PLENTY = 10**6


class Witness:
    """Tells the oracles which tasks were looked at by polls that were committed, whatever became of the others."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.oracles = {handle: Oracle(settling=SETTLING) for handle in world.handles}
        self.measured: dict[str, float] = {}
        self.polled: defaultdict[str, int] = defaultdict(int)
        """Polls of each agent that have succeeded."""
        self.asked: Callable[[], None] = lambda: None
        """Called at each page of tasks."""
        self.abandoned = 0
        self.poll: dict[str, object] = {}
        """What stands for the poll of each agent that is under way."""
        self._looks: defaultdict[object, list[tuple[str, Sequence[str]]]] = defaultdict(list)
        self._committed: list[object] = []
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._heard = 0

    def served(self, handle: str, ids: Sequence[str], now: float) -> None:
        if (poll := self.poll.get(handle)) is not None:
            self._looks[poll].append((handle, ids))
        self.asked()

    def committed(self, poll: object) -> None:
        self._committed.append(poll)

    def tell(self, now: float) -> None:
        """The oracles hear of all looks of committed polls since time was moved."""
        for event in self.world.truth[self._heard :]:
            self._timelines.setdefault((event.agent, event.task), Timeline()).add(event)
        self._heard = len(self.world.truth)
        for poll in dict.fromkeys(self._committed):
            for handle, ids in self._looks[poll]:
                for task in ids:
                    self.oracles[handle].look(task, self._timelines[(handle, task)].at(now), now)
        self.abandoned += len(self._looks.keys() - set(self._committed))
        self._committed.clear()
        self._looks.clear()

    def wanted(self, handle: str) -> dict[Key, float]:
        found = self.oracles[handle].numbers | self.oracles[handle].gauges(self.measured[handle], grace=GRACE)
        return {key: value for key, value in found.items() if value}


def witnessed(monkeypatch: pytest.MonkeyPatch, witness: Witness, now: Callable[[], float]) -> None:
    """From now on exporters are made of parts that tell the witness what they do."""

    class Told(Tracker):
        async def poll(self) -> Outcome:
            mark = witness.poll[self.agent] = object()
            try:
                outcome = await super().poll()
            finally:
                if witness.poll[self.agent] is mark:
                    del witness.poll[self.agent]
            if outcome.error is None:
                witness.measured[self.agent] = now()
                witness.polled[self.agent] += 1
            return outcome

    class Kept(SqliteStorage):
        async def commit(self, agent: str, commit: Commit) -> None:
            poll = witness.poll.get(agent)

            def write() -> None:
                self._commit(agent, commit)
                witness.committed(poll)

            await self._run(write)

    monkeypatch.setattr(assembly, "Tracker", Told)
    monkeypatch.setattr(assembly, "SqliteStorage", Kept)


class Stage:
    """An exporter that polls without a rest while time stands still, and is given other settings meanwhile."""

    def __init__(self, exporter: Exporter, witness: Witness, world: World, config: Config, random: Random) -> None:
        self.exporter, self.witness, self.world, self.random = exporter, witness, world, random
        self.config = config
        self.now = START
        self.reloads = 0
        self._one_by_one = asyncio.Lock()

    async def settle(self) -> None:
        """Waits until every agent has been polled from begin to end since the settings changed last."""
        before = dict(self.witness.polled)

        async def polled() -> bool:
            return all(self.witness.polled[handle] >= before.get(handle, 0) + 2 for handle in self.world.handles)

        await until(polled)

    async def check(self) -> None:
        """Every number of every agent is what the truth says."""
        async with self.exporter.fleet.paused():
            self.witness.tell(self.now)
            for handle in self.world.handles:
                found = numbers_of(self.exporter.fleet.trackers[handle])
                counted = {key: value for key, value in found.items() if key[0] != "number_calls"}
                wrong = differences(counted, self.witness.wanted(handle))
                assert not wrong, f"{handle}: found and wanted: {wrong}"

    async def reload(self, times: int) -> None:
        """So many other settings, each at a random moment of polls that are under way; then those of the start."""
        for _ in range(times):
            await self._asked(self.random.randrange(1, 12))
            config = another(self.config, self.random)
            while self.random.random() < 0.3:
                # Two at once: the second finds the first at work.
                await asyncio.gather(self._obey(another(self.config, self.random)), self._obey(config))
            await self._obey(config)
        await self._obey(self.config)

    async def _obey(self, config: Config) -> None:
        async with self._one_by_one:
            await self.exporter.obey(config)
            self.reloads += 1

    async def _asked(self, pages: int) -> None:
        """Waits for so many pages to be asked for."""
        reached = asyncio.Event()
        left = pages

        def count() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                reached.set()

        self.witness.asked = count
        async with asyncio.timeout(60):
            await reached.wait()
        # Somewhere between the answer to a page and the commit of its poll.
        for _ in range(self.random.randrange(12)):
            await asyncio.sleep(0)


def another(config: Config, random: Random) -> Config:
    """Settings in which some things are otherwise: agents, intervals, the way to the platform, what is counted."""
    replace = msgspec.structs.replace
    api, polling, agents, discovery, metrics = (
        config.api,
        config.polling,
        list(config.agents),
        config.discovery,
        config.metrics,
    )
    if random.random() < 0.5:
        agents = random.sample(agents, random.randrange(1, len(agents)))
    if random.random() < 0.3:
        agents = [replace(agent, interval=30.0, labels=(("team", "a"),)) for agent in agents]
    if random.random() < 0.2:
        discovery = Discovery(enabled=True, include=(random.choice(["*", "s*"]),))
    if random.random() < 0.3:
        polling = replace(polling, interval=random.choice([10.0, 60.0]), max_staleness=1e6, reconcile_interval=3600.0)
    if random.random() < 0.4:
        api = replace(api, page_size=random.choice([5, 25, 50]), requests_per_minute=PLENTY + random.randrange(9))
    if random.random() < 0.3:
        metrics = replace(metrics, numbers_limit=random.choice([0, 5]))
    return replace(config, api=api, polling=polling, agents=tuple(agents), discovery=discovery, metrics=metrics)


@asynccontextmanager
async def stage(path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> AsyncIterator[Stage]:
    """An exporter that has read the history of all agents."""
    world = World(seed=seed, now=START, agents=BUSY, history=1.0)
    witness = Witness(world)
    made: Stage | None = None

    def now() -> float:
        return made.now if made is not None else START

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0.002)

    witnessed(monkeypatch, witness, now)
    async with serve(world, clock=now, token=TOKEN, org="demo-org", on_served=witness.served) as url:
        api = Api(base_url=url, token=Secret(TOKEN), org_handle="demo-org", page_size=10, requests_per_minute=PLENTY)
        config = Config(
            api=msgspec.structs.replace(api, max_concurrent_requests=4),
            polling=Polling(settling_time=SETTLING, overdue_grace=GRACE),
            agents=tuple(AgentConfig(handle=handle) for handle in world.handles),
            discovery=Discovery(enabled=False),
            metrics=Metrics(end_codes_limit=1000),
            state=State(path=path),
        )
        async with assembled(config, Log(), Clock(now=now, elapsed=now, sleep=sleep)) as exporter:
            polling = asyncio.create_task(exporter.fleet.run())
            made = Stage(exporter, witness, world, config, Random(seed))
            await made.settle()
            yield made
            polling.cancel()
            await asyncio.wait([polling])


@pytest.mark.parametrize("seed", range(3))
async def test_settings_that_change_at_any_moment_lose_nothing_and_double_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async with stage(tmp_path / "state.db", monkeypatch, seed) as made:
        await made.check()
        for _ in range(12):
            made.now += made.random.choice([20.0, 90.0, 400.0])
            await made.reload(made.random.randrange(1, 4))
            await made.settle()
            await made.check()
        calls = sum(
            value
            for oracle in made.witness.oracles.values()
            for key, value in oracle.numbers.items()
            if key[0] == "calls"
        )
        assert calls > 20
        assert made.reloads >= 24
        assert made.witness.abandoned > 5, "polls were under way when the settings changed"
