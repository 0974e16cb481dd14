"""What is measured in a process of its own: ``python -m benchmarks.tasks TASK ARGUMENTS`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.measure import cpu, peak, polls
from benchmarks.obvious import Obvious

LONG = 0.02
"""Seconds of a turn that would hold up a scrape for too long."""


async def poll(url: str, state: str, number: str) -> list[dict[str, float]]:
    """The exporter polls so many times."""
    return await polls(url, Path(state), int(number))


async def turns(url: str, state: str, number: str) -> dict[str, float]:
    """Processor seconds of the turns of the event loop while the exporter polls so many times."""
    found: list[float] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        found.append(time.thread_time() - began)

    asyncio.Handle._run = timed  # type: ignore[method-assign]
    await polls(url, Path(state), int(number))
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


TASKS: dict[str, Any] = {"poll": poll, "obvious": obvious, "turns": turns}

if __name__ == "__main__":
    json.dump(asyncio.run(TASKS[sys.argv[1]](*sys.argv[2:])), sys.stdout)
