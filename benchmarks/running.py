"""A real exporter, in a process of its own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measure import AGENT, free_port
from benchmarks.scrape import TEXT, fetched

_PATIENCE: Final = 900
"""Seconds."""
_AGAIN: Final = 0.01
"""Seconds between two looks at whether it answers."""


class Exporter(NamedTuple):
    """A real exporter that runs."""

    pid: int
    port: int
    seconds: float
    """From the start of its process until it answered as was wished."""

    def memory(self, what: str) -> int:
        """``VmRSS`` (now) or ``VmHWM`` (the most so far), in bytes."""
        return int(re.findall(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())[0]) * 1024

    def polls(self) -> int:
        """How many polls have ended."""
        text = fetched(self.port, TEXT).decode()
        return sum(
            int(float(number)) for number in re.findall(r"^unpod_agent_polls_total\S+ (\S+)$", text, re.MULTILINE)
        )


@contextmanager
def exporter(
    folder: Path, url: str, *, agents: Sequence[str] = (AGENT,), until: str = "/-/ready", **polling: object
) -> Iterator[Exporter]:
    """An exporter of this platform, with its state in ``folder``, once it answers ``until`` with 200."""
    config = {
        "api": {"base_url": url, "token": "bench", "requests_per_minute": 10**7},
        "polling": polling,
        "agents": list(agents),
        "discovery": {"enabled": False},
        "state": {"path": str(folder / "state.db")},
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [sys.executable, "-m", "exporter", "run", "--config.file", str(folder / "config.yaml")]
    command += ["--web.listen-address", f"127.0.0.1:{port}", "--log.level", "error"]
    began = time.monotonic()
    with subprocess.Popen(command) as process:
        try:
            _wait_for(port, until)
            yield Exporter(process.pid, port, time.monotonic() - began)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(port: int, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            fetched(port, {}, path)
        except (OSError, http.client.HTTPException):
            time.sleep(_AGAIN)
        else:
            return
    raise TimeoutError(f"{path} was never answered well")
