"""The rules that every dashboard keeps: ours, and those of Grafana's dashboard-linter."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from exporter.exposition.catalog import Settings, families
from exporter.exposition.family import Kind
from grafana import palette
from grafana.__main__ import boards, listed, written
from grafana.asking import View, sent
from grafana.frame import ALERTS, BOARDS
from tests.prometheus.words import SUFFIXES, known, nodes, selectors, strangers

GRAFANA = Path(__file__).parents[2] / "grafana"
CHOSEN = {"job": "JOB", "instance": "INSTANCE", "agent": "AGENT"}
"""What stands for the variables, so that a test finds it again."""
ACCUMULATING = {
    family.name + suffix
    for family in families(Settings())
    for suffix in {Kind.COUNTER: ("",), **SUFFIXES}.get(family.kind, ())
} | {"process_cpu_seconds_total"}
BY_TARGET = re.compile(r"unpod_exporter_|process_|up$|scrape_")
"""Series of the exporter itself, which each replica has of its own."""

Board = dict[str, Any]
BUILT = {board["uid"]: board for board in boards()}


@pytest.fixture(params=BUILT.values(), ids=BUILT.keys())
def board(request: pytest.FixtureRequest) -> Board:
    """Each dashboard."""
    board: Board = request.param
    return board


def panels(board: Board) -> list[dict[str, Any]]:
    """The panels, without the rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: Board) -> Iterator[tuple[str, str, bool]]:
    """Title, query and whether it is asked for one moment, of each target."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], filled(target["expr"]), bool(target.get("instant"))


def filled(expr: str) -> str:
    """The query with all of its variables filled in: 7 seconds are the rate interval, 5000 the whole range."""
    return sent(expr, View(0, 5000, 1, CHOSEN), 6)


# The files


def test_the_files_are_what_the_code_writes() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in (GRAFANA / "dashboards").iterdir()}
    assert there == {f"{uid}.json": written(board) for uid, board in BUILT.items()}, "make dashboards renews them"


def test_the_list_of_panels_is_what_the_code_writes() -> None:
    page = (GRAFANA / "README.md").read_text(encoding="utf-8")
    assert page == listed(page), "make dashboards renews it"
    assert all(f"- *{panel['title']}*" in page for board in BUILT.values() for panel in panels(board))


def test_the_code_writes_the_same_every_time(tmp_path: Path) -> None:
    script = "from grafana.__main__ import *; [print(written(board), end='') for board in boards()]"
    root = GRAFANA.parent
    again = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout
    assert again == "".join(written(board) for board in BUILT.values())


def test_they_can_be_imported_provisioned_and_read_by_a_sidecar(board: Board) -> None:
    assert "__inputs" not in board
    assert "__requires" not in board
    assert board.get("id") is None
    assert board["editable"] is False
    assert board["schemaVersion"] >= 39, "that of Grafana 11"
    assert re.fullmatch(r"unpod-[a-z]+", board["uid"])
    assert board["title"].startswith("Unpod / ")
    assert board["tags"] == ["unpod"]
    assert board["description"]


def test_the_library_reads_what_it_has_written(board: Board) -> None:
    read = Dashboard.from_json(board)
    assert read.uid == board["uid"]
    assert len(read.panels or ()) == len(board["panels"])


def test_what_provisions_them_finds_them() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/unpod.yml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert f"`{provider['options']['path']}`" in (GRAFANA / "README.md").read_text().replace("\n", " ")


# What is around the panels


def test_each_has_the_variables_of_the_linter(board: Board) -> None:
    source, *choices = board["templating"]["list"]
    assert (source["name"], source["label"], source["type"], source["query"]) == (
        "datasource",
        "Data source",
        "datasource",
        "prometheus",
    )
    assert [(one["name"], one["label"]) for one in choices] == [
        ("job", "Job"),
        ("instance", "Instance"),
        ("agent", "Agent"),
    ]
    for one in choices:
        assert (one["multi"], one["includeAll"], one["allValue"], one["refresh"]) == (True, True, ".+", 2)
        assert one["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"]).groups()
        assert strangers(filled(f"count by ({label}) ({series})")) == []


def test_links_lead_to_the_others_and_keep_what_was_chosen(board: Board) -> None:
    others = {f"/d/{uid}": name for uid, name in BOARDS if uid != board["uid"]}
    assert {link["url"]: link["title"] for link in board["links"]} == others
    assert all(link["includeVars"] and link["keepTime"] for link in board["links"])


def test_the_table_of_agents_leads_to_the_agent_with_all_that_was_chosen() -> None:
    (table,) = (panel for panel in panels(BUILT["unpod-fleet"]) if panel["type"] == "table")
    (links,) = (
        one["value"]
        for override in table["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "links"
    )
    (link,) = links
    address, _, query = link["url"].partition("?")
    assert address == "/d/unpod-agent"
    kept = ("${datasource:queryparam}", "${job:queryparam}", "${instance:queryparam}", "${__url_time_range}")
    assert set(query.split("&")) == {*kept, "var-agent=${__data.fields.Agent:percentencode}"}
    (sorting,) = table["options"]["sortBy"]
    titles = {override["matcher"]["options"] for override in table["fieldConfig"]["overrides"]}
    assert sorting["desc"]
    assert sorting["displayName"] in titles


def test_firing_alerts_are_marked(board: Board) -> None:
    (marks,) = board["annotations"]["list"]
    assert marks["enable"]
    assert marks["expr"] == ALERTS
    assert strangers(filled(marks["expr"])) == []


# The panels


def test_each_has_about_twenty_panels_in_chapters_that_ask_a_question(board: Board) -> None:
    assert len(panels(board)) <= 22
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert board["panels"][0]["type"] == "row"
    assert len(rows) >= 4
    assert all(row.endswith("?") for row in rows)


def test_each_panel_says_what_it_shows_and_in_what_unit(board: Board) -> None:
    for panel in panels(board):
        assert panel["title"], panel
        assert len(panel["description"]) > 20 or panel["title"] == "Agents", panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)


def test_panels_have_ids_of_their_own(board: Board) -> None:
    assert [panel["id"] for panel in board["panels"]] == list(range(1, len(board["panels"]) + 1))
    for panel in panels(board):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_panels_fill_the_grid_and_do_not_overlap(board: Board) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] >= 0 and place["w"] > 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
    bottom = max(place["y"] + place["h"] for place in places)
    assert sum(place["w"] * place["h"] for place in places) == 24 * bottom, "there is a gap"


def test_no_panel_shows_no_data_as_zero(board: Board) -> None:
    for title, expr, _ in queries(board):
        assert not re.search(r"\bor\b|vector\(|absent", expr), title
    assert not any(panel["fieldConfig"]["defaults"].get("custom", {}).get("spanNulls") for panel in panels(board))


def test_thresholds_begin_at_the_bottom_and_rise(board: Board) -> None:
    for panel in panels(board):
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        values = [step.get("value") for step in steps]
        assert values == [] or values[0] is None
        assert values[1:] == sorted(values[1:])


def test_histograms_are_heatmaps_of_their_buckets(board: Board) -> None:
    for panel in panels(board):
        if panel["type"] == "heatmap":
            (target,) = panel["targets"]
            assert target["format"] == "heatmap"
            assert re.match(r"sum by \(le\) \(.*increase\(\w+_bucket\{.*\}\[\$__rate_interval\]\)", target["expr"])


# The queries


def test_every_name_in_a_query_exists(board: Board) -> None:
    for title, expr, _ in queries(board):
        assert strangers(expr) == [], title


def test_every_selector_follows_the_chosen_job_and_instance_and_agent(board: Board) -> None:
    for title, expr, _ in queries(board):
        for selector in selectors(expr):
            chosen = {(one.name, one.value) for one in selector.matchers.matchers if one.op == promql.MatchOp.Re}
            assert {("job", "JOB"), ("instance", "INSTANCE")} <= chosen, (title, expr)
            assert BY_TARGET.match(selector.name or "") or ("agent", "AGENT") in chosen, (title, expr)


def test_counters_are_only_ever_asked_for_their_growth(board: Board) -> None:
    for title, expr, instant in queries(board):
        ranged = set()
        for node in nodes(expr):
            if isinstance(node, promql.Call) and node.func.name in ("rate", "increase"):
                (selected,) = node.args
                ranged.add(selected.vector_selector.name)
                at_end = selected.vector_selector.at is not None
                wanted = 5000 if instant or at_end else 7
                assert selected.range.total_seconds() == wanted, f"{title}: not the range of what is shown"
        named = {selector.name for selector in selectors(expr)}
        assert named & ACCUMULATING == ranged, title


def test_rates_are_over_the_rate_interval(board: Board) -> None:
    for panel in panels(board):
        for target in panel["targets"]:
            ranges = re.findall(r"rate\([^][]*\[([^]]+)\](?! @ end\(\))", target["expr"])
            assert set(ranges) <= {"$__rate_interval"}, panel["title"]


def test_two_replicas_are_not_added_up(board: Board) -> None:
    """Whatever is summed over agents takes the highest of the replicas first."""
    for title, expr, _ in queries(board):
        for node in nodes(expr):
            if isinstance(node, promql.AggregateExpr) and str(node.op) in ("sum", "count"):
                summed = node.prettify()
                about_agents = [one for one in selectors(summed) if not BY_TARGET.match(one.name or "")]
                assert not about_agents or "max without (instance, pod)" in summed, title


# The colours


def fixed(board: Board) -> Iterator[tuple[str, str]]:
    """Names of series and their colours."""
    for panel in panels(board):
        for override in panel["fieldConfig"]["overrides"]:
            for one in override["properties"]:
                if one["id"] == "color":
                    yield override["matcher"]["options"], one["value"]["fixedColor"]


def test_a_word_has_the_same_colour_everywhere() -> None:
    found: dict[str, set[str]] = {}
    for board in BUILT.values():
        for name, colour in fixed(board):
            found.setdefault(name, set()).add(colour)
    words = found.keys() & palette.WORDS.keys()
    assert len(words) > 40
    assert {word: found[word] for word in words} == {word: {palette.WORDS[word]} for word in words}


def test_every_word_that_a_panel_can_show_has_a_colour(board: Board) -> None:
    """Where the series are called by the values of a label, each value has its colour."""
    for panel in panels(board):
        for target in panel["targets"]:
            legend = re.fullmatch(r"{{(\w+)}}", target.get("legendFormat", ""))
            for selector in selectors(filled(target["expr"])) if legend else ():
                words = known()[selector.name or ""].get(legend[1]) or ()
                picked = [one.value for one in selector.matchers.matchers if one.name == legend[1]]
                shown = {word for word in words if all(re.fullmatch(value, word) for value in picked)}
                coloured = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
                assert shown <= coloured or legend[1] in ("field", "le"), (panel["title"], shown - coloured)


def seen(colour: str, kind: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """A colour in CIELAB, as somebody sees it with a colour blindness of this kind."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    red, green, blue = (min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in kind)
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


SIGHTS = {
    "full colour": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
"""How linear RGB is seen (Machado, Oliveira and Fernandes, 2009; severity 1)."""
APART = 11.0
"""The least distance in CIELAB; what one can just tell from its neighbour is about 2.3."""


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_words_of_a_label_can_be_told_apart_with(sight: str) -> None:
    domains = {
        label.values
        for family in families(Settings())
        for label in family.labels
        if label.values and set(label.values) <= palette.WORDS.keys()
    }
    assert len(domains) >= 8
    close = {
        (one, other)
        for words in domains
        for one, other in combinations(words, 2)
        if sum(
            (a - b) ** 2
            for a, b in zip(
                seen(palette.WORDS[one], SIGHTS[sight]), seen(palette.WORDS[other], SIGHTS[sight]), strict=True
            )
        )
        < APART**2
    }
    assert close == set()
