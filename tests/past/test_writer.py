"""The past as text: every value is what had happened by then, and the last one is what the exporter shows."""

from __future__ import annotations

import errno
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.exposition import catalog, chunks
from exporter.exposition.family import Family
from exporter.exposition.lines import Format
from exporter.past.annals import Annals
from exporter.past.seam import Seam
from exporter.past.writer import BLOCKS, Span, Writer
from exporter.tracking.dated import Slots
from exporter.tracking.report import Report
from exporter.tracking.tallies import Key, Limits, families, plus

STEP = 60
BEGIN = 1_764_000_000 // 7_200 * 120
"""A slot at which a block begins."""
FAMILIES = catalog.families(catalog.Settings())
LIMITS = Limits(buckets=dict(catalog.buckets(catalog.Settings())))
KEYS: Sequence[Key] = (
    ("tasks_created", "call"),
    ("calls", "outbound", "completed"),
    ("calls", "inbound", "busy"),
    ("call_cost_dollars",),
    ("call_end_codes", 'an "odd"\\ code'),
    ("call_duration_seconds", "outbound", "30.0"),
    ("call_duration_seconds", "outbound", "+Inf"),
    ("call_duration_seconds", "outbound", "sum"),
    ("call_llm_latency_seconds", "count"),
    ("call_llm_latency_seconds", "sum"),
    ("task_transitions", "call", "completed"),
    ("exporter_unknown_values", "cost"),
)
WHOLE = Span(step=STEP)
UNTOLD = ("task_transitions", "exporter_unknown_values")

events = st.lists(
    st.tuples(st.none() | st.integers(BEGIN, BEGIN + 140), st.sampled_from(KEYS), st.integers(1, 10**10)),
    max_size=25,
)
spans = st.builds(
    Span,
    step=st.just(STEP),
    begin=st.none() | st.floats((BEGIN - 20) * STEP, (BEGIN + 160) * STEP),
    end=st.none() | st.floats((BEGIN - 20) * STEP, (BEGIN + 160) * STEP),
    block=st.none() | st.just(7_200),
)
ends = st.floats((BEGIN + 141) * STEP, (BEGIN + 160) * STEP).map(lambda end: round(end, 3))

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]]


class Texts:
    """An output that is remembered."""

    def __init__(self) -> None:
        self.files: list[io.BytesIO] = []

    def begin(self, at: float) -> BinaryIO:
        self.files.append(io.BytesIO())
        return self.files[-1]

    @property
    def texts(self) -> list[str]:
        return [file.getvalue().decode() for file in self.files]


def slots(happened: Sequence[tuple[int | None, Key, int]]) -> Slots:
    found: defaultdict[int | None, defaultdict[Key, int]] = defaultdict(lambda: defaultdict(int))
    for slot, key, amount in happened:
        found[slot][key] += amount
    return found


def totals(happened: Sequence[tuple[int | None, Key, int]]) -> dict[Key, int]:
    numbers: dict[Key, int] = {}
    for _, key, amount in happened:
        numbers = plus(numbers, {key: amount})
    return numbers


@contextmanager
def annals(**agents: Slots) -> Iterator[Annals]:
    with TemporaryDirectory() as folder:
        made = Annals(Path(folder) / "annals.db", FAMILIES)
        try:
            for agent, kept in agents.items():
                made.keep(agent, kept)
            yield made
        finally:
            made.close()


def written(kept: Slots, seam: Seam, span: Span = WHOLE, **labels: str) -> list[str]:
    output = Texts()
    with annals(sales=kept) as made:
        Writer(made, {"sales": seam}, span, labels.items()).write(output)
    return output.texts


def samples(text: str) -> Samples:
    """All samples by name and labels, without those that are the same everywhere. (prometheus_client drops samples of a
    group with several timestamps.)"""
    assert text.endswith("# EOF\n")
    found: defaultdict[Any, list[tuple[float, float]]] = defaultdict(list)
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value, time = line.rsplit(" ", 2)
            name, _, inside = series.partition("{")
            labels = tuple(sorted(label for label in _LABEL.findall(inside) if label[0] != "agent"))
            found[(name, labels)].append((float(time), float(value)))
    return found


_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def shown(numbers: Mapping[Key, int]) -> Mapping[Any, float]:
    """What the exporter shows of these numbers, of the families whose past is told."""
    report = Report(agent="sales", families=families(numbers, LIMITS, {"": 0.0}))
    text = "".join(
        chunks.head(family, Format.OPENMETRICS).decode() + _text(family, report)
        for family in FAMILIES
        if family.told is not None and family.source in report.families
    )
    return {key: values[0][1] for key, values in samples(text + "# EOF\n").items() if not key[0].endswith("_created")}


def _text(family: Family, report: Report) -> str:
    seen = chunks.seen_in({one.source: one for one in FAMILIES}, report)
    lines = chunks.write(family, report, seen, Format.OPENMETRICS).decode().splitlines()
    return "".join(f"{line} 0\n" for line in lines)


def all_of(texts: Sequence[str]) -> Samples:
    merged: defaultdict[Any, list[tuple[float, float]]] = defaultdict(list)
    for text in texts:
        for key, values in samples(text).items():
            merged[key] += values
    return merged


@given(happened=events, end=ends)
@settings(deadline=None)
def test_the_last_values_are_those_that_the_exporter_shows(
    happened: list[tuple[int | None, Key, int]], end: float
) -> None:
    found = all_of(written(slots(happened), Seam(end=end)))
    expected = shown(totals(happened))
    for key, values in found.items():
        assert values[-1] == (pytest.approx(end), pytest.approx(expected[key], rel=1e-15))
    dated = {key[0] for slot, key, _ in happened if slot is not None and key[0] not in UNTOLD}
    assert bool(found) == bool(dated)


