"""Processes to measure, and what the operating system says that they have cost."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporter.exposition.catalog import Settings as Shown
from exporter.exposition.catalog import buckets
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import State
from exporter.tracking.tallies import Limits
from exporter.tracking.tracker import Tracker
from exporter.unpod.client import Client, Settings, StaticToken

AGENT = "bench"


@contextmanager
def platform(count: int, size: int, open_: int, apart: float = 1.0) -> Iterator[str]:
    """The base URL of a platform with these tasks."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.platform", *map(str, (count, size, open_, port, apart))]
    with subprocess.Popen(command) as process:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        try:
            yield url
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens at yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            spent(url)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(url)


def spent(url: str, size: int | None = None) -> dict[str, int]:
    """Requests and bytes of the platform since this was asked last; sets the size of its tasks."""
    query = "" if size is None else f"?size={size}"
    with urllib.request.urlopen(f"{url}/_spent{query}", timeout=5) as answer:  # noqa: S310 - our own address
        found: dict[str, int] = json.load(answer)
        return found


def in_process(task: str, *arguments: object) -> dict[str, Any]:
    """What ``python -m benchmarks.tasks TASK ARGUMENTS`` prints, run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tasks", task, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cpu() -> float:
    """Seconds of processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """The memory that this process has now, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def opened(state: str) -> State:
    """The state in this file, or in the database of this URL."""
    if not state.startswith("postgresql:"):
        return await SqliteStorage.open(Path(state))
    from exporter.tracking.postgres import PostgresStorage, Target

    return await PostgresStorage.open(Target(url=state))


async def polls(url: str, state: str, number: int) -> list[dict[str, float]]:
    """Polls the agent so many times; what each poll has cost."""
    rules = Rules(limits=Limits(buckets=dict(buckets(Shown()))), reconcile_interval=0)
    settings = Settings(base_url=url, requests_per_minute=10**7)
    storage = await opened(state)
    found = []
    async with Client(settings, StaticToken("bench")) as client:
        tracker = Tracker(AGENT, client, storage, rules, now=time.time, elapsed=time.monotonic)
        began = time.perf_counter()
        await tracker.load()
        loaded = time.perf_counter() - began
        for _ in range(number):
            before, began = cpu(), time.perf_counter()
            outcome = await tracker.poll()
            if outcome.error is not None:
                raise outcome.error
            wall = time.perf_counter() - began
            found.append({"cpu": cpu() - before, "wall": wall, "load": loaded, "resident": resident(), "peak": peak()})
    await storage.close()
    return found
