"""A dashboard as a page of HTML: its panels at their places, in the look of Grafana."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from typing import Any, Final

from grafana.asking import View
from grafana.pictures.draw import Answer, Size, drawn
from grafana.pictures.svg import tag

WIDTH: Final = 1200
_CELL: Final = 30
_GAP: Final = 8
_COLUMN: Final = (WIDTH - _GAP) / 24
_TOP: Final = 52
_STYLE: Final = """
body { margin: 0; background: #111217; color: #ccccdc; font: 12px Inter, "DejaVu Sans", sans-serif; }
header { position: absolute; left: 12px; right: 12px; top: 14px; display: flex; gap: 8px; align-items: center; }
header b { font-size: 17px; font-weight: 500; margin-right: auto; }
header span { border: 1px solid #2f3239; border-radius: 3px; background: #181b1f; padding: 4px 8px; }
header span em { color: #8e8e9c; font-style: normal; margin-right: 6px; }
.row { position: absolute; font-size: 15px; font-weight: 500; line-height: 30px; left: 12px; }
.panel { position: absolute; box-sizing: border-box; background: #181b1f; border: 1px solid #26282e;
  border-radius: 3px; }
.panel h2 { font-size: 12.5px; font-weight: 500; margin: 0; padding: 7px 9px 0; height: 17px; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.body { position: absolute; left: 9px; right: 9px; top: 28px; bottom: 5px; overflow: hidden; }
svg { display: block; }
svg text { fill: #9fa0ae; font-size: 10.5px; }
svg text.name { fill: #ccccdc; font-size: 11.5px; }
.grid { stroke: #24272d; }
.legend { line-height: 15px; font-size: 11px; margin-top: 4px; }
.entry { display: inline-block; margin-right: 10px; white-space: nowrap; }
.entry i { display: inline-block; width: 12px; height: 4px; border-radius: 2px; margin: 0 5px 2px 0; }
.figure { height: 100%; display: flex; align-items: center; justify-content: center; font-weight: 500; }
.nothing { height: 100%; display: flex; align-items: center; justify-content: center; color: #8e8e9c; font-size: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th { text-align: right; font-weight: 500; color: #6e9fff; padding: 5px 8px; }
td { text-align: right; padding: 8px; border-top: 1px solid #24272d; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.link { color: #6e9fff; }
"""


def page(board: Mapping[str, Any], view: View, answers: Mapping[int, Answer]) -> str:
    """The page; ``answers`` are what the queries of each panel returned, by its id."""
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    height = _TOP + bottom * (_CELL + _GAP) + 4
    inside = _header(board, view) + "".join(_placed(panel, answers) for panel in board["panels"])
    body = tag("body", tag("div", inside, style=f"position:relative;width:{WIDTH}px;height:{height}px"))
    return f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>{body}'


def _header(board: Mapping[str, Any], view: View) -> str:
    chosen = [
        (one["label"], "Prometheus" if one["type"] == "datasource" else view.chosen.get(one["name"], "All"))
        for one in board["templating"]["list"]
    ]
    times = [time.strftime("%H:%M", time.gmtime(at)) for at in (view.begin, view.end)]
    chips = [tag("span", tag("em", escape(name)) + escape(value)) for name, value in chosen]
    chips.append(
        tag("span", tag("em", time.strftime("%Y-%m-%d", time.gmtime(view.end))) + f"{times[0]} to {times[1]} UTC")
    )
    return tag("header", tag("b", escape(board["title"])) + "".join(chips))


def _placed(panel: Mapping[str, Any], answers: Mapping[int, Answer]) -> str:
    place = panel["gridPos"]
    top = _TOP + place["y"] * (_CELL + _GAP)
    if panel["type"] == "row":
        return tag("div", f"⌄ &nbsp;{escape(panel['title'])}", class_="row", style=f"top:{top}px")
    left, width = _GAP + place["x"] * _COLUMN, place["w"] * _COLUMN - _GAP
    height = place["h"] * (_CELL + _GAP) - _GAP
    size = Size(round(width - 20), height - 35)
    inside = tag("h2", escape(panel["title"])) + tag("div", drawn(panel, answers[panel["id"]], size), class_="body")
    box = f"left:{left:.1f}px;top:{top}px;width:{width:.1f}px;height:{height}px"
    return tag("div", inside, class_="panel", style=box)
