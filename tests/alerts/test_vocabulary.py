"""Rules, and the queries of runbooks, name no metric, label or value that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from exporter.exposition.catalog import Settings, families
from exporter.exposition.family import Family, Kind, Scope
from tests.alerts.promql import grouped, selectors
from tests.alerts.promtool import RULES

RUNBOOKS = sorted((Path(__file__).parents[2] / "docs" / "runbooks").glob("*.md"))
FAMILIES: Mapping[str, Family] = {family.name: family for family in families(Settings())}
TARGET = {"job", "instance", "pod"}
"""Labels that Prometheus adds to whatever it scrapes."""
MADE = {"day"}
"""Labels that a rule makes for its own use."""
LABELS = {label.name for family in FAMILIES.values() for label in family.labels} | TARGET | MADE | {"agent", "le"}
RULES_BY_NAME = {
    rule.get("alert") or f"{rule['record']} {rule.get('labels', '')}": rule
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
}
RECORDED = {rule["record"] for rule in RULES_BY_NAME.values() if "record" in rule}


def queries(page: Path) -> list[str]:
    """The queries of a runbook: blocks of PromQL, and those in a line."""
    text = page.read_text(encoding="utf-8")
    return [
        query.strip()
        for query in re.findall(r"```promql\n(.*?)```|`((?:sum|count|histogram_quantile)[ (][^`]*)`", text, re.S)
        for query in query
        if query
    ]


def expressions() -> Iterator[tuple[str, str]]:
    yield from ((name, rule["expr"]) for name, rule in RULES_BY_NAME.items())
    yield from ((page.stem, query) for page in RUNBOOKS for query in queries(page))


def family_of(name: str) -> tuple[Family, set[str]]:
    """The family of a series, and the labels that its series have."""
    for suffix in ("", "_bucket", "_count", "_sum"):
        family = FAMILIES.get(name.removesuffix(suffix))
        if family is not None and (not suffix or family.kind in (Kind.HISTOGRAM, Kind.SUMMARY)):
            labels = {label.name for label in family.labels} | TARGET | ({"le"} if suffix == "_bucket" else set())
            return family, labels | ({"agent"} if family.scope is Scope.AGENT else set())
    raise AssertionError(f"there is no metric {name}")


def values_of(family: Family, label: str) -> set[str] | None:
    """The values that a label of a family may have; None: any."""
    if label == "le":
        return {str(float(bound)) for bound in family.buckets} | {"+Inf"}
    found = next((one for one in family.labels if one.name == label), None)
    return None if found is None or found.values is None else set(found.values)


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_it_names_only_what_exists(name: str, expression: str) -> None:
    found = list(selectors(expression))
    assert found or re.fullmatch(r"[\d.* ]+", expression), "a query without a metric"
    assert grouped(expression) <= LABELS
    for selector in found:
        if ":" in selector.name:
            assert selector.name in RECORDED
            for matcher in selector.matchers:
                known = [
                    values_of(family, matcher.label)
                    for family in FAMILIES.values()
                    if matcher.label in {label.name for label in family.labels}
                ]
                assert matcher.label in LABELS
                assert not known or any(values is None or values >= set(matcher.values) for values in known), matcher
            continue
        if selector.name == "up":
            continue
        family, labels = family_of(selector.name)
        for matcher in selector.matchers:
            assert matcher.label in labels, f"{selector.name} has no label {matcher.label}"
            values = values_of(family, matcher.label)
            assert values is None or values >= set(matcher.values), f"{matcher} of {selector.name}"


def test_what_does_not_exist_is_found() -> None:
    """The proof of the proof."""
    for wrong in (
        "sum(unpod_cals_total)",
        'unpod_calls_total{status="failed"}',
        'unpod_calls_total{call_status=~"failed|brokn"}',
        "sum by (agnt) (unpod_calls_total)",
        "agent:unpod_cals:increase1h",
        'unpod_exporter_build_info{agent="sales"}',
        'unpod_call_duration_seconds_bucket{le="11.0"}',
    ):
        with pytest.raises(AssertionError):
            test_it_names_only_what_exists("wrong", wrong)


@pytest.mark.parametrize("record", sorted(RECORDED))
def test_a_recorded_name_is_level_metric_operations(record: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)?:unpod_[a-z_]+:[a-z0-9_]+|unpod:threshold:[a-z_]+", record)


def test_each_recorded_series_is_used() -> None:
    used = {selector.name for _, expression in expressions() for selector in selectors(expression)}
    assert used >= RECORDED
