"""Every query of every panel, as Grafana would send it, answered by a real Prometheus that scrapes a real exporter."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

import pytest

from grafana.__main__ import boards
from grafana.asking import View, sent, step
from grafana.pictures.__main__ import answered
from grafana.pictures.page import page
from tests.prometheus.stage import REPLICAS, SCRAPE_INTERVAL, Stage

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


async def answer(stage: Stage, query: Asked, looks: View, *, ever: bool = False) -> list[dict[str, Any]]:
    """The series that the query gives, each with ``values``; ``ever``: at any time, not only where it is looked at."""
    seconds = step(query.panel, looks)
    expr = sent(query.target["expr"], looks, seconds)
    if ever or not query.target.get("instant"):
        return await stage.prometheus.ranges(expr, looks.begin, looks.end, seconds)
    found = await stage.prometheus.api("query", query=expr, time=str(looks.end))
    return [{"metric": one["metric"], "values": [one["value"]]} for one in found["result"]]


async def shown(stage: Stage, query: Asked, looks: View) -> list[dict[str, Any]]:
    """What is shown now; where a panel has words of its own for nothing, as while no call runs, what was shown ever."""
    found = await answer(stage, query, looks)
    has_words = query.panel["fieldConfig"]["defaults"]["noValue"] != "No data"
    return found or (await answer(stage, query, looks, ever=True) if has_words else [])


def numbers(series: list[dict[str, Any]]) -> list[float]:
    return [float(value) for one in series for _, value in one["values"]]


async def test_every_query_returns_numbers(stage: Stage) -> None:
    empty, odd = [], []
    for query in asked():
        found = numbers(await shown(stage, query, view(stage)))
        empty += [str(query)] * (not found)
        odd += [str(query)] * any(math.isnan(number) or math.isinf(number) for number in found)
    assert (empty, odd) == ([], [])


async def test_one_agent_alone_has_numbers_of_its_own(stage: Stage) -> None:
    empty = []
    for query in asked():
        if query.board == "unpod-agent":
            found = await shown(stage, query, view(stage, agent="sales-agent-v1"))
            empty += [str(query)] * (not numbers(found))
            assert {one["metric"].get("agent", "sales-agent-v1") for one in found} <= {"sales-agent-v1"}
    assert empty == []


async def test_an_agent_that_does_not_exist_has_no_data_rather_than_zeros(stage: Stage) -> None:
    found = [
        str(query)
        for query in asked()
        if query.board == "unpod-agent" and await answer(stage, query, view(stage, agent="nobody"))
    ]
    assert found == []


async def test_two_replicas_show_what_one_shows(stage: Stage) -> None:
    both = View(stage.begin + 600, stage.end - 60, SCRAPE_INTERVAL)
    one = both._replace(chosen={"instance": REPLICAS[0]})
    compared = 0
    for query in asked():
        if "max without (instance, pod)" in query.target["expr"]:
            assert_same(await answer(stage, query, both), await answer(stage, query, one), str(query))
            compared += 1
    assert compared > 50


def assert_same(some: list[dict[str, Any]], others: list[dict[str, Any]], what: str) -> None:
    """The same series, with the same values but for the last digits."""
    one, other = (
        {str(sorted(series["metric"].items())): [float(value) for _, value in series["values"]] for series in found}
        for found in (some, others)
    )
    assert one.keys() == other.keys(), what
    assert all(one[labels] == pytest.approx(other[labels]) for labels in one), what


async def test_the_ten_worst_of_fewer_agents_are_all_of_them_at_every_step(stage: Stage) -> None:
    looks = View(stage.begin + 600, stage.end - 60, SCRAPE_INTERVAL)
    compared = 0
    for query in asked():
        every, found, _ = query.target["expr"].partition(" and on (agent) topk(10, ")
        if found:
            alone = query._replace(target={**query.target, "expr": every})
            assert_same(await answer(stage, query, looks), await answer(stage, alone, looks), str(query))
            compared += 1
    assert compared >= 5


async def test_marks_of_alerts_can_be_asked_for(stage: Stage) -> None:
    for board in boards():
        (marks,) = board["annotations"]["list"]
        looks = view(stage)
        await stage.prometheus.ranges(sent(marks["expr"], looks, 60), looks.begin, looks.end, 60)


async def test_the_variables_find_the_agents_and_the_exporters(stage: Stage) -> None:
    for name, wanted in (("job", {"unpod"}), ("instance", set(REPLICAS)), ("agent", None)):
        for board in boards():
            (one,) = (one for one in board["templating"]["list"] if one["name"] == name)
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"]).groups()
            told = await stage.prometheus.api("query", query=f"count by ({label}) ({sent(selector, view(stage), 60)})")
            found = {series["metric"][label] for series in told["result"]}
            assert found == wanted if wanted else len(found) == 5


async def test_every_panel_can_be_drawn_from_what_its_queries_return(stage: Stage) -> None:
    looks = View(stage.begin + 600, stage.end, SCRAPE_INTERVAL)
    for board in boards():
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        answers = {panel["id"]: await answered(stage.prometheus, panel, looks) for panel in panels}
        drawn = page(board, looks, answers)
        assert all(f"<h2>{escape(panel['title'])}</h2>" in drawn for panel in panels)
        assert 'class="nothing"' not in drawn
        assert "nan" not in drawn
