"""What will happen when: the heart of the discrete-event simulation."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

Action = Callable[..., None]


class Agenda:
    """Actions in the order of their time, equal times in the order in which they were planned."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._planned: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._order = count()

    def at(self, when: float, action: Action, *args: Any) -> None:
        """Plan ``action(when, *args)``; times are whole milliseconds, and never in the past."""
        heapq.heappush(self._planned, (max(round(when, 3), self.now), next(self._order), action, args))

    def run(self, until: float) -> None:
        """Do all that is planned up to ``until``, what gets planned meanwhile included. Never goes back."""
        while self._planned and self._planned[0][0] <= until:
            when, _, action, args = heapq.heappop(self._planned)
            self.now = when
            action(when, *args)
        self.now = max(self.now, until)
