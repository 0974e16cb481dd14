"""Panels, each from its JSON and from what its queries returned."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from grafana import palette
from grafana.pictures.svg import line, rect, tag, text
from grafana.pictures.units import ticks, told

CIVIDIS: Final = ["00204d", "00336f", "39486b", "575d6d", "707173", "8a8779", "a69d75", "c4b56c", "e4cf5b", "ffea46"]
AGENTS: Final = (palette.PLAIN, palette.WARNING, palette.SOFT, palette.GOOD, palette.VIVID, palette.BAD, palette.DEEP)
"""For series that are called by agents: one each, in the order of their names."""
_LEGEND_LINE: Final = 15

Panel = Mapping[str, Any]


class Series(NamedTuple):
    """A series that a query returned."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    """Unix seconds and value."""


class Answer(NamedTuple):
    """What the queries of a panel returned."""

    series: Sequence[Sequence[Series]]
    """Of each query."""
    begin: float
    end: float
    step: float

    @property
    def all(self) -> list[Series]:
        return [one for series in self.series for one in series]


class Size(NamedTuple):
    """Pixels."""

    width: float
    height: float


def drawn(panel: Panel, answer: Answer, size: Size) -> str:
    """What is inside of a panel, as HTML."""
    if not answer.all:
        return tag("div", escape(_defaults(panel)["noValue"]), class_="nothing")
    return _KINDS[panel["type"]](panel, answer, size)


def _defaults(panel: Panel) -> Mapping[str, Any]:
    defaults: Mapping[str, Any] = panel["fieldConfig"]["defaults"]
    return defaults


def _overrides(panel: Panel, name: str) -> dict[str, Any]:
    """What is set for the series or the column of this name."""
    found: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        wanted = override["matcher"]["options"]
        if wanted == name or (wanted.startswith("/") and re.search(wanted[1:-1], name)):
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found


def _colours(panel: Panel, series: Sequence[Series]) -> dict[str, str]:
    names = sorted({one.name for one in series})
    others = dict(zip(names, (AGENTS * (len(names) // len(AGENTS) + 1)), strict=False))
    return {name: _overrides(panel, name).get("color", {}).get("fixedColor", others[name]) for name in names}


def _by_threshold(steps: Iterable[Mapping[str, Any]], value: float) -> str:
    colour = palette.PLAIN
    for one in steps:
        if one["value"] is None or value >= one["value"]:
            colour = one["color"]
    return colour


def _worded(mappings: Iterable[Mapping[str, Any]], value: float) -> str | None:
    for mapping in mappings:
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return None


# One number


def _stat(panel: Panel, answer: Answer, size: Size) -> str:
    defaults = _defaults(panel)
    value = answer.all[0].points[-1][1]
    words = _worded(defaults.get("mappings", ()), value) or told(value, defaults["unit"], defaults.get("decimals"))
    colour = _by_threshold(defaults["thresholds"]["steps"], value)
    pixels = min(36.0, size.width / max(len(words), 3) * 1.45)
    return tag("div", escape(words), class_="figure", style=f"color:{colour};font-size:{pixels:.0f}px")


# Over time


class _Plot(NamedTuple):
    """Where a chart stands in its drawing, and what its edges mean."""

    left: float
    top: float
    right: float
    bottom: float
    begin: float
    end: float
    highest: float

    def x(self, at: float) -> float:
        return self.left + (at - self.begin) / (self.end - self.begin) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - value / self.highest * (self.bottom - self.top)


def _over_time(panel: Panel, answer: Answer, size: Size) -> str:
    custom = _defaults(panel).get("custom", {})
    series = sorted(answer.all, key=lambda one: one.name) if custom.get("stacking") else answer.all
    colours = _colours(panel, series)
    legend, legend_lines = _legend([one.name for one in series], colours, size.width)
    height = size.height - legend_lines * _LEGEND_LINE - 4
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    layers = _stack(series) if stacked else [(one, None) for one in series]
    highest = max((value for one, _ in layers for _, value in one.points), default=1.0) or 1.0
    limit = _defaults(panel).get("max")
    highest = limit if limit is not None else highest * 1.05
    plot = _plot(panel, answer, Size(size.width, height), highest)
    shapes = [_axes(panel, plot)]
    for one, below in reversed(layers):
        colour = colours[one.name]
        if custom.get("drawStyle") == "bars":
            shapes.append(_bars(one, below, plot, colour, answer.step))
        elif stacked:
            shapes.append(_area(one, below, plot, colour))
        else:
            shapes.append(_path(one, plot, colour, answer.step))
    shapes.append(_limits(panel, plot))
    return tag("svg", "".join(shapes), width=size.width, height=f"{height:.0f}") + legend


def _stack(series: Sequence[Series]) -> list[tuple[Series, Series | None]]:
    """Each series on top of those before it, with the one that it stands on."""
    moments = sorted({at for one in series for at, _ in one.points})
    values = [dict(one.points) for one in series]
    heights = [list(accumulate(value.get(at, 0.0) for value in values)) for at in moments]
    layers = [
        Series(one.name, one.labels, [(at, heights[row][place]) for row, at in enumerate(moments)])
        for place, one in enumerate(series)
    ]
    return list(zip(layers, [None, *layers[:-1]], strict=True))


def _plot(panel: Panel, answer: Answer, size: Size, highest: float) -> _Plot:
    labels = [told(value, _defaults(panel)["unit"]) for value in ticks(highest, _defaults(panel)["unit"])]
    left = 6.0 * max(map(len, labels)) + 10
    return _Plot(left, 6, size.width - 4, size.height - 18, answer.begin, answer.end, highest)


def _axes(panel: Panel, plot: _Plot) -> str:
    unit = _defaults(panel)["unit"]
    parts = [_times(plot)]
    for value in ticks(plot.highest, unit):
        y = plot.y(value)
        parts.append(line(plot.left, y, plot.right, y, class_="grid"))
        parts.append(text(told(value, unit), plot.left - 6, y + 3.5, anchor="end"))
    return "".join(parts)


def _times(plot: _Plot) -> str:
    span = plot.end - plot.begin
    every = next(step for step in (900, 1800, 3600, 7200, 14400, 43200) if span / step <= (plot.right - plot.left) / 52)
    parts = []
    at = math.ceil(plot.begin / every) * every
    while at <= plot.end:
        x = plot.x(at)
        parts.append(line(x, plot.top, x, plot.bottom, class_="grid"))
        if plot.left + 8 < x < plot.right - 12:
            parts.append(text(time.strftime("%H:%M", time.gmtime(at)), x, plot.bottom + 14, anchor="middle"))
        at += every
    return "".join(parts)


def _bars(one: Series, below: Series | None, plot: _Plot, colour: str, step: float) -> str:
    width = (plot.x(plot.begin + step) - plot.left) * 0.9
    floor = dict(below.points) if below else {}
    shapes = []
    for at, value in one.points:
        bottom, top = plot.y(floor.get(at, 0.0)), plot.y(value)
        left = max(plot.x(at) - width / 2, plot.left)
        if bottom - top > 0.05:
            right = min(plot.x(at) + width / 2, plot.right)
            shapes.append(rect(left, top, right - left, bottom - top, fill=colour, fill_opacity=0.9))
    return "".join(shapes)


def _area(one: Series, below: Series | None, plot: _Plot, colour: str) -> str:
    top = [f"{plot.x(at):.1f},{plot.y(value):.1f}" for at, value in one.points]
    floor = below.points if below else [(at, 0.0) for at, _ in one.points]
    bottom = [f"{plot.x(at):.1f},{plot.y(value):.1f}" for at, value in reversed(floor)]
    return tag("polygon", points=" ".join(top + bottom), fill=colour, fill_opacity=0.8, stroke=colour)


def _path(one: Series, plot: _Plot, colour: str, step: float) -> str:
    commands, last = [], None
    for at, value in one.points:
        pen = "L" if last is not None and at - last <= step * 1.5 else "M"
        commands.append(f"{pen}{plot.x(at):.1f},{plot.y(min(value, plot.highest)):.1f}")
        last = at
    return tag("path", d="".join(commands), fill="none", stroke=colour, stroke_width=1.5, stroke_linejoin="round")


def _limits(panel: Panel, plot: _Plot) -> str:
    """Thresholds as dashed lines, where the panel shows them."""
    defaults = _defaults(panel)
    if defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") != "dashed":
        return ""
    marks = [one for one in defaults["thresholds"]["steps"] if one["value"] is not None and one["value"] < plot.highest]
    return "".join(
        line(
            plot.left,
            plot.y(one["value"]),
            plot.right,
            plot.y(one["value"]),
            stroke=one["color"],
            stroke_dasharray="8 6",
        )
        for one in marks
    )


def _legend(names: Sequence[str], colours: Mapping[str, str], width: float) -> tuple[str, int]:
    """The legend, and how many lines it takes."""
    lines, room = 1, width
    for name in names:
        needed = 6.0 * len(name) + 26
        if needed > room and room < width:
            lines, room = lines + 1, width
        room -= needed
    entries = [
        tag("span", tag("i", style=f"background:{colours[name]}") + escape(name), class_="entry") for name in names
    ]
    return tag("div", "".join(entries), class_="legend"), lines


# Histograms


def _heatmap(panel: Panel, answer: Answer, size: Size) -> str:
    rows = sorted(answer.all, key=lambda one: float(one.labels["le"]))
    bounds = [float(row.labels["le"]) for row in rows]
    cumulated = [dict(row.points) for row in rows]
    moments = sorted({at for row in cumulated for at in row})
    counts = [
        [max(row.get(at, 0.0) - (below.get(at, 0.0) if below else 0.0), 0.0) for at in moments]
        for below, row in pairwise([None, *cumulated])
        if row is not None
    ]
    unit = _defaults(panel)["unit"]
    labels = ["+Inf" if math.isinf(bound) else told(bound, unit) for bound in bounds]
    left = 6.0 * max(map(len, labels)) + 10
    plot = _Plot(left, 4, size.width - 4, size.height - 18, answer.begin, answer.end, len(rows))
    highest = max(max(row) for row in counts) or 1.0
    width = (plot.x(plot.begin + answer.step) - plot.left) - 0.7
    shapes = [_times(plot)]
    for place, row in enumerate(counts):
        top = plot.y(place + 1)
        height = plot.y(place) - top - 0.7
        shapes.append(text(labels[place], plot.left - 6, top + 3.5, anchor="end"))
        for at, count in zip(moments, row, strict=True):
            x = max(plot.x(at) - width / 2, plot.left)
            if count > 1e-9:
                cell = min(plot.x(at) + width / 2, plot.right) - x
                shapes.append(rect(x, top, cell, height, fill=_shade(count / highest)))
    return tag("svg", "".join(shapes), width=size.width, height=f"{size.height:.0f}")


def _shade(share: float) -> str:
    place = math.sqrt(share) * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    pairs = [(int(CIVIDIS[low][at : at + 2], 16), int(CIVIDIS[low + 1][at : at + 2], 16)) for at in (0, 2, 4)]
    return "#" + "".join(f"{round(one + (other - one) * (place - low)):02x}" for one, other in pairs)


# Rankings and tables


def _ranking(panel: Panel, answer: Answer, size: Size) -> str:
    defaults = _defaults(panel)
    series = sorted(answer.all, key=lambda one: -one.points[-1][1])
    highest = max(one.points[-1][1] for one in series) or 1.0
    height = min(26.0, size.height / len(series))
    room = int(size.width * 0.5 / 6.3)
    names = 6.3 * min(max(len(one.name) for one in series), room) + 10
    shapes = []
    for place, one in enumerate(series):
        value = one.points[-1][1]
        fixed = _overrides(panel, one.name).get("color", {}).get("fixedColor")
        colour = fixed or _by_threshold(defaults["thresholds"]["steps"], value)
        y = place * height
        width = max((size.width - names - 46) * value / highest, 1.5)
        name = one.name if len(one.name) <= room else f"{one.name[: room - 1]}…"
        shapes.append(text(name, names - 8, y + height / 2 + 4, anchor="end", class_="name"))
        shapes.append(rect(names, y + 2, width, height - 4, fill=colour, fill_opacity=0.85, rx=1))
        words = told(value, defaults["unit"], defaults.get("decimals"))
        shapes.append(text(words, names + width + 6, y + height / 2 + 4, class_="name"))
    return tag("svg", "".join(shapes), width=size.width, height=f"{size.height:.0f}")


def _table(panel: Panel, answer: Answer, size: Size) -> str:
    names: Mapping[str, str] = panel["transformations"][1]["options"]["renameByName"]
    columns = [title for key, title in names.items() if key.startswith("Value")]
    rows: dict[str, dict[str, float]] = {}
    for title, series in zip(columns, answer.series, strict=True):
        for one in series:
            rows.setdefault(one.labels["agent"], {})[title] = one.points[-1][1]
    (order,) = panel["options"]["sortBy"]
    ranked = sorted(rows.items(), key=lambda row: -row[1].get(order["displayName"], -math.inf))
    head = "".join(
        tag("th", escape(title) + (" ↓" if title == order["displayName"] else "")) for title in ("Agent", *columns)
    )
    body = "".join(
        tag("tr", tag("td", escape(agent), class_="link") + "".join(_cell(panel, title, row) for title in columns))
        for agent, row in ranked
    )
    return tag("table", tag("tr", head) + body)


def _cell(panel: Panel, title: str, row: Mapping[str, float]) -> str:
    if title not in row:
        return tag("td")
    looks = _overrides(panel, title)
    value = row[title]
    words = _worded(looks.get("mappings", ()), value) or told(value, looks["unit"], looks.get("decimals"))
    steps = looks.get("thresholds", {}).get("steps")
    return tag("td", escape(words), **({"style": f"color:{_by_threshold(steps, value)}"} if steps else {}))


_KINDS: Final[Mapping[str, Callable[[Panel, Answer, Size], str]]] = {
    "stat": _stat,
    "timeseries": _over_time,
    "heatmap": _heatmap,
    "bargauge": _ranking,
    "table": _table,
}
