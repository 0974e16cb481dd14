"""How long polls keep the event loop from serving ``/metrics``.

The longest turn of the event loop, in processor time, tells what the polls do, whatever else the machine has to do; the
latency of real scrapes, of the real exporter by another process, tells what comes of it on this machine.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import in_process, platform
from benchmarks.running import exporter
from benchmarks.table import Row, scaled

_TASKS: Final = 40_000
_BYTES: Final = 10_000
"""Of a task: a page of 200 weighs 2 MB."""
_OPEN: Final = 50
_EVERY: Final = 0.005
"""Seconds between two scrapes."""
_STEADY: Final = 15.0
"""Seconds for which steady polls, one a second, are watched."""
_GOAL: Final = "p99 at most 20 ms"


def rows(scale: float) -> Iterator[Row]:
    """Turns of the event loop, and latencies of scrapes, during a first reading and during steady polls."""
    tasks = scaled(_TASKS, scale)
    with platform(tasks, _BYTES, _OPEN) as url, tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.db"
        for name, polls in ((f"while {tasks:,} tasks of 10 KB are read in pages of 2 MB", 1), ("of steady polls", 20)):
            turns = in_process("turns", url, state, polls)
            told = f"{turns['longest'] * 1e3:.1f} ms CPU; above 20 ms: {turns['long']} of {turns['turns']:,}"
            yield Row(f"longest turn of the event loop {name}", told, goal="at most 20 ms")
        fresh = Path(folder) / "fresh"
        fresh.mkdir()
        with exporter(fresh, url, until="/-/healthy", interval="1s") as begun:
            first = _scrapes(begun.port, lambda text: b'unpod_agent_history_complete{agent="bench"} 1' in text)
            end = time.monotonic() + _STEADY
            steady = _scrapes(begun.port, lambda text: time.monotonic() > end)
    yield Row(f"scrapes while {tasks:,} tasks of 10 KB are read in pages of 2 MB", _told(first), goal=_GOAL)
    yield Row("scrapes during steady polls, one a second", _told(steady), goal=_GOAL)


def _scrapes(port: int, is_last: Callable[[bytes], bool]) -> list[float]:
    """Seconds that scrapes took, up to the one whose text is the last that is wanted."""
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        began = time.perf_counter()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        found.append(time.perf_counter() - began)
        if is_last(text):
            connection.close()
            return found
        time.sleep(_EVERY)


def _told(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * part)] * 1e3 for part in (0.5, 0.99))
    return f"{len(ordered)} scrapes: p50 {p50:.1f}, p99 {p99:.1f}, longest {ordered[-1] * 1e3:.1f} ms"
