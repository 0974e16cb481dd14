"""A thousand agents with a million tasks in a real exporter: scrapes while it polls, its memory, and a Prometheus."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Final, NamedTuple

from benchmarks.measure import free_port, platform
from benchmarks.running import Exporter, exporter
from benchmarks.scrape import GZIP, OPENMETRICS, TEXT, fetched, timed
from benchmarks.table import Row, scaled

_AGENTS: Final = 1_000
_TASKS: Final = 1_000
"""Of each agent."""
_OPEN: Final = 5
_BYTES: Final = 2_000
_SCRAPES: Final = 300
_PAUSE: Final = 0.05
"""Seconds between two scrapes: long enough for the polls to go on."""
_PATIENCE: Final = 60
"""Seconds that Prometheus gets to scrape."""
_PROMETHEUS_SCRAPES: Final = 4
_AGAIN: Final = 0.5
"""Seconds between two looks at how many polls have ended."""
_NEVER: Final = "100d"
_USUAL: Final = "60s"
"""The interval that an exporter has by default."""
_RESTLESS: Final = "1s"
"""One in which no exporter can poll so many."""


def rows(scale: float) -> Iterator[Row]:
    """How scrapes do beside polls, what all that takes, and what Prometheus says of it."""
    agents = scaled(_AGENTS, scale, least=50)
    name = f"{agents:,} agents, {agents * _TASKS:,} tasks"
    with tempfile.TemporaryDirectory() as folder, platform(_TASKS, _BYTES, _OPEN) as url:
        names = [f"outbound-sales-agent-{place:04d}" for place in range(agents)]
        with exporter(Path(folder), url, agents=names, interval=_NEVER, max_staleness=_NEVER) as idle:
            calm = _scrapes(idle.port)
            most = idle.memory("VmHWM")
            yield from _prometheus(Path(folder), idle, name)
        busy = [_busy(Path(folder), url, names, interval) for interval in (_USUAL, _RESTLESS)]
    for one in busy:
        yield Row(
            f"{name}: p99 of a scrape while {one.pace:.0f} polls a second end / while none does",
            f"{_p99(one.scrapes) * 1e3:.1f} / {_p99(calm) * 1e3:.1f} ms",
            f"{_p99(one.scrapes) / _p99(calm):.1f}",
            "at most 5",
        )
        yield Row(f"{name}: median of the same", f"{median(one.scrapes) * 1e3:.1f} / {median(calm) * 1e3:.1f} ms")
    most = max(most, *(one.most for one in busy))
    yield Row(
        f"{name}: resident memory now / at most",
        f"{busy[-1].now / 1e6:.0f} / {most / 1e6:.0f} MB",
        goal="at most 300 MB",
    )


class Busy(NamedTuple):
    """An exporter that has been polling."""

    scrapes: list[float]
    pace: float
    """Polls that ended in a second."""
    now: int
    """Bytes of resident memory."""
    most: int


def _busy(folder: Path, url: str, names: list[str], interval: str) -> Busy:
    with exporter(folder, url, agents=names, interval=interval, max_staleness=_NEVER) as running:
        while running.polls() < len(names):
            # Those that are due at once.
            time.sleep(_AGAIN)
        before, began = running.polls(), time.perf_counter()
        scrapes = _scrapes(running.port)
        pace = (running.polls() - before) / (time.perf_counter() - began)
        return Busy(scrapes, pace, running.memory("VmRSS"), running.memory("VmHWM"))


def _scrapes(port: int) -> list[float]:
    seconds = []
    for _ in range(_SCRAPES):
        seconds.append(timed(port, OPENMETRICS | GZIP))
        time.sleep(_PAUSE)
    return seconds[1:]


def _p99(seconds: list[float]) -> float:
    return quantiles(seconds, n=100)[98]


def _prometheus(folder: Path, target: Exporter, name: str) -> Iterator[Row]:
    """What promtool and a Prometheus say of the whole output."""
    text = fetched(target.port, TEXT)
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    said = (checked.stdout + checked.stderr).decode().strip() or "nothing"
    yield Row(f"{name}: what promtool check metrics has to say", said, goal="nothing")
    port = free_port()
    jobs = {"unpod": target.port, "prometheus": port}
    scrapes = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{at}"]}]} for job, at in jobs.items()]
    (folder / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "5s"}, "scrape_configs": scrapes}))
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(command) as process:
        try:
            _until_scraped(port)
            took, samples, memory = (
                _asked(port, query)
                for query in (
                    'avg_over_time(scrape_duration_seconds{job="unpod"}[1h])',
                    'scrape_samples_scraped{job="unpod"}',
                    'process_resident_memory_bytes{job="prometheus"}',
                )
            )
        finally:
            process.terminate()
    yield Row(f"{name}: Prometheus' scrape_samples_scraped", f"{samples:,.0f}")
    yield Row(f"{name}: Prometheus' scrape_duration_seconds, mean", f"{took * 1e3:.0f} ms")
    yield Row(f"{name}: Prometheus' own resident memory", f"{memory / 1e6:.0f} MB")


def _until_scraped(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    query = 'sum_over_time(up{job="unpod"}[1h])'
    while time.monotonic() < deadline:
        try:
            if _asked(port, query) >= _PROMETHEUS_SCRAPES:
                return
        except (OSError, IndexError):
            pass
        time.sleep(0.5)
    raise TimeoutError("Prometheus does not scrape")


def _asked(port: int, query: str) -> float:
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return float(json.load(answer)["data"]["result"][0]["value"][1])
