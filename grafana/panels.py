"""The kinds of panels that the dashboards are made of, so that the same kind looks and behaves the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue as Property
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana import palette
from grafana.promql import finished

Panel = Builder[model.Panel]
Visual = TypeVar("Visual", stat.Panel, timeseries.Panel, heatmap.Panel, table.Panel, bargauge.Panel)

SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
STEP: Final = "1m"
"""The shortest step of a panel: the exporter polls once a minute by default, so that less would show nothing more."""
BARS_STEP: Final = "5m"
AGENT_BOARD: Final = "unpod-agent"
TO_AGENT: Final = (
    f"/d/{AGENT_BOARD}?${{datasource:queryparam}}&${{job:queryparam}}&${{instance:queryparam}}"
    "&var-agent=${__data.fields.Agent:percentencode}&${__url_time_range}"
)
"""The agent of a row, with the same data source, exporters and time."""

Steps = Sequence[tuple[float | None, str]]
"""Values from which a colour holds; the first from None on."""


class Query(NamedTuple):
    """What to ask, and how to call the answer."""

    expr: str
    legend: str = ""


class Column(NamedTuple):
    """A column of a table: one number of each agent."""

    title: str
    expr: str
    unit: str
    steps: Steps = ()
    decimals: int | None = None
    texts: Mapping[str, str] = {}
    """Words in place of numbers."""


def figure(title: str, about: str, unit: str, expr: str, steps: Steps = (), *, width: int = 4, **options: Any) -> Panel:
    """One number, coloured by what it means."""
    panel = (
        stat.Panel()
        .with_target(_target(0, Query(expr), instant=True))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
    )
    return _dressed(panel, title, about, unit, steps or ((None, palette.PLAIN),), width, 4, **options)


def lines(
    title: str,
    about: str,
    unit: str,
    queries: Iterable[Query],
    *,
    steps: Steps = (),
    colours: Mapping[str, str] | None = None,
    step: str = STEP,
    width: int = 8,
    **options: Any,
) -> Panel:
    """Lines over time; thresholds are dashed lines."""
    panel = _over_time(queries, step).fill_opacity(0 if not colours else 8).show_points(looks.VisibilityMode.AUTO)
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED))
    return _coloured(_dressed(panel, title, about, unit, steps, width, 8, **options), colours)


def stacked(
    title: str,
    about: str,
    unit: str,
    queries: Iterable[Query],
    *,
    colours: Mapping[str, str] | None,
    bars: bool = False,
    width: int = 8,
    **options: Any,
) -> Panel:
    """What adds up to a whole over time: areas, or bars for what is counted."""
    panel = _over_time(queries, BARS_STEP if bars else STEP).stacking(
        common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")
    )
    panel.fill_opacity(80).line_width(0 if bars else 1).show_points(looks.VisibilityMode.NEVER)
    if bars:
        panel.draw_style(looks.GraphDrawStyle.BARS).bar_width_factor(0.9)
    return _coloured(_dressed(panel, title, about, unit, (), width, 8, **options), colours)


def spread(title: str, about: str, unit: str, buckets: str, *, width: int = 8) -> Panel:
    """The buckets of a histogram over time, as a heatmap."""
    query = _target(0, Query(f"sum by (le) ({buckets})", "{{le}}")).format(PromQueryFormat.HEATMAP)
    panel = (
        heatmap.Panel()
        .with_target(query)
        .interval(BARS_STEP)
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmaps.HeatmapColorMode.SCHEME)
            .scheme("Cividis")
            .fill(palette.WARNING)
            .scale(heatmaps.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
            .reverse(False)
        )
        .y_axis(heatmap.YAxisConfig().unit(unit).axis_placement(looks.AxisPlacement.LEFT).reverse(False))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(looks.HeatmapCellLayout.AUTO))
        .cell_values(heatmap.CellValues().unit("short").decimals(1))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .mode(looks.TooltipDisplayMode.SINGLE)
        .cell_gap(1)
    )
    return _dressed(panel, title, about, unit, (), width, 8)


def ranking(
    title: str,
    about: str,
    unit: str,
    query: Query,
    *,
    colours: Mapping[str, str] | None = None,
    steps: Steps = (),
    width: int = 8,
    **options: Any,
) -> Panel:
    """Horizontal bars, one for each series, over the whole range."""
    panel = (
        bargauge.Panel()
        .with_target(_target(0, query, instant=True))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(looks.VizOrientation.HORIZONTAL)
        .display_mode(looks.BarGaugeDisplayMode.BASIC)
        .name_placement(looks.BarGaugeNamePlacement.LEFT)
        .show_unfilled(False)
        .min(0)
    )
    return _coloured(
        _dressed(panel, title, about, unit, steps or ((None, palette.PLAIN),), width, 8, **options), colours
    )


def agents_table(title: str, about: str, columns: Sequence[Column], *, worst: str, height: int = 8) -> Panel:
    """One row for each agent, which leads to its dashboard; highest ``worst`` (the title of a column) first."""
    panel = table.Panel().show_header(True).sort_by([common.TableSortByFieldState().display_name(worst).desc(True)])
    names = {"agent": "Agent"}
    for number, column in enumerate(columns):
        query = _target(number, Query(column.expr), instant=True).format(PromQueryFormat.TABLE)
        panel.with_target(query)
        names[f"Value #{_letter(number)}"] = column.title
        panel.override_by_name(column.title, list(_cell(column)))
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    order = {name: place for place, name in enumerate(names)}
    shown = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=shown))
    link = {"title": "Show this agent", "url": TO_AGENT, "targetBlank": False}
    panel.override_by_name("Agent", [Property("links", [link]), Property("custom.minWidth", 160)])
    return _dressed(panel, title, about, "short", (), 24, height)


def _cell(column: Column) -> Iterable[Property]:
    yield Property("unit", column.unit)
    if column.decimals is not None:
        yield Property("decimals", column.decimals)
    if column.texts:
        options = {value: {"text": text} for value, text in column.texts.items()}
        yield Property("mappings", [{"type": "value", "options": options}])
    if column.steps:
        steps = [{"value": value, "color": colour} for value, colour in column.steps]
        yield Property("thresholds", {"mode": "absolute", "steps": steps})
        yield Property("custom.cellOptions", {"type": "color-text"})


def _over_time(queries: Iterable[Query], step: str) -> timeseries.Panel:
    panel = timeseries.Panel().interval(step).line_width(1).span_nulls(False).axis_soft_min(0)
    for number, query in enumerate(queries):
        panel.with_target(_target(number, query))
    legend = common.VizLegendOptions().show_legend(True).display_mode(looks.LegendDisplayMode.LIST)
    panel.legend(legend.placement(looks.LegendPlacement.BOTTOM).calcs([]))
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    return panel.tooltip(tooltip)


def _target(number: int, query: Query, *, instant: bool = False) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(SOURCE).ref_id(_letter(number)).expr(finished(query.expr))
    if query.legend:
        target.legend_format(query.legend)
    return target.instant() if instant else target.range()


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _dressed(
    panel: Visual,
    title: str,
    about: str,
    unit: str,
    steps: Steps,
    width: int,
    height: int,
    *,
    decimals: int | None = None,
    highest: float | None = None,
    texts: Mapping[str, str] | None = None,
    absent: str = "No data",
) -> Visual:
    """What every panel has."""
    panel.title(title).description(about).unit(unit).datasource(SOURCE).span(width).height(height).no_value(absent)
    if steps:
        marks = [model.Threshold(value=value, color=colour) for value, colour in steps]
        panel.thresholds(build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(marks))
        if isinstance(panel, stat.Panel | bargauge.Panel):
            panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if not isinstance(panel, stat.Panel | bargauge.Panel | heatmap.Panel | table.Panel):
        panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    if decimals is not None:
        panel.decimals(decimals)
    if highest is not None:
        panel.max(highest)
    if texts:
        options = {value: model.ValueMappingResult(text=text) for value, text in texts.items()}
        panel.mappings([model.ValueMap(options=options)])
    return panel


def _coloured(panel: Visual, colours: Mapping[str, str] | None) -> Visual:
    """Fixed colours, by the names of the series; a name between slashes is a pattern."""
    for name, colour in (colours or {}).items():
        fixed = [Property("color", {"mode": "fixed", "fixedColor": colour})]
        override: Callable[[str, list[Property]], Any] = (
            panel.override_by_regexp if name.startswith("/") else panel.override_by_name
        )
        override(name, fixed)
    return panel


def of_words(words: Iterable[str]) -> dict[str, str]:
    """The colours of these words."""
    return {word: palette.WORDS[word] for word in words}
