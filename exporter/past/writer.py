"""The annals as OpenMetrics with timestamps: what Prometheus would have scraped, had it been there.

A sample stands at every step of a grid, as if scraped at regular times: from samples at the moments of changes alone
``rate()`` and ``increase()`` would extrapolate nonsense. A series begins one step before its first event. There is no
``_created``. Of each series only what holds at one moment is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final

import msgspec

from exporter.exposition import chunks
from exporter.exposition.lines import Format, encode, labels
from exporter.past.annals import Annals, Series
from exporter.past.output import Output
from exporter.past.seam import Seam

BLOCKS: Final = ("2h", "6h", "18h", "54h", "162h", "486h")
"""The lengths of Prometheus' blocks: each holds three of the one before."""
_AT_ONCE: Final = 1_024
"""Slots that are written at once."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """What of the past is written."""

    step: int
    """Seconds between two samples of a series."""
    begin: float | None = None
    """Unix seconds; None: as far as anything is known."""
    end: float | None = None
    """Unix seconds; None: as far as the past reaches."""
    block: int | None = None
    """How many seconds one text holds, counted from 1970 as Prometheus counts its blocks; None: everything."""

    @classmethod
    def of(cls, step: float, begin: float | None, end: float | None, block: str | None) -> Span:
        """As people write it, ``block`` being one of ``BLOCKS``. Raises ValueError, whose text says what is wrong."""
        if step != round(step):
            raise ValueError("--step must be of whole seconds")
        if begin is not None and end is not None and begin >= end:
            raise ValueError("--from must be before --to")
        return cls(step=round(step), begin=begin, end=end, block=None if block is None else int(block[:-1]) * 3_600)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What has been written."""

    series: int = 0
    samples: int = 0


class Writer:
    """Writes the past of the agents that have a seam. ``extra`` are labels that Prometheus would add."""

    def __init__(
        self, annals: Annals, seams: Mapping[str, Seam], span: Span, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        self._layouts = annals.layouts
        extra = tuple(extra)
        fronts = {agent: labels([("agent", agent), *extra]) for agent in seams}
        self._span = span
        self._end = max((seam.end for seam in seams.values()), default=0.0)
        self._lines: dict[str, list[_Line]] = {
            source: [
                line
                for series in annals.series(source)
                if series.agent in seams
                and source not in seams[series.agent].without
                and (line := _Line(annals, series, seams[series.agent], span, fronts[series.agent])).is_worth_it
            ]
            for source in annals.layouts
        }
        self._samples = 0

    def write(self, output: Output) -> Written:
        """Writes all of it, text by text. Raises OSError where it cannot."""
        lines = [line for of_family in self._lines.values() for line in of_family]
        if not lines:
            self._write(output.begin(self._end), 0, 0)
            return Written()
        for first, last in self._blocks(min(line.first for line in lines), max(line.last for line in lines)):
            if any(line.first <= last and line.last >= first for line in lines):
                self._write(output.begin(first * self._span.step), first, last)
        return Written(series=sum(len(line.names) for line in lines), samples=self._samples)

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The slots of each text."""
        step, block = self._span.step, self._span.block
        while first <= last:
            ends = last if block is None else math.ceil((first * step // block + 1) * block / step) - 1
            yield first, min(ends, last)
            first = ends + 1

    def _write(self, file: BinaryIO, first: int, last: int) -> None:
        for source, lines in self._lines.items():
            shown = [line for line in lines if line.first <= last and line.last >= first]
            if shown:
                file.write(chunks.head(self._layouts[source].family, Format.OPENMETRICS))
            for line in shown:
                for text, samples in line.texts(first, last):
                    file.write(encode(text))
                    self._samples += samples
        file.write(Format.OPENMETRICS.end)
        # A disk that is full tells before anything relies on the text.
        file.flush()


class _Line:
    """The samples of a label set, to be written in the order of time, from the slot ``first`` to ``last``."""

    def __init__(self, annals: Annals, series: Series, seam: Seam, span: Span, front: str) -> None:
        self._annals = annals
        self._series = series
        self._layout = annals.layouts[series.source]
        self._step = span.step
        self._seam = seam.end
        end = math.floor(seam.end / span.step)
        is_cut = span.end is not None and span.end < seam.end
        self._meets_all = seam.is_whole and not is_cut
        """The last sample stands at the seam itself, with all that there is."""
        self.last = math.floor(span.end / span.step) if span.end is not None and is_cut else end
        self.last += self._meets_all and end * span.step < seam.end and seam.end >= (span.begin or 0)
        begins = annals.first(series) - 1
        self.first = begins if span.begin is None else max(begins, math.ceil(span.begin / span.step))
        self._cells = seam.base(annals, series, end)
        self._done = begins
        self.names = self._layout.series(series.labels, front)

    @property
    def is_worth_it(self) -> bool:
        """Whether it has a sample, and ever a value."""
        last = None if self._meets_all else self.last
        held = zip(self._cells, self._annals.until(self._series, last), strict=True)
        return self.first <= self.last and any(base + told > 0 for base, told in held)

    def texts(self, first: int, last: int) -> Iterator[tuple[str, int]]:
        """The samples from a slot to another one, both included, piece by piece, with their number."""
        at, last = max(first, self.first), min(last, self.last)
        until = None if self._meets_all and last == self.last else last
        # What happens before the first sample is in its value.
        for when, happened in self._annals.between(self._series, self._done, until):
            slot = min(when, last)
            if slot > at:
                yield from self._run(at, slot - 1)
                at = slot
            for cell, amount in happened:
                self._cells[cell] += amount
        self._done = last
        yield from self._run(at, last)

    def _run(self, first: int, last: int) -> Iterator[tuple[str, int]]:
        """The same values from a slot to another one."""
        samples = [f"{name} {value}" for name, value in zip(self.names, self._layout.values(self._cells), strict=True)]
        for begin in range(first, last + 1, _AT_ONCE):
            times = self._times(begin, min(last, begin + _AT_ONCE - 1))
            text = "".join([f"{sample} {time}\n" for time in times for sample in samples])
            yield text, len(samples) * len(times)

    def _times(self, first: int, last: int) -> list[str]:
        times = [str(slot * self._step) for slot in range(first, last + 1)]
        if self._meets_all and last == self.last:
            times[-1] = f"{self._seam:.3f}"
        return times
