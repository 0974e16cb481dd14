"""A catalog, a board, and reports to publish on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from exporter.exposition import catalog as catalogs
from exporter.exposition.family import Family, Kind, Scope
from exporter.exposition.render import Board
from exporter.exposition.telemetry import Telemetry
from exporter.tracking import report as reports
from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Report, Summary, Total

SINCE = 1_700_000_000.0
FRESH_UNTIL = 1_763_733_300.0

MakeReport = Callable[..., Report]


@pytest.fixture
def catalog() -> tuple[Family, ...]:
    return catalogs.families(catalogs.Settings())


@pytest.fixture
def board(catalog: tuple[Family, ...]) -> Board:
    return Board(catalog)


@pytest.fixture
def telemetry(catalog: tuple[Family, ...]) -> Telemetry:
    return Telemetry(catalog, version="1.2.3", started=SINCE)


@pytest.fixture
def full_report(catalog: tuple[Family, ...]) -> MakeReport:
    """A report with a number in every family, each of them ``number`` where it may be."""

    def make(agent: str = "sales", number: int = 3, **extra: reports.Family) -> Report:
        families = {
            family.source: _numbers(family, number)
            for family in catalog
            if family.scope is not Scope.PROCESS and family.name != catalogs.INFO
        }
        return report(agent, {**families, **extra}, info={"name": "Sales", "agent_type": "Voice"})

    return make


@pytest.fixture
def make_report() -> MakeReport:
    """A report with just these families."""
    return report


def report(
    agent: str,
    families: Mapping[str, reports.Family] = {},
    *,
    info: Mapping[str, str] = {},
    fresh_until: float | None = FRESH_UNTIL,
) -> Report:
    return Report(agent=agent, families=families, info=info, fresh_until=fresh_until)


def _numbers(family: Family, number: int) -> reports.Family:
    labels = tuple((label.known or ("x1",))[0] for label in family.labels)
    match family.kind:
        case Kind.COUNTER:
            return Counter(SINCE, {labels: number})
        case Kind.GAUGE:
            return Gauge({labels: number})
        case Kind.SUMMARY:
            return Summary(SINCE, {labels: Total(number, number * 0.5)})
        case Kind.HISTOGRAM:
            counts = (number,) * (len(family.buckets) + 1)
            return Histogram(SINCE, family.buckets, {labels: Distribution(counts, number * 7.25)})
