"""An exporter without its web: the real client over HTTP, the real fleet, and a made-up platform that misbehaves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random

from aiohttp import web

from exporter.simulator.faults import Fault, Faults
from exporter.simulator.profiles import Profile
from exporter.simulator.server import create_app
from exporter.simulator.world import World
from exporter.tracking.fleet import Fleet
from exporter.tracking.hands import Hands
from exporter.tracking.plan import Plan
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.tallies import Limits
from exporter.tracking.tracker import Tracker
from exporter.unpod.client import Client, Settings, StaticToken
from exporter.unpod.facts import Agent
from tests.tracking.crew import Log
from tests.tracking.stories import BUCKETS

START = 1_764_000_000.0
MINUTE = 60.0


def most_in_a_minute(moments: Sequence[float]) -> int:
    """The most of them that any 60 seconds saw."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - MINUTE:
            first += 1
        most = max(most, last - first + 1)
    return most


class Stage:
    """What happens on it, by the platform's clock, in seconds since the start."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world, self.faults = world, faults
        self.requests: list[float] = []
        """When each request arrived."""
        self.asked: defaultdict[str, list[float]] = defaultdict(list)
        """When each path was asked for."""
        self.log = Log()
        self.fleet: Fleet
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        """Seconds since the start."""
        return self._loop.time()

    def time(self) -> float:
        """Unix seconds."""
        return START + self.now()

    def fails(self, kind: str, *agents: str, **options: object) -> None:
        """From now on, for these agents, or for all."""
        for agent in agents or (None,):
            self.faults.add(Fault(kind=kind, agent=agent, **options))

    async def log_tells(self, event: str, **fields: object) -> None:
        """Until it does."""
        told: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()
        self.log.info = lambda event, **fields: told.put_nowait((event, fields))
        while True:
            heard, about = await told.get()
            if heard == event and about.items() >= fields.items():
                return

    def polls(self, handle: str) -> list[float]:
        """When each request about an agent arrived."""
        return self.asked[f"/api/v2/platform/agents/{handle}/tasks/"]

    def up(self) -> int:
        """How many agents have been polled well just now."""
        return sum(one.last is not None and one.last.error is None for one in self.fleet.trackers.values())

    @web.middleware
    async def hears(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(self.now())
        self.asked[request.path].append(self.now())
        return await handler(request)


@asynccontextmanager
async def stage(profiles: Iterable[Profile], **settings: object) -> AsyncIterator[Stage]:
    """An exporter that discovers and polls these agents; its settings are the defaults unless named."""
    made = Stage(World(seed=7, now=START, agents=tuple(profiles), history=2.0), Faults())
    app = create_app(made.world, clock=made.time, token="t", org="o", faults=made.faults)
    app.middlewares.append(made.hears)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    chosen = Settings(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}", org_handle="o", **settings)
    storage = await SqliteStorage.open(None, clock=made.time)
    rules = Rules(limits=Limits(buckets=BUCKETS), page_size=chosen.page_size)
    try:
        async with Client(chosen, StaticToken("t"), clock=made.time, monotonic=made.now) as client:
            hands = Hands(chosen.max_concurrent_requests, client.was_slow)

            async def listed() -> Iterable[Agent]:
                return (await client.agents()).agents

            def shown(report: Report) -> None:
                pass

            def removed(agent: str) -> None:
                pass

            made.fleet = Fleet(
                Plan(choice=Choice(), requests_per_minute=chosen.requests_per_minute),
                track=lambda agent: Tracker(
                    agent, client, storage, rules, now=made.time, elapsed=made.now, hands=hands
                ),
                listed=listed,
                publish=shown,
                remove=removed,
                log=made.log,
                now=made.time,
                elapsed=made.now,
                chance=Random(7),
            )
            await made.fleet.resume([])
            polling = asyncio.create_task(made.fleet.run())
            try:
                yield made
            finally:
                polling.cancel()
                await asyncio.wait([polling])
    finally:
        await storage.close()
        await runner.cleanup()
