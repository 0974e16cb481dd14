"""How far the first reading of long histories is: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from exporter import logs
from exporter.tracking.log import Log

_PAUSE: Final = 10.0
"""Seconds between two log lines about the same agent."""


class Display(AbstractContextManager["Display"], Protocol):
    """Is told how much of an agent's history has been read: from 0 to 1, and 1 whenever all of it has."""

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
        if ratio >= 1.0:
            self._told.pop(agent, None)
            return
        now = self._elapsed()
        if now - self._told.setdefault(agent, now) >= _PAUSE:
            self._told[agent] = now
            self._log.info("reading history", agent=agent, percent=round(ratio * 100, 1))


class Bars:
    """A bar on a terminal for each agent whose history is being read."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("reading history of {task.fields[agent]}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # What a command prints goes to standard output, bar or not.
            redirect_stdout=False,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, agent: str, ratio: float) -> None:
        if ratio >= 1.0:
            self._end(agent)
            return
        if agent not in self._tasks:
            self._progress.start()
            self._tasks[agent] = self._progress.add_task("", total=1.0, agent=agent)
        self._progress.update(self._tasks[agent], completed=ratio)

    def _end(self, agent: str) -> None:
        if agent in self._tasks:
            self._progress.remove_task(self._tasks.pop(agent))
            if not self._tasks:
                self._progress.stop()


class _Above(io.StringIO):
    """Standard error above the bars: a line that was written past them would tear them apart."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def write(self, text: str) -> int:
        self._console.out(text.removesuffix("\n"), highlight=False)
        return len(text)


def opened(level: logs.Level, form: logs.Format, elapsed: Callable[[], float]) -> tuple[Log, Display]:
    """The log, and what shows progress beside it, both on standard error: bars where a person watches a terminal."""
    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        log = logs.configure(level, form)()
        return log, Lines(log, elapsed)
    return logs.configure(level, form, _Above(console))(), Bars(console)
