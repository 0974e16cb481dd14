"""`run` in a process of its own, whose clock is a file, and wrong by some seconds; what does not jump is real, or
so many times faster."""

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


def main(config: str, clock: str, skew: str, port: str, faster: str = "1") -> None:
    """Serves at the port, 0 being any, until it is stopped."""
    pace = float(faster)

    def now() -> float:
        return float(Path(clock).read_text()) + float(skew)

    def elapsed() -> float:
        return time.monotonic() * pace

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / pace)

    # Its clock stands still while seconds pass, and jumps on: here alone that does not mean that somebody has set it.
    tracker._JUMP = math.inf  # type: ignore[misc]

    log, display = opened("info", "logfmt", time.monotonic)
    web = service.Web(listen=(Address("127.0.0.1", int(port)),))
    told = service.Clock(now=now, elapsed=elapsed, sleep=sleep)
    asyncio.run(service.run(load(Path(config), os.environ), web, log, display, clock=told))


if __name__ == "__main__":
    main(*sys.argv[1:])
