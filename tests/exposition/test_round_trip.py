"""What is rendered says what was reported, in the eyes of Prometheus' own Python parsers: no more, no less."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest as generate_text
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from exporter.exposition import catalog as catalogs
from exporter.exposition import packing
from exporter.exposition.family import Family, Kind, Label, Scope
from exporter.exposition.lines import Format
from exporter.exposition.render import Board
from exporter.tracking import report as reports
from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Report, Summary, Total

CATALOG = catalogs.families(catalogs.Settings())
FAMILIES = [family for family in CATALOG if family.scope is Scope.AGENT and family.name != catalogs.INFO]
INFO = next(family for family in CATALOG if family.name == catalogs.INFO)
WRITERS = {Format.TEXT: generate_text, Format.OPENMETRICS: generate_openmetrics}
PARSERS = {Format.TEXT: parse_text, Format.OPENMETRICS: parse_openmetrics}
NOW = 1_763_733_000.0

Sample = tuple[str, frozenset[tuple[str, str]]]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ['say "hi"', "two\nlines", "back\\slash", "\\n", 'x"} 1', "संपर्क", "a,b=c{d}", "# HELP", " ", "\r", "\u2028"]
)
counts = st.integers(0, 2**53)
amounts = st.floats(0, 1e15)
times = st.floats(0, 4e9)


def label_sets(family: Family) -> st.SearchStrategy[tuple[str, ...]]:
    return st.tuples(*(texts if label.values is None else st.sampled_from(label.values) for label in family.labels))


@st.composite
def histograms(draw: st.DrawFn, family: Family) -> Histogram:
    bounds = tuple(sorted(draw(st.sets(st.floats(0, 1e9), min_size=1, max_size=6))))
    one = st.builds(
        Distribution,
        counts=st.lists(st.integers(0, 2**40), min_size=len(bounds) + 1, max_size=len(bounds) + 1).map(tuple),
        sum=amounts,
    )
    return Histogram(draw(times), bounds, draw(st.dictionaries(label_sets(family), one, max_size=3)))


def numbers_of(family: Family) -> st.SearchStrategy[reports.Family]:
    values = label_sets(family)
    match family.kind:
        case Kind.COUNTER:
            return st.builds(Counter, since=times, values=st.dictionaries(values, counts | amounts, max_size=4))
        case Kind.GAUGE:
            return st.builds(Gauge, values=st.dictionaries(values, counts | st.floats(-1e15, 1e15), max_size=4))
        case Kind.SUMMARY:
            totals = st.builds(Total, count=counts, sum=amounts)
            return st.builds(Summary, since=times, values=st.dictionaries(values, totals, max_size=1))
        case Kind.HISTOGRAM:
            return histograms(family)


@st.composite
def reports_of(
    draw: st.DrawFn,
    agents: st.SearchStrategy[str] = texts,
    families: Sequence[Family] = FAMILIES,
    fresh_until: st.SearchStrategy[float | None] = st.just(NOW),  # noqa: B008 -- immutable
) -> Report:
    """A report with some of the families."""
    chosen = draw(st.lists(st.sampled_from(families), unique=True, max_size=8))
    return Report(
        agent=draw(agents),
        families={family.source: draw(numbers_of(family)) for family in chosen},
        info=draw(st.dictionaries(st.sampled_from(["name", "agent_type", "team"]), texts)),
        fresh_until=draw(fresh_until),
    )


some_reports = st.lists(reports_of(), unique_by=lambda report: report.agent, min_size=1, max_size=3)
"""Up to three agents."""


def expected(report: Report, form: Format) -> Iterator[tuple[Sample, float]]:
    """Each sample that a report must show, told from the report alone."""
    agent = {"agent": report.agent}
    info = {"name": "", "agent_type": "unknown", **report.info}
    yield key("unpod_agent_info", agent | info), 1
    for family in FAMILIES:
        numbers = report.families.get(family.source)
        if numbers is not None:
            for values in shown(family, numbers, report):
                labels = agent | dict(zip((label.name for label in family.labels), values, strict=True))
                yield from samples(family.name, labels, numbers, values)
                if form is Format.OPENMETRICS and not isinstance(numbers, Gauge):
                    yield key(f"{family.name.removesuffix('_total')}_created", labels), numbers.since


def key(name: str, labels: dict[str, str]) -> Sample:
    return name, frozenset(labels.items())


def samples(
    name: str, labels: dict[str, str], numbers: reports.Family, values: tuple[str, ...]
) -> Iterator[tuple[Sample, float]]:
    match numbers:
        case Counter() | Gauge():
            yield key(name, labels), numbers.values.get(values, 0)
        case Summary():
            total = numbers.values.get(values, Total(0, 0))
            yield key(f"{name}_count", labels), total.count
            yield key(f"{name}_sum", labels), total.sum
        case Histogram():
            found = numbers.values.get(values, Distribution((0,) * (len(numbers.bounds) + 1), 0))
            for bound, count in zip((*numbers.bounds, float("inf")), accumulate(found.counts), strict=True):
                yield key(f"{name}_bucket", labels | {"le": bucket(bound)}), count
            yield key(f"{name}_count", labels), sum(found.counts)
            yield key(f"{name}_sum", labels), found.sum


def bucket(bound: float) -> str:
    return repr(float(bound))


def shown(family: Family, numbers: reports.Family, report: Report) -> set[tuple[str, ...]]:
    """Label sets with a number, and, where no number means 0, all that are known."""
    found = set(numbers.values)
    if not family.zeroed:
        return found
    sets: set[tuple[str, ...]] = {()}
    for position, label in enumerate(family.labels):
        sets = {(*values, value) for values in sets for value in known(label, position, found, report)}
    assert found <= sets
    return sets


def known(label: Label, position: int, found: set[tuple[str, ...]], report: Report) -> set[str]:
    always = {"execution_type": {"call"}, "direction": {"outbound"}}
    if label.values is None:
        return {values[position] for values in found}
    if label.name not in always:
        return set(label.values)
    return always[label.name] | {
        values[other]
        for family in FAMILIES
        for other, one in enumerate(family.labels)
        if one.name == label.name and family.source in report.families
        for values in report.families[family.source].values
    }


def parsed(family: Metric) -> list[tuple[Sample, float]]:
    return [(key(one.name, number_le(one.labels)), one.value) for one in family.samples]


def number_le(labels: dict[str, str]) -> dict[str, str]:
    return labels | {"le": bucket(float(labels["le"]))} if "le" in labels else labels


@pytest.mark.parametrize("form", Format)
@settings(deadline=None)
@given(some_reports)
def test_the_parser_reads_exactly_what_was_reported_and_the_zeros(form: Format, published: list[Report]) -> None:
    board = Board(CATALOG)
    for report in published:
        board.publish(report)
    families = list(PARSERS[form]((board.render(form, NOW) + form.end).decode()))

    read = [one for family in families for one in parsed(family)]
    assert len(dict(read)) == len(read), "no sample stands there twice"
    assert dict(read) == {sample: value for report in published for sample, value in expected(report, form)}
    assert len({family.name for family in families}) == len(families), "no family stands there twice"
    for family in families:
        declared = next(one for one in CATALOG if one.name.removesuffix("_total") == family.name)
        assert (family.type, family.documentation) == (declared.kind, declared.help)


class Reference:
    """The same numbers, as prometheus_client has them."""

    def __init__(self, published: list[Report], form: Format) -> None:
        self._samples = [sample for report in published for sample in expected(report, form)]

    def collect(self) -> Iterator[Metric]:
        for family in (INFO, *FAMILIES):
            metric = Metric(family.name.removesuffix("_total"), family.help, family.kind, family.unit)
            for (name, labels), value in self._samples:
                if name in sample_names(family):
                    metric.add_sample(name, {label: go(label, text) for label, text in labels}, value)
            if metric.samples:
                yield metric


def go(label: str, text: str) -> str:
    """A label as the metrics of prometheus_client have it, which write the bounds of buckets as Go does."""
    return floatToGoString(text) if label == "le" else text


def sample_names(family: Family) -> set[str]:
    base = family.name.removesuffix("_total")
    return {family.name, *(f"{base}_{suffix}" for suffix in ("bucket", "count", "sum", "created"))}


@pytest.mark.parametrize("form", Format)
@settings(deadline=None)
@given(some_reports)
def test_each_family_reads_as_prometheus_client_writes_it(form: Format, published: list[Report]) -> None:
    board, registry = Board(CATALOG), CollectorRegistry()
    for report in published:
        board.publish(report)
    registry.register(Reference(published, form))
    ours = (board.render(form, NOW) + form.end).decode()
    theirs = WRITERS[form](registry).decode()
    assert described(PARSERS[form](ours)) == described(PARSERS[form](theirs))


def described(families: Iterable[Metric]) -> list[tuple[str, str, str, str, dict[Sample, float]]]:
    """What there is to a family, in the order in which they stand."""
    return [(one.name, one.type, one.documentation, one.unit, dict(parsed(one))) for one in families]


AGENTS = st.sampled_from(["a", "b", "c"])
TIMES = st.sampled_from([1.0, 2.0, 3.0])
SHOWN = [family for family in CATALOG if family.scope is not Scope.PROCESS and family.name != catalogs.INFO]

Removed = str
steps = st.lists(
    reports_of(AGENTS, SHOWN, st.none() | TIMES)
    | AGENTS.map(Removed)
    | st.tuples(st.sampled_from(Format), st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.5])),
    max_size=12,
)
"""Publications, agents that are removed, and looks at the board in a format at a time, which may go back."""


@settings(deadline=None)
@given(steps)
def test_what_is_kept_never_differs_from_writing_anew(steps: list[Report | Removed | tuple[Format, float]]) -> None:
    board = Board(CATALOG)
    done: list[Report | Removed] = []
    for step in steps:
        if isinstance(step, tuple):
            form, now = step
            wanted = replayed(done).render(form, now)
            parts, sums = board.packed(form, now)
            assert gzip.decompress(packing.gzip(parts, sums)) == wanted
            assert board.render(form, now) == wanted
        else:
            done.append(step)
            apply(board, step)


def replayed(steps: list[Report | Removed]) -> Board:
    board = Board(CATALOG)
    for step in steps:
        apply(board, step)
    return board


def apply(board: Board, step: Report | Removed) -> None:
    if isinstance(step, Report):
        board.publish(step)
    else:
        board.remove(step)


@settings(deadline=None)
@given(st.lists(reports_of(AGENTS, SHOWN, st.none() | TIMES)), st.sampled_from(Format), st.sets(AGENTS), TIMES)
def test_some_agents_look_alone_as_they_look_among_all(
    published: list[Report], form: Format, chosen: set[str], now: float
) -> None:
    board = replayed(list(published))
    chosen &= {report.agent for report in published}
    everything = board.render(form, now).decode().split("\n")
    wanted = [line for line in everything if any(f'{{agent="{agent}"' in line for agent in chosen)]
    alone = board.render(form, now, sorted(chosen)).decode().split("\n") if chosen else []
    assert [line for line in alone if line and not line.startswith("#")] == wanted
