"""`run` in a process of its own, whose clock is a file, and whose waits are a three-hundredth as long."""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from pathlib import Path

from exporter import service
from exporter.config import load
from exporter.progress import opened
from exporter.tracking import tracker
from exporter.web.listen import Address

FASTER = 300.0


def main(config: str, state: str, clock: str) -> None:
    """Serves on any free port until it is stopped."""

    def now() -> float:
        return float(Path(clock).read_text())

    def elapsed() -> float:
        return time.monotonic() * FASTER

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / FASTER)

    # Its clock stands still while seconds pass, and jumps on: here alone that does not mean that somebody has set it.
    tracker._JUMP = math.inf  # type: ignore[misc]

    log, display = opened("info", "logfmt", time.monotonic)
    settings = load(Path(config), os.environ, state_path=state)
    web = service.Web(listen=(Address("127.0.0.1", 0),))
    asyncio.run(service.run(settings, web, log, display, clock=service.Clock(now=now, elapsed=elapsed, sleep=sleep)))


if __name__ == "__main__":
    main(*sys.argv[1:])
