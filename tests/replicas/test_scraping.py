"""One series of an agent, whoever shows it: what a real Prometheus makes of targets that take turns, with the scrape
configuration that docs/replicas.md gives."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.prometheus.running import Prometheus, prometheus
from tests.replicas.stage import documented_scraping
from tests.service.running import fetched, total, until
from tests.service.running import samples as samples_of

FAMILY: Final = "unpod_tasks_created_total"
STEP: Final = 0.05
"""Seconds between two looks at what Prometheus shows."""


class Target:
    """Shows one number of one agent, or none."""

    def __init__(self) -> None:
        self.value: int | None = None
        self.waits_for: Target | None = None
        """Its next answer is of before, and comes after the next one of this other target."""
        self.times: list[float] = []
        """When it was asked."""
        self.answered = asyncio.Event()
        self.runner: web.AppRunner

    async def metrics(self, request: web.Request) -> web.Response:
        self.times.append(time.time())
        value, waits_for, self.waits_for = self.value, self.waits_for, None
        if waits_for is not None:
            self.value = None
            waits_for.value = (value or 0) + 1
            waits_for.answered.clear()
            await waits_for.answered.wait()
            # What was answered is to be stored by then.
            await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_soon(self.answered.set)
        text = "" if value is None else f'# TYPE {FAMILY} counter\n{FAMILY}{{agent="a"}} {value}\n'
        return web.Response(text=text, content_type="text/plain")

    async def scraped(self, times: int = 2) -> None:
        count = len(self.times) + times

        async def is_so() -> bool:
            return len(self.times) >= count

        await until(is_so)


@asynccontextmanager
async def targets(folder: Path) -> AsyncIterator[tuple[Prometheus, Target, Target]]:
    """Two of them, and a Prometheus that scrapes both."""
    async with AsyncExitStack() as stack:
        made, addresses = (Target(), Target()), []
        for one in made:
            app = web.Application()
            app.router.add_get("/metrics", one.metrics)
            one.runner = web.AppRunner(app, shutdown_timeout=0.1)
            await one.runner.setup()
            stack.push_async_callback(one.runner.cleanup)
            await web.TCPSite(one.runner, "127.0.0.1", 0).start()
            addresses.append(f"127.0.0.1:{one.runner.addresses[0][1]}")
        (job,) = documented_scraping()["scrape_configs"]
        config = {"scrape_configs": [{**job, "static_configs": [{"targets": addresses}]}]}
        yield await stack.enter_async_context(prometheus(folder, config)), *made


async def samples(asked: Prometheus) -> list[tuple[float, float]]:
    """All of the one series that there is."""
    (series,) = (await asked.api("query", query=f"{FAMILY}[1h]"))["result"]
    assert series["metric"] == {"__name__": FAMILY, "agent": "a", "instance": "replicas", "job": "unpod"}
    return [(float(at), float(value)) for at, value in series["values"]]


async def away(asked: Prometheus) -> list[float]:
    """When the series was not there, between its first and its last sample."""
    found = await samples(asked)
    begin, end = found[0][0], found[-1][0]
    (series,) = await asked.ranges(FAMILY, begin, end, STEP)
    there = {round((float(at) - begin) / STEP) for at, _ in series["values"]}
    return [begin + place * STEP for place in range(int((end - begin) / STEP)) if place not in there]


async def test_an_agent_that_is_handed_over_goes_on_with_the_next_scrape(tmp_path: Path) -> None:
    async with targets(tmp_path) as (asked, one, other):
        one.value = 5
        await one.scraped()
        for before, after in ((one, other), (other, one), (one, other)):
            before.value, after.value = None, (before.value or 0) + 1
            await asyncio.gather(before.scraped(), after.scraped())
        found = await samples(asked)
        assert [value for _, value in found] == sorted(value for _, value in found)
        assert {value for _, value in found} == {5.0, 6.0, 7.0, 8.0}
        # It ends with the next scrape of the one before, and goes on with the next one of the other: the first of that,
        # or the second where that was sooner.
        times = [at for at, _ in found]
        gaps = {bisect_right(times, at) for at in await away(asked)}
        assert gaps
        moves = {place for place in range(1, len(found)) if found[place][1] > found[place - 1][1]}
        assert gaps <= moves | {place + 1 for place in moves}, "only with a move"
        assert len(gaps) <= len(moves)


async def test_a_target_that_is_gone_ends_nothing_that_another_one_shows(tmp_path: Path) -> None:
    async with targets(tmp_path) as (asked, one, other):
        one.value = 5
        await one.scraped()
        await one.runner.cleanup()
        other.value = 6
        await other.scraped(4)
        found = await samples(asked)
        assert [value for _, value in found] == sorted(value for _, value in found)
        (increase,) = (await asked.asks(f"increase({FAMILY}[1h])")).values()
        assert increase >= 1.0
        assert await asked.number(FAMILY) == 6.0


async def test_an_answer_that_comes_too_late_is_dropped(tmp_path: Path) -> None:
    async with targets(tmp_path) as (asked, one, other):
        one.value = 5
        await one.scraped()
        await other.scraped(1)
        # That one is late whose scrapes are followed sooner by those of the other.
        follows = next(at for at in other.times if at > one.times[0]) - one.times[0]
        late, prompt = (one, other) if follows < 0.5 else (other, one)
        late.value, prompt.value = 6, None
        await late.scraped()
        late.waits_for = prompt
        await prompt.scraped(3)
        found = [value for _, value in await samples(asked)]
        assert found == sorted(found)
        assert found[-1] == 7.0
        own = samples_of((await fetched(f"{asked.url}/metrics")).text)
        assert total(own, "prometheus_target_scrapes_sample_out_of_order_total") >= 1
