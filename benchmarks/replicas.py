"""Polls per second of one, two and four replicas on one PostgreSQL server, all on this machine."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.measure import free_port, platform
from benchmarks.scrape import TEXT, fetched
from benchmarks.table import Row, scaled
from tests.postgres import running

_AGENTS: Final = 200
_TASKS: Final = 1_000
"""Of each agent."""
_OPEN: Final = 5
_BYTES: Final = 2_000
_REPLICAS: Final = (1, 2, 4)
_SECONDS: Final = 15.0
"""For which polls are counted."""
_PATIENCE: Final = 600.0
"""Seconds."""


def rows(scale: float) -> Iterator[Row]:
    """How many polls end in a second, as compared with one replica."""
    agents = scaled(_AGENTS, scale, least=40)
    alone = 0.0
    for count in _REPLICAS:
        with tempfile.TemporaryDirectory() as folder, platform(_TASKS, _BYTES, _OPEN) as url, running() as server:
            pace = _pace(Path(folder), url, server.database(), agents, count)
        alone = alone or pace
        named = f"{count} replicas" if count > 1 else "1 replica"
        yield Row(f"{agents} agents, {named}: polls a second", f"{pace:.0f}", f"{pace / alone:.2f}")


def _pace(folder: Path, url: str, database: str, agents: int, count: int) -> float:
    with ExitStack() as stack:
        ports = [_started(stack, folder, url, database, agents) for _ in range(count)]
        deadline = time.monotonic() + _PATIENCE
        while not _is_even(ports, agents):
            if time.monotonic() > deadline:
                raise TimeoutError("the replicas do not share the agents")
            time.sleep(0.5)
        before, began = sum(map(_polls, ports)), time.perf_counter()
        time.sleep(_SECONDS)
        return (sum(map(_polls, ports)) - before) / (time.perf_counter() - began)


def _started(stack: ExitStack, folder: Path, url: str, database: str, agents: int) -> int:
    """A replica that listens at the port."""
    port = free_port()
    config = {
        "api": {"base_url": url, "token": "bench", "requests_per_minute": 10**7, "max_concurrent_requests": 8},
        "polling": {"interval": "100ms"},
        "agents": [f"outbound-sales-agent-{place:04d}" for place in range(agents)],
        "discovery": {"enabled": False},
        "state": {"url": database, "replicas": True},
    }
    file = folder / f"{port}.yaml"
    file.write_text(json.dumps(config))
    command = [sys.executable, "-m", "exporter", "run", "--config.file", str(file)]
    command += ["--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"]
    process = stack.enter_context(subprocess.Popen(command))
    stack.callback(process.send_signal, signal.SIGTERM)
    return port


def _text(port: int) -> str:
    try:
        return fetched(port, TEXT).decode()
    except OSError:
        return ""


def _is_even(ports: list[int], agents: int) -> bool:
    """Whether all agents have been read, by each replica as many as by any other."""
    held = [len(re.findall(r"^unpod_agent_history_complete\S+ 1", _text(port), re.MULTILINE)) for port in ports]
    return sum(held) == agents and max(held) - min(held) <= 1


def _polls(port: int) -> int:
    found = re.findall(r"^unpod_agent_polls_total\S+ (\S+)$", _text(port), re.MULTILINE)
    return sum(int(float(number)) for number in found)
