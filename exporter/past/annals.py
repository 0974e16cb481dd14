"""What happened when, of all agents, kept in a file of its own until it is written: a long past is never in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from exporter.exposition.family import Family
from exporter.past.layout import Layout
from exporter.tracking.dated import Slots
from exporter.tracking.report import Labels
from exporter.tracking.tallies import Key, Numbers

_BEGIN: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    # By series and time, the order in which it is written: nothing has to be sorted.
    "CREATE TABLE events (series INTEGER, slot INTEGER, cell INTEGER, amount INTEGER NOT NULL,"
    " PRIMARY KEY (series, slot, cell)) WITHOUT ROWID",
)
_ADD: Final = "INSERT INTO events VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount"

_END: Final = 2**62
"""A slot after all others."""


class Series(msgspec.Struct, frozen=True):
    """A label set of a family of an agent."""

    agent: str
    source: str
    """The family's key in reports."""
    labels: Labels


class Annals:
    """What happened in each step of time, of the families whose past the history tells. ``path`` is a file to be made;
    ``close`` it before it is deleted."""

    def __init__(self, path: Path, families: Iterable[Family]) -> None:
        self.layouts: Mapping[str, Layout] = {
            family.source: Layout(family) for family in families if family.told is not None
        }
        """How each of them lies in cells, in the order of the catalog."""
        self._places: dict[tuple[str, Key], tuple[Series, int]] = {}
        self._numbers: dict[Series, int] = {}
        self._undated: dict[Series, list[int]] = {}
        self._database = sqlite3.connect(path, isolation_level=None)
        for statement in _BEGIN:
            self._database.execute(statement)

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    def keep(self, agent: str, slots: Slots) -> None:
        """Adds what happened to an agent; numbers of families whose past is not told are left out."""
        rows: list[tuple[int, int, int, int]] = []
        for slot, added in slots.items():
            for series, cell, amount in self._placed(agent, added):
                if slot is None:
                    self._undated.setdefault(series, [0] * self.layouts[series.source].width)[cell] += amount
                else:
                    rows.append((self._numbers.setdefault(series, len(self._numbers)), slot, cell, amount))
        self._database.execute("BEGIN")
        self._database.executemany(_ADD, sorted(rows))
        self._database.execute("COMMIT")

    def _placed(self, agent: str, numbers: Numbers) -> Iterator[tuple[Series, int, int]]:
        """The series, the cell and the amount of each number whose past is told."""
        for key, amount in numbers.items():
            if key[0] in self.layouts and amount:
                place = self._places.get((agent, key))
                if place is None:
                    place = self._places[(agent, key)] = self._place(agent, key)
                yield *place, amount

    def _place(self, agent: str, key: Key) -> tuple[Series, int]:
        labels, cell = self.layouts[key[0]].place(key)
        return Series(agent, key[0], labels), cell

    def series(self, source: str) -> list[Series]:
        """Those of a family of which anything is known to have happened at some time, by agent and labels."""
        return sorted((one for one in self._numbers if one.source == source), key=lambda one: (one.agent, one.labels))

    def undated(self, series: Series) -> list[int]:
        """What has happened at no known time, in each cell."""
        return list(self._undated.get(series, [0] * self.layouts[series.source].width))

    def first(self, series: Series) -> int:
        """The first slot in which something happened."""
        (slot,) = self._database.execute(
            "SELECT min(slot) FROM events WHERE series = ?", (self._numbers[series],)
        ).fetchone()
        return int(slot)

    def until(self, series: Series, last: int | None) -> list[int]:
        """What has happened in each cell at known times, up to a slot and with it; None: in all."""
        sums = [0] * self.layouts[series.source].width
        rows = self._database.execute(
            "SELECT cell, sum(amount) FROM events WHERE series = ? AND slot <= ? GROUP BY cell",
            (self._numbers[series], _END if last is None else last),
        )
        for cell, amount in rows:
            sums[cell] = amount
        return sums

    def between(self, series: Series, after: int, last: int | None) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """What happened after a slot and up to another one (None: to the end), slot by slot: cells and amounts."""
        rows = self._database.execute(
            "SELECT slot, cell, amount FROM events WHERE series = ? AND slot > ? AND slot <= ? ORDER BY slot, cell",
            (self._numbers[series], after, _END if last is None else last),
        )
        for slot, found in groupby(rows, key=itemgetter(0)):
            yield slot, [(cell, amount) for _, cell, amount in found]
