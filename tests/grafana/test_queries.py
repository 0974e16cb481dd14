"""Every query of every panel, as Grafana would send it, answered by a real Prometheus that scrapes a real exporter."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from grafana.__main__ import boards
from grafana.asking import View, sent, step
from tests.prometheus.stage import SCRAPE_INTERVAL, Stage

pytestmark = pytest.mark.xdist_group("stage")


class Asked(NamedTuple):
    """A query of a panel."""

    board: str
    panel: Mapping[str, Any]
    target: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.board}: {self.panel['title']} ({self.target['refId']})"


def asked() -> Iterator[Asked]:
    for board in boards():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield Asked(board["uid"], panel, target)


def view(stage: Stage, **chosen: str) -> View:
    """All that there is, up to now."""
    return View(stage.begin + 600, time.time(), SCRAPE_INTERVAL, chosen)


async def answer(stage: Stage, query: Asked, looks: View) -> list[dict[str, Any]]:
    """The series that the query gives, each with ``values``."""
    seconds = step(query.panel, looks)
    expr = sent(query.target["expr"], looks, seconds)
    if not query.target.get("instant"):
        return await stage.prometheus.ranges(expr, looks.begin, looks.end, seconds)
    found = await stage.prometheus.api("query", query=expr, time=str(looks.end))
    return [{"metric": one["metric"], "values": [one["value"]]} for one in found["result"]]


def numbers(series: list[dict[str, Any]]) -> list[float]:
    return [float(value) for one in series for _, value in one["values"]]


async def test_every_query_returns_numbers(stage: Stage) -> None:
    empty, odd = [], []
    for query in asked():
        found = numbers(await answer(stage, query, view(stage)))
        empty += [str(query)] * (not found)
        odd += [str(query)] * any(math.isnan(number) or math.isinf(number) for number in found)
    assert (empty, odd) == ([], [])
