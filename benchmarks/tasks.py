"""What is measured in a process of its own: ``python -m benchmarks.tasks TASK ARGUMENTS`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Histogram

from benchmarks.measure import cpu, peak, polls


async def poll(url: str, state: str, number: str) -> list[dict[str, float]]:
    """The exporter polls so many times."""
    return await polls(url, Path(state), int(number))


async def obvious(url: str) -> dict[str, float]:
    """What one would write in an afternoon: every task in one answer, as dicts, counted into prometheus_client."""
    registry = CollectorRegistry()
    status = Counter("tasks", "Tasks", ["status"], registry=registry)
    retries = Counter("retries", "Retries", registry=registry)
    failures = Counter("failures", "Failures", registry=registry)
    calls = Counter("calls", "Calls", ["direction", "status"], registry=registry)
    reasons = Counter("reasons", "End reasons", ["reason"], registry=registry)
    cost = Counter("cost", "Cost", registry=registry)
    messages = Counter("messages", "Messages", ["role"], registry=registry)
    duration = Histogram("duration", "Duration", registry=registry)
    began = cpu()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/api/v2/platform/agents/bench/tasks/?page_size=0") as answer,
    ):
        tasks = (await answer.json())["data"]
    for task in tasks:
        output = task["output"]
        status.labels(task["status"]).inc()
        retries.inc(task["retry_attempt"])
        failures.inc(task["failure_count"])
        if "call_id" not in output:
            continue
        calls.labels(output["call_type"], output["call_status"]).inc()
        reasons.labels(output["call_end_reason"]).inc()
        cost.inc(output["cost"])
        duration.observe(_seconds(output["end_time"]) - _seconds(output["start_time"]))
        for message in output["transcript"]:
            messages.labels(message["role"]).inc()
    return {"cpu": cpu() - began, "peak": peak(), "tasks": len(tasks)}


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


TASKS: dict[str, Any] = {"poll": poll, "obvious": obvious}

if __name__ == "__main__":
    json.dump(asyncio.run(TASKS[sys.argv[1]](*sys.argv[2:])), sys.stdout)
