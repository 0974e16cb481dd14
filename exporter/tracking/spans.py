"""Which tasks are still to be read, by their places: how many tasks are older than each."""

from __future__ import annotations

from collections.abc import Iterator

Spans = tuple[tuple[int, int], ...]
"""Places from the first number of each pair to just before the second; the pair of the newest tasks comes first."""


def without(spans: Spans, first: int, end: int) -> Spans:
    """The spans less the places from ``first`` to just before ``end``."""
    parts = (part for start, stop in spans for part in ((max(start, end), stop), (start, min(stop, first))))
    return tuple((start, stop) for start, stop in parts if start < stop)


def grown(spans: Spans, before: int, after: int) -> Spans:
    """The spans where there are ``after`` tasks now, and ``before`` were counted in them."""
    return without(((before, after), *spans), after, max(before, after))


def pages_of(spans: Spans, total: int, size: int) -> Iterator[int]:
    """The pages of this size on which they lie, from 1, where there are so many tasks in all."""
    for start, stop in spans:
        yield from range((total - stop) // size + 1, (total - 1 - start) // size + 2)