@given(happened=events, span=spans, end=ends)
@example(
    happened=[(BEGIN, ("tasks_created", "call"), 1)],
    span=Span(step=STEP, begin=(BEGIN + 1) * STEP + 1.0),
    end=(BEGIN + 1) * STEP + 0.5,
)
@settings(deadline=None)
def test_each_value_is_what_had_happened_by_then_and_nothing_lies_outside_of_the_span(
    happened: list[tuple[int | None, Key, int]], span: Span, end: float
) -> None:
    for key, values in all_of(written(slots(happened), Seam(end=end), span)).items():
        times = [time for time, _ in values]
        assert min(times) >= (span.begin or 0)
        assert max(times) <= min(end + 0.001, span.end or math.inf)
        grid = times[:-1] if times[-1] % STEP else times
        assert grid == [grid[0] + STEP * place for place in range(len(grid))]
        assert sorted(value for _, value in values) == [value for _, value in values], "a counter never falls"
        for time, value in (values[0], values[len(values) // 2], values[-1]):
            by_then = [event for event in happened if event[0] is None or event[0] * STEP <= time]
            assert value == pytest.approx(shown(totals(by_then)).get(key, 0), rel=1e-15)


@given(happened=events, span=spans, end=ends)
@settings(deadline=None)
def test_texts_of_single_blocks_hold_together_what_one_text_holds(
    happened: list[tuple[int | None, Key, int]], span: Span, end: float
) -> None:
    block = 7_200
    whole = Span(step=STEP, begin=span.begin, end=span.end)
    texts = written(slots(happened), Seam(end=end), Span(step=STEP, begin=span.begin, end=span.end, block=block))
    assert all_of(texts) == all_of(written(slots(happened), Seam(end=end), whole))
    blocks = [{time // block for values in samples(text).values() for time, _ in values} for text in texts]
    assert all(len(found) <= 1 for found in blocks)
    assert len({min(found) for found in blocks if found}) == len([found for found in blocks if found])


@given(happened=events, opening=st.dictionaries(st.sampled_from(KEYS), st.integers(1, 10**10)), end=ends)
@settings(deadline=None)
def test_a_past_beside_an_exporter_leads_up_to_what_that_showed_first(
    happened: list[tuple[int | None, Key, int]], opening: dict[Key, int], end: float
) -> None:
    seam = Seam(end=end // STEP * STEP, opening=opening)
    found = all_of(written(slots(happened), seam))
    for key, values in found.items():
        assert values[-1] == (seam.end, pytest.approx(shown(opening)[key], rel=1e-15))
        assert sorted(value for _, value in values) == [value for _, value in values]
        assert values[0][1] >= 0


def test_what_happens_after_the_seam_is_left_to_the_exporter() -> None:
    key = ("calls", "outbound", "completed")
    kept = slots([(BEGIN + 1, key, 2), (BEGIN + 9, key, 5)])
    ((_, values),) = all_of(written(kept, Seam(end=(BEGIN + 5) * STEP, opening={key: 3}))).items()
    assert [value for _, value in values] == [1, 3, 3, 3, 3, 3], "one of three was counted at no known time"


def test_an_exporter_that_began_at_0_is_a_restart() -> None:
    key = ("calls", "outbound", "completed")
    kept = slots([(None, key, 7), (BEGIN + 1, key, 2)])
    ((_, values),) = all_of(written(kept, Seam(end=(BEGIN + 2) * STEP, opening={key: 1}, anew=True))).items()
    assert [value for _, value in values] == [0, 2, 2]


def test_families_that_lead_up_to_nothing_are_left_out() -> None:
    kept = slots([(BEGIN, ("calls", "outbound", "completed"), 1), (BEGIN, ("tasks_created", "call"), 1)])
    found = all_of(written(kept, Seam(end=(BEGIN + 2) * STEP, without=frozenset({"calls"}))))
    assert {name for name, _ in found} == {"unpod_tasks_created_total"}


def test_each_sample_has_the_labels_that_prometheus_would_add() -> None:
    kept = slots([(BEGIN, ("calls", "outbound", "completed"), 1)])
    (text,) = written(kept, Seam(end=(BEGIN + 1) * STEP), job="unpod", instance="exporter:10130")
    assert (
        'unpod_calls_total{agent="sales",job="unpod",instance="exporter:10130",direction="outbound",'
        f'call_status="completed"}} 1.0 {BEGIN * STEP}\n'
    ) in text


def test_where_nothing_is_known_the_text_is_empty() -> None:
    assert written({}, Seam(end=BEGIN * STEP)) == ["# EOF\n"]


def test_a_disk_that_is_full_is_noticed_before_anything_relies_on_the_text() -> None:
    class Full(io.BytesIO):
        def begin(self, at: float) -> BinaryIO:
            return self

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with annals(sales=slots([(BEGIN, ("tasks_created", "call"), 1)])) as made:
        writer = Writer(made, {"sales": Seam(end=(BEGIN + 1) * STEP)}, WHOLE)
        with pytest.raises(OSError, match="No space left"):
            writer.write(Full())


@pytest.mark.parametrize(
    ("span", "complaint"),
    [
        ((0.5, None, None, None), "--step must be of whole seconds"),
        ((60.0, 10.0, 10.0, None), "--from must be before --to"),
    ],
)
def test_spans_that_cannot_be(span: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Span.of(*span)


def test_blocks_are_as_long_as_those_of_prometheus() -> None:
    lengths = [Span.of(60.0, None, None, block).block for block in BLOCKS]
    assert lengths == [7_200 * 3**power for power in range(6)]
