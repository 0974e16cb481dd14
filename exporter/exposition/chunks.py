"""The numbers of one report -> the samples of one family, as text. A chunk is one family of one agent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, product
from typing import Final

from exporter.exposition.catalog import INFO
from exporter.exposition.family import Family, Kind, Label
from exporter.exposition.lines import Format, encode, header, joined, labels, line, number, sample
from exporter.tracking import report as reports
from exporter.tracking.report import Labels, Report

Seen = Mapping[str, frozenset[str]]
"""The values of each label that occur anywhere in a report."""

_TYPES: Final[Mapping[Kind, type[reports.Family]]] = {
    Kind.COUNTER: reports.Counter,
    Kind.GAUGE: reports.Gauge,
    Kind.HISTOGRAM: reports.Histogram,
    Kind.SUMMARY: reports.Summary,
}
_INFO_DEFAULTS: Final = {"name": "", "agent_type": "unknown"}
LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


class ContractError(ValueError):
    """A report that does not fit the catalog. It names families and labels, never a label's value."""


def check(families: Mapping[str, Family], report: Report) -> None:
    """Refuse a report that cannot be shown: an unknown family, another kind, other labels, an impossible number.

    Raises:
        ContractError: with what does not fit.
    """
    for source, numbers in report.families.items():
        family = families.get(source)
        if family is None:
            raise ContractError(f"{source}: no such family of an agent")
        if not isinstance(numbers, _TYPES[family.kind]):
            raise ContractError(f"{source}: not a {family.kind}")
        _check_labels(family, numbers.values)
        _check_values(source, numbers)
    for name in report.info:
        if name == "agent" or not LABEL_NAME.fullmatch(name):
            raise ContractError(f"{INFO}: {name!r} cannot be the name of a label")


def seen_in(families: Mapping[str, Family], report: Report) -> Seen:
    """The values of each growing, bounded label that occur anywhere in the report."""
    found: dict[str, set[str]] = {}
    for source, numbers in report.families.items():
        for position, label in enumerate(families[source].labels):
            if label.grows and label.values is not None:
                found.setdefault(label.name, set()).update(values[position] for values in numbers.values)
    return {name: frozenset(values) for name, values in found.items()}


def head(family: Family, form: Format) -> bytes:
    """What stands before the samples of a family."""
    return encode(header(form, family.name, family.kind, family.help, family.unit))


def write(family: Family, report: Report, seen: Seen, form: Format) -> bytes:
    """The samples of one family of one agent; nothing where the report does not have it."""
    front = labels([("agent", report.agent)])
    if family.name == INFO:
        return encode(sample(family.name, labels({**_INFO_DEFAULTS, **report.info}.items(), after=front), 1))
    numbers = report.families.get(family.source)
    return b"" if numbers is None else samples(family, numbers, seen, front, form)


def samples(family: Family, numbers: reports.Family, seen: Seen, front: str, form: Format) -> bytes:
    """The samples of one family, zeros included; ``front`` is the text of the labels before its own."""
    names = tuple(label.name for label in family.labels)
    shown = [(joined(front, _own(names, values)), values) for values in _label_sets(family, numbers, seen)]
    return encode("".join(_WRITERS[type(numbers)](family.name, shown, numbers, form)))


@lru_cache(maxsize=4096)
def _own(names: Labels, values: Labels) -> str:
    """The text of a family's own labels, which is the same for all agents."""
    return labels(zip(names, values, strict=True))


def _check_labels(family: Family, values: Iterable[Labels]) -> None:
    domains = [None if label.values is None else frozenset(label.values) for label in family.labels]
    for found in values:
        if len(found) != len(domains):
            raise ContractError(f"{family.source}: {len(domains)} labels are wanted besides agent, not {len(found)}")
        for label, domain, value in zip(family.labels, domains, found, strict=True):
            if domain is not None and value not in domain:
                raise ContractError(f"{family.source}: a value of {label.name} that is not in its vocabulary")


def _check_values(source: str, numbers: reports.Family) -> None:
    if isinstance(numbers, reports.Histogram):
        if any(low >= high for low, high in zip(numbers.bounds, numbers.bounds[1:], strict=False)):
            raise ContractError(f"{source}: bounds do not rise")
        wanted = len(numbers.bounds) + 1
        if any(len(one.counts) != wanted or min(one.counts) < 0 for one in numbers.values.values()):
            raise ContractError(f"{source}: {wanted} counts from 0 are wanted in each distribution")
    elif isinstance(numbers, reports.Counter):
        if not all(value >= 0 for value in numbers.values.values()):
            raise ContractError(f"{source}: a counter below 0")
    elif isinstance(numbers, reports.Summary) and not all(one.count >= 0 for one in numbers.values.values()):
        raise ContractError(f"{source}: a count below 0")


def _label_sets(family: Family, numbers: reports.Family, seen: Seen) -> Iterable[Labels]:
    """The label sets to show: those that have a number, and those known in advance."""
    if not family.zeroed:
        return sorted(numbers.values)
    return product(*(_domain(label, position, numbers, seen) for position, label in enumerate(family.labels)))


def _domain(label: Label, position: int, numbers: reports.Family, seen: Seen) -> Sequence[str]:
    if not label.grows:
        return label.known
    if label.values is None:
        return sorted({*label.known, *(values[position] for values in numbers.values)})
    shown = {*label.known, *seen.get(label.name, ())}
    return [value for value in label.values if value in shown]


Shown = Iterable[tuple[str, Labels]]
"""Label sets, each as text and as it is."""


def _counter(name: str, shown: Shown, numbers: reports.Counter, form: Format) -> Iterator[str]:
    created = _created(name.removesuffix("_total"), numbers.since, form)
    for inside, values in shown:
        yield sample(name, inside, numbers.values.get(values, 0))
        yield created(inside)


def _gauge(name: str, shown: Shown, numbers: reports.Gauge, _: Format) -> Iterator[str]:
    for inside, values in shown:
        yield sample(name, inside, numbers.values.get(values, 0))


def _histogram(name: str, shown: Shown, numbers: reports.Histogram, form: Format) -> Iterator[str]:
    created = _created(name, numbers.since, form)
    ends = [labels([("le", bound)]) for bound in (*map(number, numbers.bounds), "+Inf")]
    nothing = reports.Distribution((0,) * len(ends), 0)
    for inside, values in shown:
        found = numbers.values.get(values, nothing)
        for end, count in zip(ends, accumulate(found.counts), strict=True):
            yield sample(f"{name}_bucket", joined(inside, end), count)
        yield sample(f"{name}_count", inside, sum(found.counts))
        yield sample(f"{name}_sum", inside, found.sum)
        yield created(inside)


def _summary(name: str, shown: Shown, numbers: reports.Summary, form: Format) -> Iterator[str]:
    created = _created(name, numbers.since, form)
    for inside, values in shown:
        found = numbers.values.get(values, reports.Total(0, 0.0))
        yield sample(f"{name}_count", inside, found.count)
        yield sample(f"{name}_sum", inside, found.sum)
        yield created(inside)


def _created(name: str, since: float, form: Format) -> Callable[[str], str]:
    """What writes when counting began, the same for all label sets; where the format has no such samples, nothing."""
    if not form.created:
        return lambda inside: ""
    name, begun = f"{name}_created", number(since)
    return lambda inside: line(name, inside, begun)


_WRITERS: Final[Mapping[type[reports.Family], Callable[..., Iterable[str]]]] = {
    reports.Counter: _counter,
    reports.Gauge: _gauge,
    reports.Histogram: _histogram,
    reports.Summary: _summary,
}
