"""Spans of places against plain sets of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.spans import Spans, grown, pages_of, without

PLACES = st.integers(0, 60)
STEPS = st.lists(st.one_of(st.tuples(PLACES, PLACES).map(sorted), st.integers(0, 40)), max_size=12)
"""Tasks that are read, from one place to another, and tasks that are added."""


def places(spans: Spans) -> set[int]:
    return {place for start, stop in spans for place in range(start, stop)}


@given(STEPS, st.integers(1, 20))
def test_spans_hold_what_was_added_and_not_read_the_newest_first(steps: list[list[int] | int], size: int) -> None:
    spans: Spans = ()
    total, wanted = 0, set[int]()
    for step in steps:
        if isinstance(step, int):
            spans = grown(spans, total, total + step)
            wanted |= set(range(total, total + step))
            total += step
        else:
            spans = without(spans, *step)
            wanted -= set(range(*step))
        assert places(spans) == wanted
        assert sorted(spans, reverse=True) == list(spans)
        assert set(pages_of(spans, total, size)) == {(total - 1 - place) // size + 1 for place in wanted}


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_count_that_falls_leaves_no_place_above_it(before: int, after: int) -> None:
    assert places(grown(((0, before),), before, after)) == set(range(after))
