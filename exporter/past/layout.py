"""How the numbers of one label set of a family lie in cells, and become the values of its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import msgspec

from exporter.exposition import chunks
from exporter.exposition.family import Family, Kind
from exporter.exposition.lines import Format, number
from exporter.tracking import report as reports
from exporter.tracking.report import Labels
from exporter.tracking.tallies import BILLION, BILLIONTHS, COUNT, INFINITY, SUM, Key, bound_text

Cells = Sequence[int]


class Layout:
    """Of one family that is counted."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._words = _WORDS[family.kind](family)
        """The last words of the keys of a label set, in the order of its cells; a counter has one cell and no word."""
        self._values = _VALUES[family.kind]
        self._unit = BILLION if family.source in BILLIONTHS else 1

    def place(self, key: Key) -> tuple[Labels, int]:
        """To which label set and cell a number of this family belongs. Raises ValueError where it has no such cell."""
        if not self._words:
            return key[1:], 0
        return key[1:-1], self._words.index(key[-1])

    def keys(self, labels: Labels) -> tuple[Key, ...]:
        """The keys of the numbers of a label set, in the order of its cells."""
        key = (self.family.source, *labels)
        return tuple((*key, word) for word in self._words) or (key,)

    @property
    def width(self) -> int:
        """How many cells a label set has."""
        return len(self._words) or 1

    def series(self, labels: Labels, front: str) -> tuple[str, ...]:
        """The names and labels of its samples as they are written, ``front`` being the labels before its own."""
        bare = msgspec.structs.replace(self.family, zeroed=False)
        text = chunks.samples(bare, _nothing(self.family, labels), {}, front, Format.TEXT).decode()
        return tuple(line.rpartition(" ")[0] for line in text.splitlines())

    def values(self, cells: Cells) -> tuple[str, ...]:
        """The values of its samples, in the same order. No cell is below 0: what is learned of a call later may lead to
        less than was counted first, and Prometheus would take that for a counter's new beginning."""
        return tuple(map(number, self._values([max(0, cell) for cell in cells], self._unit)))


def _counter(cells: Cells, unit: int) -> tuple[float, ...]:
    return (cells[0] if unit == 1 else cells[0] / unit,)


def _histogram(cells: Cells, _: int) -> tuple[float, ...]:
    at_most = tuple(accumulate(cells[:-1]))
    return (*at_most, at_most[-1], cells[-1] / BILLION)


def _summary(cells: Cells, _: int) -> tuple[float, ...]:
    return (cells[0], cells[1] / BILLION)


_WORDS: Final[Mapping[Kind, Callable[[Family], Labels]]] = {
    Kind.COUNTER: lambda family: (),
    Kind.HISTOGRAM: lambda family: (*map(bound_text, family.buckets), INFINITY, SUM),
    Kind.SUMMARY: lambda family: (COUNT, SUM),
}
_VALUES: Final[Mapping[Kind, Callable[[Cells, int], tuple[float, ...]]]] = {
    Kind.COUNTER: _counter,
    Kind.HISTOGRAM: _histogram,
    Kind.SUMMARY: _summary,
}


def _nothing(family: Family, labels: Labels) -> reports.Family:
    """This label set, in which nothing has been counted."""
    if family.kind is Kind.HISTOGRAM:
        empty = reports.Distribution((0,) * (len(family.buckets) + 1), 0)
        return reports.Histogram(0, family.buckets, {labels: empty})
    if family.kind is Kind.SUMMARY:
        return reports.Summary(0, {labels: reports.Total(0, 0)})
    return reports.Counter(0, {labels: 0})
