"""`once`, by processes that are killed just before or just after their commit of some number.

A line of standard input is one process: a JSON list of the config, the state, the time, the file for what is shown,
``before`` or ``after``, and the number of the commit. The line of standard output that answers is its exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from exporter.config import load
from exporter.progress import opened
from exporter.service import Clock, assembled


class Deadly(sqlite3.Connection):
    """Kills its process at one of its commits."""

    when, number, commits = "before", 0, 0

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement != "COMMIT":
            return super().execute(statement, *values)
        Deadly.commits += 1
        self._die_if("before")
        done = super().execute(statement)
        self._die_if("after")
        return done

    def _die_if(self, when: str) -> None:
        if (when, Deadly.commits) == (self.when, self.number):
            os.kill(os.getpid(), signal.SIGKILL)


def written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


async def once(config: str, state: str, clock: str, out: str) -> None:
    """Polls every agent once, and writes what it shows to a file."""
    log, _ = opened("info", "logfmt", time.monotonic)
    settings = load(Path(config), os.environ, state_path=state)
    async with assembled(settings, log, Clock(now=lambda: float(clock))) as exporter:
        await exporter.fleet.once()
        written(Path(out), exporter.text())


def main() -> None:
    """For each line of standard input: a child of its own, and how it ended."""
    sqlite3.connect = partial(sqlite3.connect, factory=Deadly)
    for line in sys.stdin:
        config, state, clock, out, Deadly.when, number = json.loads(line)
        Deadly.number = int(number)
        child = os.fork()
        if child == 0:
            asyncio.run(once(config, state, clock, out))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
