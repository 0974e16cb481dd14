"""Changes with their times: what the history tells of the past, for those who want to draw it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

from exporter.tracking.tallies import Draft, Key, Limits, Numbers

Slots = Mapping[int | None, Mapping[Key, int]]
"""What happened within each step of time, by the number since 1970 of the moment that ends it; None: at a time that is
not told."""


class DatedDraft(Draft):
    """A draft that keeps apart what happened in each ``step`` of time (seconds), and hands it to ``keep`` once it has
    been committed. What is told to happen in times to come has no time."""

    def __init__(self, limits: Limits, numbers: Numbers, *, step: float, keep: Callable[[Slots], None]) -> None:
        super().__init__(limits, numbers)
        self._step = step
        self._keep = keep
        self._slots: dict[int | None, defaultdict[Key, int]] = {None: self.added}

    def at(self, moment: float | None) -> None:
        slot = None if moment is None or moment > self.latest else math.ceil(moment / self._step)
        added = self._slots.get(slot)
        if added is None:
            added = self._slots[slot] = defaultdict(int)
        self.added = added

    def total(self) -> Mapping[Key, int]:
        total: defaultdict[Key, int] = defaultdict(int)
        for added in self._slots.values():
            for key, amount in added.items():
                total[key] += amount
        return total

    def committed(self) -> None:
        self._keep(self._slots)
