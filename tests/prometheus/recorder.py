"""An exporter in told time: step by step it polls every agent, and writes down what Prometheus would have scraped.

It is the exporter as it is, over real HTTP, in a process of its own. Only the time is told to it, by itself: from the
begin to now in steps, each written to a file that the platform takes its time from. What it writes is OpenMetrics
with timestamps, from which ``promtool tsdb create-blocks-from openmetrics`` makes the past of a Prometheus.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from exporter import service
from exporter.config import load
from exporter.exposition.scrape import Scrape
from exporter.progress import opened

JOB = "unpod"
ACCEPT = "application/openmetrics-text; version=1.0.0"


class Told:
    """The told time. Who sleeps is past it at once, by a time of its own that only ever goes on."""

    def __init__(self, file: Path, now: float) -> None:
        self._file = file
        self._skipped = 0.0
        self.now = now
        self.step(0.0)

    def step(self, seconds: float) -> None:
        """Goes on by so many seconds."""
        self.now += seconds
        self._skipped += seconds
        self._file.write_text(repr(self.now), encoding="utf-8")

    def elapsed(self) -> float:
        """Real seconds, so that what takes time is measured, and the told ones."""
        return time.monotonic() + self._skipped

    async def sleep(self, seconds: float) -> None:
        self._skipped += seconds
        await asyncio.sleep(0)


def scraped(scrape: Scrape, at: float, instances: Sequence[str]) -> list[str]:
    """The lines of a scrape of each instance, and the samples that Prometheus adds to each."""
    begin = time.perf_counter()
    lines = scrape(ACCEPT, None).body.decode().splitlines()
    seconds = time.perf_counter() - begin
    samples = [line.rpartition(" ")[::2] for line in lines if not line.startswith("#")]
    own = (("up", 1), ("scrape_duration_seconds", seconds), ("scrape_samples_scraped", len(samples)))
    return [
        f"{series[:-1]},{target} {value} {at}\n" if series[-1] == "}" else f"{series}{{{target} {value} {at}\n"
        for target in (f'job="{JOB}",instance="{instance}"}}' for instance in instances)
        for series, value in (*samples, *own)
    ]


async def record(config: Path, clock: Told, step: float, instances: Sequence[str], into: TextIO) -> None:
    """Polls and writes down until the told time is the real one."""
    log, display = opened("error", "logfmt", time.monotonic)
    settings = load(config, os.environ, state_path="state.db")
    told = service.Clock(now=lambda: clock.now, elapsed=clock.elapsed, sleep=clock.sleep)
    async with service.assembled(settings, log, told) as exporter:
        with display:
            while clock.now + step <= time.time():
                clock.step(step)
                await exporter.fleet.once()
                into.writelines(scraped(exporter.scrape, clock.now, instances))
    into.write("# EOF\n")


def main(config: str, clock: str, begin: str, step: str, instances: str, into: str) -> None:
    """Records from ``begin`` (Unix seconds) in steps of ``step`` seconds."""
    with Path(into).open("w", encoding="utf-8") as file:
        told = Told(Path(clock), float(begin))
        asyncio.run(record(Path(config), told, float(step), instances.split(","), file))


if __name__ == "__main__":
    main(*sys.argv[1:])
