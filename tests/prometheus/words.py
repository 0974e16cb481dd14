"""What a query names, against the catalog: metrics, labels and values of labels that do not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser as promql

from exporter.exposition.catalog import Settings, families
from exporter.exposition.family import Kind, Scope

TARGET = ("job", "instance", "pod")
"""Labels that Prometheus adds."""
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "up": (),
    "scrape_duration_seconds": (),
    "scrape_samples_scraped": (),
    "process_cpu_seconds_total": (),
    "process_resident_memory_bytes": (),
    "process_open_fds": (),
    "process_max_fds": (),
    "process_start_time_seconds": (),
    "ALERTS": ("alertname", "alertstate", "severity", "agent"),
}
"""What others than the exporter's catalog show, and its labels."""
SUFFIXES = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum"), Kind.SUMMARY: ("_count", "_sum")}

Values = Collection[str] | None
"""The values of a label; None where they are open."""


@cache
def known() -> Mapping[str, Mapping[str, Values]]:
    """Every series by name, with its labels and their values."""
    found: dict[str, dict[str, Values]] = {name: dict.fromkeys((*TARGET, *labels)) for name, labels in FOREIGN.items()}
    for family in families(Settings()):
        labels: dict[str, Values] = dict.fromkeys(TARGET)
        if family.scope is Scope.AGENT:
            labels["agent"] = None
        labels |= {label.name: label.values for label in family.labels}
        for suffix in SUFFIXES.get(family.kind, ("",)):
            bounds = {text for bound in family.buckets for text in (f"{bound:g}", str(float(bound)))} | {"+Inf"}
            found[family.name + suffix] = {**labels, "le": bounds} if suffix == "_bucket" else labels
    return found


def nodes(expr: str) -> list[Any]:
    """All parts of a query, the outermost first. Raises ValueError where it is none."""
    found: list[Any] = []
    promql.walk(promql.parse(expr), found.append)
    return found


def selectors(expr: str) -> list[promql.VectorSelector]:
    """What a query selects."""
    return [node for node in nodes(expr) if isinstance(node, promql.VectorSelector)]


def strangers(expr: str, own: Mapping[str, Mapping[str, Values]] | None = None) -> list[str]:
    """What a query names that does not exist, in words. ``own`` are series besides the known ones, such as those of
    recording rules, with their labels."""
    series = {**known(), **(own or {})}
    found = [word for selector in selectors(expr) for word in _of_selector(selector, series)]
    there = {label for selector in selectors(expr) for label in series.get(selector.name or "", ())}
    return found + [f"nothing in {expr} has the label {label}" for label in _grouped(expr) if label not in there]


def _of_selector(selector: promql.VectorSelector, series: Mapping[str, Mapping[str, Values]]) -> Iterator[str]:
    name = selector.name or ""
    if name not in series:
        yield f"there is no {name or selector}"
        return
    for matcher in selector.matchers.matchers:
        if matcher.name not in series[name]:
            yield f"{name} has no label {matcher.name}"
            continue
        values = series[name][matcher.name]
        for wanted in _alternatives(matcher):
            if values is not None and not any(re.fullmatch(wanted, value) for value in values):
                yield f"{matcher.name} of {name} is never {wanted}"


def _alternatives(matcher: promql.Matcher) -> list[str]:
    """The patterns of values that a matcher names, each on its own."""
    if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
        return matcher.value.split("|")
    return [re.escape(matcher.value)] if matcher.value else []


def _grouped(expr: str) -> Iterator[str]:
    """The labels by which a query groups or matches, other than those that it leaves out."""
    for node in nodes(expr):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql.AggregateExpr) and modifier and modifier.type == promql.AggModifierType.By:
            yield from modifier.labels
        matching = modifier.matching if isinstance(node, promql.BinaryExpr) and modifier else None
        if matching and matching.type == promql.LabelModifierType.Include:
            yield from matching.labels
