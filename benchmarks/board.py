"""A thousand agents' numbers, served by a process of its own: ``python -m benchmarks.board SERVER AGENTS``.

It prints its port, and answers each line of its standard input, a number of agents, once their numbers have changed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, Final, NoReturn

from prometheus_client import CollectorRegistry, Gauge, Histogram, Summary, disable_created_metrics, start_http_server
from prometheus_client import Counter as ClientCounter

from exporter.exposition import catalog as catalogs
from exporter.exposition.family import Family, Kind, Scope
from exporter.exposition.lines import Format
from exporter.exposition.render import Board
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking import report as reports
from exporter.tracking.report import Report
from exporter.web.listen import parse_listen_address, serve
from exporter.web.pages import Pages
from exporter.web.server import create_app

CATALOG: Final = catalogs.families(catalogs.Settings())
FAMILIES: Final = [
    family
    for family in CATALOG
    if family.scope is Scope.AGENT and family.name not in (catalogs.INFO, "unpod_number_calls_total")
]
"""What an agent shows with default settings."""
_CODES: Final = ("customer-ended-call", "voicemail", "silence-timed-out")
_SINCE: Final = 1_700_000_000.0
_FRESH: Final = 4e9


class Served:
    """A server under measurement."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._answer())

    def change(self, agents: int) -> list[float]:
        """Gives so many agents new numbers; the seconds that each took."""
        self._process.stdin.write(f"{agents}\n")
        self._process.stdin.flush()
        seconds: list[float] = json.loads(self._answer())
        return seconds

    def _answer(self) -> str:
        return self._process.stdout.readline()


@contextmanager
def served(server: str, agents: int) -> Iterator[Served]:
    """One of ``SERVERS`` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.board", server, str(agents)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.terminate()


def report(place: int, turn: int) -> Report:
    """What an agent shows; each turn has other numbers in every family."""
    numbers = {family.source: _numbers(family, 1 + (place + turn) % 7) for family in FAMILIES}
    return Report(agent=handle(place), families=numbers, info={"name": f"Agent {place}"}, fresh_until=_FRESH)


def handle(place: int) -> str:
    """An agent's handle, as long as they are."""
    return f"outbound-sales-agent-{place:04d}"


def label_sets(family: Family) -> list[tuple[str, ...]]:
    """Those that an agent shows."""
    return list(product(*(label.known or _CODES for label in family.labels)))


def _numbers(family: Family, number: int) -> reports.Family:
    sets = label_sets(family)
    match family.kind:
        case Kind.COUNTER:
            return reports.Counter(_SINCE, dict.fromkeys(sets, number * 37))
        case Kind.GAUGE:
            return reports.Gauge(dict.fromkeys(sets, number))
        case Kind.SUMMARY:
            return reports.Summary(_SINCE, {labels: reports.Total(number, number * 2.5) for labels in sets})
        case Kind.HISTOGRAM:
            counts = (*([number] * len(family.buckets)), 0)
            distribution = reports.Distribution(counts, number * sum(family.buckets))
            return reports.Histogram(_SINCE, family.buckets, dict.fromkeys(sets, distribution))


async def ours(agents: int) -> None:
    """The exporter's own board and server."""
    board = Board(CATALOG)
    telemetry = Telemetry(CATALOG, version="bench", started=time.time())
    scrape = Scrape(board, telemetry, clock=time.time, timer=time.perf_counter)
    turn = 0
    for place in range(agents):
        board.publish(report(place, turn))
    for form in Format:
        scrape.text(form)

    def change() -> None:
        nonlocal turn
        turn += 1
        changed = [report(place, turn) for place in range(int(sys.stdin.readline()))]
        seconds = []
        for one in changed:
            began = time.perf_counter()
            board.publish(one)
            seconds.append(time.perf_counter() - began)
        _say(json.dumps(seconds))

    asyncio.get_running_loop().add_reader(sys.stdin, change)
    pages = Pages(metrics=scrape, ready=_nothing, status=_nothing, agent=_nothing)
    async with serve(create_app(pages), [parse_listen_address("127.0.0.1:0")]) as bound:
        _say(str(bound[0]).rpartition(":")[2])
        await asyncio.Event().wait()


def _nothing(*_: object) -> NoReturn:
    """Stands in for the pages that nobody asks for here."""
    raise NotImplementedError


async def obvious(agents: int) -> None:
    """The same series as metrics of prometheus_client, served by its own server."""
    disable_created_metrics()
    registry = CollectorRegistry()
    info = Gauge(catalogs.INFO, "Info", ["agent", "name", "agent_type"], registry=registry)
    metrics = {family: _metric(family, registry) for family in FAMILIES}
    for place in range(agents):
        info.labels(handle(place), f"Agent {place}", "unknown").set(1)
        shown = report(place, 0)
        for family, metric in metrics.items():
            for labels in label_sets(family):
                _fill(metric.labels(shown.agent, *labels), shown.families[family.source], labels)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    _say(str(server.server_port))
    await asyncio.to_thread(thread.join)


def _metric(family: Family, registry: CollectorRegistry) -> Any:
    makers: dict[Kind, Callable[..., Any]] = {Kind.COUNTER: ClientCounter, Kind.GAUGE: Gauge, Kind.SUMMARY: Summary}
    names = ["agent", *(label.name for label in family.labels)]
    if family.kind is Kind.HISTOGRAM:
        return Histogram(family.name, family.help, names, registry=registry, buckets=family.buckets)
    return makers[family.kind](family.name, family.help, names, registry=registry)


def _fill(child: Any, numbers: reports.Family, labels: Sequence[str]) -> None:
    """Brings a child of a metric to these numbers."""
    values = numbers.values[tuple(labels)]
    match numbers:
        case reports.Counter():
            child.inc(values)
        case reports.Gauge():
            child.set(values)
        case reports.Summary():
            for _ in range(values.count):
                child.observe(values.sum / values.count)
        case reports.Histogram():
            for bound, count in zip(numbers.bounds, values.counts, strict=False):
                for _ in range(count):
                    child.observe(bound)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


SERVERS: Final = {"ours": ours, "obvious": obvious}

if __name__ == "__main__":
    asyncio.run(SERVERS[sys.argv[1]](int(sys.argv[2])))
