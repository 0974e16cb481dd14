"""What is measured in a process of its own: ``python -m benchmarks.tasks TASK ARGUMENTS`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import past as pasts
from benchmarks.measure import AGENT, cpu, opened, peak, polls
from benchmarks.obvious import Obvious
from exporter import progress, service
from exporter.config import load
from exporter.past.writer import Span
from exporter.tracking import moving

LONG = 0.02
"""Seconds of a turn that would hold up a scrape for too long."""


async def poll(url: str, state: str, number: str) -> list[dict[str, float]]:
    """The exporter polls so many times."""
    return await polls(url, state, int(number))


async def turns(url: str, state: str, number: str) -> dict[str, float]:
    """Processor seconds of the turns of the event loop while the exporter polls so many times."""
    found: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        found.append(time.thread_time() - began)

    # The event loop has no hook for its turns, and this process has nothing else to do.
    asyncio.Handle._run = timed  # type: ignore[method-assign]
    await polls(url, state, int(number))
    return {"longest": max(found), "long": sum(turn > LONG for turn in found), "turns": len(found)}


async def obvious(url: str) -> dict[str, float]:
    """What one would write in an afternoon: every task in one answer, as dicts, counted into prometheus_client."""
    numbers = Obvious()
    began = cpu()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v2/platform/agents/bench/tasks/?page_size=0") as answer,
    ):
        tasks = (await answer.json())["data"]
    for task in tasks:
        numbers.count(task)
    return {"cpu": cpu() - began, "peak": peak(), "tasks": len(tasks)}


async def export(state: str, file: str) -> dict[str, float]:
    """A state is written to a file."""
    storage, began = await opened(state), time.perf_counter()
    with open(file, "wb") as out:  # noqa: ASYNC230 - nobody else waits
        moved = await storage.move(partial(moving.export, write=out.write))
    found = {"wall": time.perf_counter() - began, "peak": peak(), "tasks": moved.tasks}
    await storage.close()
    return found


async def fill(state: str, file: str) -> dict[str, float]:
    """What was written to a file is taken in, and compared."""
    storage, began = await opened(state), time.perf_counter()

    def reader() -> moving.Reader:
        lines.seek(0)
        return moving.Reader(lines, file)

    with open(file, "rb") as lines:  # noqa: ASYNC230 - nobody else waits
        moved = await storage.move(partial(moving.fill, read=reader))
    found = {"wall": time.perf_counter() - began, "peak": peak(), "tasks": moved.tasks}
    await storage.close()
    return found


async def past(url: str, folder: str, end: str, block: str) -> dict[str, float]:
    """The past of the agent is written until a Unix time."""
    config = Path(folder) / "config.yaml"
    api = {"base_url": url, "token": AGENT, "requests_per_minute": 10**7}
    config.write_text(json.dumps({"api": api, "agents": [AGENT]}), encoding="utf-8")
    span = Span.of(60.0, None, float(end), block)
    labels = (("job", "unpod"), ("instance", "exporter:10130"))
    wanted = service.Past(span=span, labels=labels, file=Path(folder) / "past.om")
    log, display = progress.opened("error", "logfmt", time.monotonic)
    settings = load(config, {}, state_path=str(Path(folder) / "state.db"))
    began = cpu()
    await service.write_past(settings, wanted, log, display)
    found = {"cpu": cpu() - began, "peak": peak()}
    texts = list(Path(folder).glob("past-*.om"))  # noqa: ASYNC240 - nothing else goes on here
    return {**found, "samples": sum(_lines(text) for text in texts)}


def _lines(text: Path) -> int:
    with text.open("rb") as file:
        return sum(not line.startswith(b"#") for line in file)


async def blocks(folder: str, block: str) -> dict[str, float]:
    """What promtool makes of the past."""
    began = time.perf_counter()
    pasts.promtool(Path(folder), block)
    wall = time.perf_counter() - began
    return {"wall": wall, "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}


TASKS: dict[str, Any] = {
    "poll": poll,
    "obvious": obvious,
    "turns": turns,
    "export": export,
    "fill": fill,
    "past": past,
    "blocks": blocks,
}

if __name__ == "__main__":
    json.dump(asyncio.run(TASKS[sys.argv[1]](*sys.argv[2:])), sys.stdout)
