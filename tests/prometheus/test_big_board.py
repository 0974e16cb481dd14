"""A real Prometheus scrapes hundreds of agents, compressed, in either format, and reads every number as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import NoReturn

import pytest

from exporter.exposition import catalog as catalogs
from exporter.exposition.family import Family, Kind, Scope
from exporter.exposition.lines import Format
from exporter.exposition.negotiation import choose, wants_gzip
from exporter.exposition.render import Board
from exporter.exposition.scrape import Answer, Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking import report as reports
from exporter.tracking.report import Report
from exporter.web.listen import parse_listen_address, serve
from exporter.web.pages import Pages
from exporter.web.server import create_app
from tests.prometheus.running import scraping

CATALOG = catalogs.families(catalogs.Settings())
FAMILIES = [family for family in CATALOG if family.scope is Scope.AGENT and family.name != catalogs.INFO]
AGENTS = 200
SINCE = 1_700_000_000.0
NOW = 1_763_733_000.0


def report(place: int, number: int) -> Report:
    """Every number of an agent is this one."""
    families = {family.source: numbers(family, number) for family in FAMILIES}
    return Report(agent=f"agent-{place:03d}", families=families, fresh_until=NOW)


def numbers(family: Family, number: int) -> reports.Family:
    sets = list(product(*(label.known or ("a", "b") for label in family.labels)))
    match family.kind:
        case Kind.COUNTER:
            return reports.Counter(SINCE, dict.fromkeys(sets, number))
        case Kind.GAUGE:
            return reports.Gauge(dict.fromkeys(sets, number))
        case Kind.SUMMARY:
            return reports.Summary(SINCE, dict.fromkeys(sets, reports.Total(number, number / 2)))
        case Kind.HISTOGRAM:
            one = reports.Distribution((number,) * (len(family.buckets) + 1), number * 7.5)
            return reports.Histogram(SINCE, family.buckets, dict.fromkeys(sets, one))


class Asked:
    """Answers in one format, whatever is asked for, and keeps what was."""

    def __init__(self, scrape: Scrape, form: Format) -> None:
        self._scrape, self._form = scrape, form
        self.headers: set[tuple[str | None, str | None]] = set()

    def __call__(self, accept: str | None, accept_encoding: str | None, agents: Sequence[str]) -> Answer:
        self.headers.add((accept, accept_encoding))
        return self._scrape(self._form.content_type, accept_encoding, agents)


def nothing(*_: object) -> NoReturn:
    raise NotImplementedError


@asynccontextmanager
async def served(asked: Asked) -> AsyncIterator[str]:
    """The address of a server with these metrics."""
    pages = Pages(metrics=asked, ready=nothing, status=nothing, agent=nothing)
    async with serve(create_app(pages), [parse_listen_address("127.0.0.1:0")]) as (address,):
        yield str(address)


@pytest.mark.parametrize("form", Format)
async def test_prometheus_reads_every_number_of_hundreds_of_agents(tmp_path: Path, form: Format) -> None:
    board = Board(CATALOG)
    for place in range(AGENTS):
        board.publish(report(place, 1 + place % 3))
    now = NOW
    scrape = Scrape(board, Telemetry(CATALOG, version="1", started=SINCE), clock=lambda: now, timer=lambda: 0.0)
    asked = Asked(scrape, form)
    async with served(asked) as address, scraping(tmp_path, address) as prometheus:
        await prometheus.until("up", 1)
        shown = [line for line in scrape.text(form).decode().splitlines() if not line.startswith("#")]
        assert len(shown) > 30_000
        await prometheus.until("scrape_samples_scraped", len(shown))
        total = sum(1 + place % 3 for place in range(AGENTS))
        assert await prometheus.number("sum(unpod_open_runs)") == total
        assert await prometheus.number("sum(unpod_calls_total)") == 10 * total
        assert await prometheus.number("sum(unpod_call_duration_seconds_count)") == 12 * total
        assert await prometheus.number("sum(unpod_call_duration_seconds_sum)") == 7.5 * total
        assert await prometheus.number("count(unpod_agent_info)") == AGENTS

        board.publish(report(0, 1_001))
        await prometheus.until("sum(unpod_open_runs)", total + 1_000)
        board.remove("agent-000")
        await prometheus.until("count(unpod_agent_info)", AGENTS - 1)
        assert await prometheus.number('count({agent="agent-000"})') is None
        now = NOW + 1
        await prometheus.until("count(unpod_open_runs) or vector(0)", 0)
        assert await prometheus.number("count(unpod_agent_up)") == AGENTS - 1
    ((accept, accept_encoding),) = asked.headers
    assert choose(accept) is Format.OPENMETRICS
    assert wants_gzip(accept_encoding)
