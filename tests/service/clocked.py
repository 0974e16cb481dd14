"""`run` in a process of its own, whose clock is a file: the time that stands in it, in Unix seconds."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from exporter import service
from exporter.config import StateFlags, load
from exporter.progress import opened
from exporter.web.listen import Address


def main(config: str, state: str, clock: str) -> None:
    """Serves on any free port until it is stopped."""

    def now() -> float:
        return float(Path(clock).read_text())

    began = now()

    def elapsed() -> float:
        return time.monotonic() + now() - began

    log, display = opened("info", "logfmt", time.monotonic)
    flags = StateFlags(url=state) if state.startswith("postgresql:") else StateFlags(path=state)
    settings = load(Path(config), os.environ, state=flags)
    web = service.Web(listen=(Address("127.0.0.1", 0),))
    asyncio.run(service.run(settings, web, log, display, clock=service.Clock(now=now, elapsed=elapsed)))


if __name__ == "__main__":
    main(*sys.argv[1:])
