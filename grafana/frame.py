"""What all dashboards have around their panels: variables, links to the others, annotations of firing alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from grafana import palette
from grafana.panels import SOURCE, Panel

ALERTS: Final = 'ALERTS{alertstate="firing",alertname=~"Unpod.+",agent=~"$agent|"}'
"""Alerts of the chosen agents, and those of no agent. What rules aggregate over has no job and no instance."""
BOARDS: Final = (("unpod-fleet", "Fleet"), ("unpod-agent", "Agent"), ("unpod-exporter", "Exporter"))


class Chapter(NamedTuple):
    """A row of a dashboard: a question, and the panels that answer it."""

    question: str
    panels: Sequence[Panel]


def board(uid: str, about: str, chapters: Sequence[Chapter], *, span: str = "now-6h") -> build.Dashboard:
    """A whole dashboard."""
    title = dict(BOARDS)[uid]
    made = (
        build.Dashboard(f"Unpod / {title}")
        .uid(uid)
        .description(about)
        .tags(["unpod"])
        .readonly()
        .time(span, "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .annotation(_firing())
    )
    for variable in _variables():
        made.with_variable(variable)
    for other, name in BOARDS:
        if other != uid:
            made.link(_link(other, name))
    number = 0
    for chapter in chapters:
        number += 1
        made.with_row(build.Row(chapter.question).id(number))
        for panel in chapter.panels:
            number += 1
            built = panel.build()
            built.id_val = number
            made.with_panel(_Built(built))
    return made


class _Built(build.Panel):
    """A panel that is built already."""

    def __init__(self, panel: model.Panel) -> None:
        self._internal = panel


class _Annotation(model.AnnotationQuery):
    """An annotation from Prometheus, with the fields that the library does not know."""

    def to_json(self) -> dict[str, object]:
        own = {"titleFormat": "{{alertname}}", "textFormat": "{{agent}} {{instance}}", "tagKeys": "severity"}
        return super().to_json() | own | {"step": "60s", "useValueForTime": False}


class _Firing(build.AnnotationQuery):
    def __init__(self) -> None:
        self._internal = _Annotation()


def _firing() -> build.AnnotationQuery:
    return _Firing().name("Firing alerts").datasource(SOURCE).enable(True).icon_color(palette.BAD).expr(ALERTS)


def _link(uid: str, name: str) -> build.DashboardLink:
    link = build.DashboardLink(name).type(model.DashboardLinkType.LINK).url(f"/d/{uid}").icon("dashboard")
    return link.include_vars(True).keep_time(True).tooltip(f"{name}, with the same selection and time")


def _variables() -> Sequence[build.QueryVariable | build.DatasourceVariable]:
    return (
        build.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        _choice("job", "Job", "label_values(unpod_exporter_build_info, job)"),
        _choice("instance", "Instance", 'label_values(unpod_exporter_build_info{job=~"$job"}, instance)'),
        _choice("agent", "Agent", 'label_values(unpod_agent_up{job=~"$job",instance=~"$instance"}, agent)'),
    )


def _choice(name: str, label: str, query: str) -> build.QueryVariable:
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(everything)
    )
