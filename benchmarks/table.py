"""What every benchmark gives: rows of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """One figure."""

    what: str
    measured: str
    ratio: str = ""
    """Of the two figures that are measured side by side."""
    goal: str = ""
    """What is to be reached."""


Benchmark = Callable[[float], Iterator[Row]]
"""Measures; its argument scales the number of tasks, where 1 is what docs/performance.md tells of."""


def scaled(count: int, scale: float, least: int = 1_000) -> int:
    """So many tasks at this scale."""
    return max(min(count, least), round(count * scale))
