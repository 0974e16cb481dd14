"""`once`, by processes that are killed just before or just after their commit of some number.

A line of standard input is one process: a JSON list of the config, the state (a file or a URL), the time, the file for
what is shown, ``before`` or ``after``, and the number of the commit. The line of standard output that answers is its
exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from exporter.config import StateFlags, load
from exporter.progress import opened
from exporter.service import Clock, assembled
from exporter.tracking.postgres import schema, tables

T = TypeVar("T")


class Deadly:
    """Kills its process at one of its commits."""

    def __init__(self) -> None:
        self.when, self.number, self.commits = "before", 0, 0

    def at(self, commit: Callable[..., T]) -> Callable[..., T]:
        """The same, but that it may kill."""

        def deadly(*values: Any, **more: Any) -> T:
            self.commits += 1
            self._die_if("before")
            done = commit(*values, **more)
            self._die_if("after")
            return done

        return deadly

    def _die_if(self, when: str) -> None:
        if (when, self.commits) == (self.when, self.number):
            os.kill(os.getpid(), signal.SIGKILL)


def file_that_kills(deadly: Deadly) -> type[sqlite3.Connection]:
    """A connection to a state in a file."""

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            execute = super().execute
            return (deadly.at(execute) if statement == "COMMIT" else execute)(statement, *values)

    return Connection


def written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


async def once(config: str, state: str, clock: str, out: str) -> None:
    """Polls every agent once, and writes what it shows to a file."""
    log, _ = opened("info", "logfmt", time.monotonic)
    flags = StateFlags(url=state) if state.startswith("postgresql:") else StateFlags(path=state)
    settings = load(Path(config), os.environ, state=flags)
    async with assembled(settings, log, Clock(now=lambda: float(clock))) as exporter:
        await exporter.fleet.once()
        written(Path(out), exporter.text())


def main() -> None:
    """For each line of standard input: a child of its own, and how it ended."""
    deadly = Deadly()
    sqlite3.connect = partial(sqlite3.connect, factory=file_that_kills(deadly))
    schema.prepare = deadly.at(schema.prepare)
    tables.write = deadly.at(tables.write)
    for line in sys.stdin:
        config, state, clock, out, deadly.when, number = json.loads(line)
        deadly.number = int(number)
        child = os.fork()
        if child == 0:
            asyncio.run(once(config, state, clock, out))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 - it is read by the test


if __name__ == "__main__":
    main()
