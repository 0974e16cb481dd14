"""Replicas that would ask for much more than they may, and a platform that counts what they ask for, whoever it was."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Final, TypeAlias

from aiohttp import web

from exporter.simulator.server import create_app
from exporter.simulator.world import World
from tests.replicas import process
from tests.replicas.clockwork import clock_of
from tests.replicas.stage import agents
from tests.service.running import ORGANISATION, START, TOKEN, Process, started, until, written

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

MINUTE: Final = 60.0
ALLOWED: Final = 60
"""Requests within any minute, as by default."""
AGENTS: Final = 9
HISTORY: Final = 100.0
"""Hours that the platform shows of each, in pages so small that there is always another one to be read."""
LEASE: Final = 30.0


class Counted:
    """What was asked for, and when: in seconds that pass ``faster`` than real ones."""

    def __init__(self, faster: float) -> None:
        self.moments: list[float] = []
        self._faster = faster

    @property
    def now(self) -> float:
        return time.monotonic() * self._faster

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.moments.append(self.now)
        return await handler(request)

    def most(self, since: float = 0.0) -> int:
        """The most that was asked for within any minute that begins after a moment."""
        return max((self._within(moment) for moment in self.moments if moment >= since), default=0)

    def _within(self, begin: float) -> int:
        return bisect_left(self.moments, begin + MINUTE) - bisect_left(self.moments, begin)

    async def passes(self, seconds: float) -> None:
        """Waits for as long as the platform does not matter, but only its time."""
        end = self.now + seconds

        async def is_over() -> bool:
            return self.now >= end

        await until(is_over, 60.0 + seconds / self._faster)


class Budget:
    """The platform, and the replicas that ask it."""

    def __init__(self, folder: Path, config: Path, faster: float, counted: Counted, stack: AsyncExitStack) -> None:
        self.counted = counted
        self._folder, self._config, self._faster, self._stack = folder, config, faster, stack
        (folder / "clock").write_text(repr(START))

    async def starts(self) -> Process:
        """One replica more, which listens when this returns."""
        words = (str(self._config), str(self._folder / "clock"), "0", "0", f"{self._faster:g}")
        one = await self._stack.enter_async_context(started(self._folder, *words, module=str(Path(process.__file__))))
        await one.url()
        return one

    async def share(self, replicas: Sequence[Process]) -> None:
        """Waits until each of them may ask for as much as any other, and all of them for what is allowed."""

        async def is_fair() -> bool:
            shares = [await _share_of(one) for one in replicas]
            return sum(shares) == ALLOWED and max(shares) - min(shares) <= 1

        await until(is_fair, 60.0 + 3 * MINUTE / self._faster)


async def _share_of(one: Process) -> float:
    shown = await one.numbers()
    return sum(
        value for name, value in shown.items() if name.startswith("unpod_exporter_api_requests_share_per_minute")
    )


@asynccontextmanager
async def budgeted(folder: Path, database: str, *, faster: float) -> AsyncIterator[Budget]:
    """No replica is there yet."""
    counted = Counted(faster)
    async with AsyncExitStack() as stack:
        url = stack.enter_context(clock_of(database, faster=faster))
        world = World(seed=7, now=START, agents=agents(AGENTS), history=HISTORY)
        app = create_app(world, clock=lambda: START, token=TOKEN, org=ORGANISATION)
        app.middlewares.append(counted.count)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        settings = {
            "api": {
                "base_url": f"http://127.0.0.1:{runner.addresses[0][1]}",
                "token": TOKEN,
                "org_handle": ORGANISATION,
                "requests_per_minute": ALLOWED,
                "page_size": 2,
            },
            "polling": {"interval": "10s"},
            "state": {"url": url, "replicas": True, "lease": f"{LEASE:g}s"},
        }
        yield Budget(folder, written(folder, settings), faster, counted, stack)


async def stays_within(budget: Budget, say: Callable[[str], None] = lambda words: None) -> None:
    """One, then three, of which one dies and is replaced, and one is stopped and comes back: at no time is more asked
    for within a minute than is allowed, and all of it is shared out again once they have come to rest."""

    async def goes_on(what: str, *replicas: Process) -> None:
        await budget.share(replicas)
        since = budget.counted.now
        await budget.counted.passes(1.25 * MINUTE)
        most, ever = budget.counted.most(since), budget.counted.most()
        say(f"{what}: {most} requests within a minute, {ever} at most so far, of {ALLOWED}")
        assert ever <= ALLOWED
        assert most > ALLOWED / 2, "so few would prove nothing"

    one = await budget.starts()
    await goes_on("one replica", one)
    other, third = await budget.starts(), await budget.starts()
    await goes_on("three replicas", one, other, third)
    await other.stop(number=SIGKILL)
    fourth = await budget.starts()
    await goes_on("one killed and replaced", one, third, fourth)
    assert (await third.stop()).code == 0
    await goes_on("one stopped", one, fourth)
    fifth = await budget.starts()
    await goes_on("one come back", one, fourth, fifth)
