"""Chance: dice that fall the same way for the same seed, and weighted tables."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

Row = TypeVar("Row")


def dice(*seed: object) -> Random:
    """A generator of its own for this seed: the same in every process."""
    return Random("/".join(map(str, seed)))  # noqa: S311 - traffic is made up, nothing is kept secret by it


class Table(Generic[Row]):
    """Rows with weights. Drawing one costs a single random number."""

    def __init__(self, *rows: tuple[float, Row]) -> None:
        self.rows = tuple(row for _, row in rows)
        self._edges = tuple(accumulate(weight for weight, _ in rows))

    def pick(self, random: Random) -> Row:
        """One row."""
        if len(self.rows) == 1:
            return self.rows[0]
        return self.rows[min(bisect_right(self._edges, random.random() * self._edges[-1]), len(self.rows) - 1)]


class Deck(Generic[Row]):
    """Rows dealt like cards: in random order, each once before any comes again, so that rare ones come for certain."""

    def __init__(self, rows: tuple[Row, ...], random: Random) -> None:
        self._rows = rows
        self._random = random
        self._left: list[Row] = []

    def deal(self) -> Row:
        """The next row."""
        if not self._left:
            self._left = self._random.sample(self._rows, len(self._rows))
        return self._left.pop()
