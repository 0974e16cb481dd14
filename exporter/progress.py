"""How far the first reading of long histories is: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exporter.tracking.fleet import Log

_PAUSE: Final = 10.0
"""Seconds between two log lines about the same agent."""


class Display(AbstractContextManager["Display"], Protocol):
    """Is told how much of an agent's history has been read, from 0 to 1."""

    def __call__(self, agent: str, ratio: float) -> None: ...


class Lines:
    """A log line about each agent now and then; none about a history that is read at once."""

    def __init__(self, log: Log, elapsed: Callable[[], float]) -> None:
        self._log = log
        self._elapsed = elapsed
        self._told: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def __call__(self, agent: str, ratio: float) -> None:
        now = self._elapsed()
        if now - self._told.setdefault(agent, now) >= _PAUSE:
            self._told[agent] = now
            self._log.info("reading history", agent=agent, percent=round(ratio * 100, 1))


class Bars:
    """A bar for each agent whose history is being read, on standard error."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("reading history of {task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, agent: str, ratio: float) -> None:
        if agent not in self._tasks:
            self._progress.start()
            self._tasks[agent] = self._progress.add_task(agent, total=1.0)
        self._progress.update(self._tasks[agent], completed=ratio)
        if ratio >= 1.0:
            self._progress.remove_task(self._tasks.pop(agent))
        if not self._tasks:
            self._progress.stop()


def display(log: Log, elapsed: Callable[[], float]) -> Display:
    """Bars where a person watches a terminal, log lines elsewhere."""
    return Bars() if sys.stderr.isatty() else Lines(log, elapsed)
