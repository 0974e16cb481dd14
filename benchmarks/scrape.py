"""A scrape over HTTP of a thousand agents, and the same numbers served by prometheus_client, side by side."""

from __future__ import annotations

import gzip
import http.client
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from statistics import median, quantiles
from typing import Final

from prometheus_client.parser import text_string_to_metric_families as parsed

from benchmarks.board import Served, served
from benchmarks.table import Row, scaled

_AGENTS: Final = 1_000
_CHANGED: Final = 0.25
"""Of the agents, between two scrapes: they are polled every minute, and scraped every quarter of one."""
_SCRAPES: Final = 40
_OBVIOUS_SCRAPES: Final = 5
TEXT: Final = {"Accept": "text/plain;version=0.0.4"}
OPENMETRICS: Final = {"Accept": "application/openmetrics-text;version=1.0.0"}
GZIP: Final = {"Accept-Encoding": "gzip"}
_KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "text": TEXT,
    "text, gzip": TEXT | GZIP,
    "OpenMetrics, gzip": OPENMETRICS | GZIP,
}


def rows(scale: float) -> Iterator[Row]:
    """How long a scrape takes, and what a publication costs."""
    agents = scaled(_AGENTS, scale, least=50)
    with served("ours", agents) as ours, served("obvious", agents) as obvious:
        series = _compared(ours, obvious)
        what = f"scrape of {agents:,} agents, {series:,} series"
        for kind, headers in _KINDS.items():
            slow = median(timed(obvious.port, headers) for _ in range(_OBVIOUS_SCRAPES))
            for state, changed in (("a quarter of the agents changed", round(agents * _CHANGED)), ("unchanged", 0)):
                fast = median(_after_change(ours, changed, headers) for _ in range(_SCRAPES))
                yield Row(
                    f"{what}, {kind}, {state}: ours / prometheus_client",
                    f"{fast * 1e3:.1f} / {slow * 1e3:.0f} ms",
                    f"{slow / fast:.0f}",
                    "at least 50",
                )
        publications = ours.change(agents)
        yield Row(
            "writing an agent anew whose every number changed, in both formats: median / p99",
            f"{median(publications) * 1e3:.2f} / {quantiles(publications, n=100)[98] * 1e3:.2f} ms",
            goal="at most 1 ms",
        )


def timed(port: int, headers: Mapping[str, str]) -> float:
    """Seconds from the request to the last byte of the answer."""
    began = time.perf_counter()
    fetched(port, headers)
    return time.perf_counter() - began


def fetched(port: int, headers: Mapping[str, str], path: str = "/metrics") -> bytes:
    """The body of an answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Accept-Encoding": "identity", **headers})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise ConnectionError(f"{path}: {answer.status}")
    return body


def _after_change(ours: Served, changed: int, headers: Mapping[str, str]) -> float:
    ours.change(changed)
    return timed(ours.port, headers)


def _compared(ours: Served, obvious: Served) -> int:
    """How many series both show alike. Raises ValueError where they differ."""
    shown, wanted = _series(fetched(ours.port, TEXT | GZIP)), _series(fetched(obvious.port, TEXT | GZIP))
    if shown != wanted:
        raise ValueError(f"{len(shown.items() ^ wanted.items())} series differ")
    return len(shown)


def _series(packed: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The agents' series and their values."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(gzip.decompress(packed).decode())
        for sample in family.samples
        if "agent" in sample.labels
    }
