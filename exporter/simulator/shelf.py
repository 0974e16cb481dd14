"""The tasks of one agent in the order of the API: newest first, equal times in no particular order."""

from __future__ import annotations

from bisect import bisect_right

from exporter.simulator.tables import dice
from exporter.simulator.tasks import Task


class Shelf:
    """Tasks by ``created``, descending; those without one come last, as the database sorts what is absent."""

    def __init__(self) -> None:
        self._dated: list[Task] = []
        self._starts: list[int] = []
        self._undated: list[Task] = []
        self._by_id: dict[str, Task] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __getitem__(self, task_id: str) -> Task:
        return self._by_id[task_id]

    def add(self, task: Task) -> None:
        """Put a task that is no older than any dated one before."""
        self._by_id[task.id] = task
        if not task.dated:
            self._undated.append(task)
            return
        if not self._dated or self._dated[-1].created != task.created:
            self._starts.append(len(self._dated))
        self._dated.append(task)

    def newest(self, first: int, last: int, order: int = 0) -> list[Task]:
        """Positions ``first`` to ``last`` (exclusive), newest first. ``order`` decides among ties."""
        known = len(self._dated)
        found: list[Task] = []
        low, position = max(known - last, 0), max(known - first, 0)
        while position > low:
            group = bisect_right(self._starts, position - 1) - 1
            start = self._starts[group]
            end = self._starts[group + 1] if group + 1 < len(self._starts) else known
            tied = _ordered(self._dated[start:end], order)
            found += tied[end - position : end - max(start, low)]
            position = start
        if last > known:
            found += _ordered(self._undated, order)[max(first - known, 0) : last - known]
        return found


def _ordered(tied: list[Task], order: int) -> list[Task]:
    tied = tied[::-1]
    if order and len(tied) > 1:
        dice(order).shuffle(tied)
    return tied
