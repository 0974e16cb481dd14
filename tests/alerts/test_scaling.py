"""The rules of the end-to-end proof are the shipped ones, but for their times."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.alerts import scaling
from tests.alerts.promtool import RULES

ANY = re.compile(r"\b\d+(?:ms|[smhdwy])\b")


@pytest.mark.parametrize(
    ("expression", "scaled"),
    [
        ("increase(unpod_calls_total[1h])", "increase(unpod_calls_total[12000ms])"),
        ("a:b:sum5m offset 30m", "a:b:sum5m offset 6000ms"),
        ("last_over_time(a:b:c[1d] offset 5m) > 60", "last_over_time(a:b:c[288000ms] offset 1000ms) > 60"),
        ('up{job="5m"}[1h30m]', 'up{job="5m"}[18000ms]'),
    ],
)
def test_ranges_and_offsets_are_scaled_and_nothing_else(expression: str, scaled: str) -> None:
    document = {"groups": [{"name": "one", "rules": [{"record": "a:b:c", "expr": expression}]}]}
    assert scaling.rules(document, 300)["groups"][0]["rules"][0]["expr"] == scaled


@given(st.integers(1, 10_000), st.sampled_from(["s", "m", "h", "d"]), st.integers(1, 1000))
def test_a_duration_is_scaled_to_the_millisecond(number: int, unit: str, factor: int) -> None:
    text = f"{number}{unit}"
    assert scaling.seconds(scaling.shorter(text, factor)) == pytest.approx(
        max(scaling.seconds(text) / factor, 0.001), abs=0.0005
    )


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_scaled_rules_are_the_rules(tmp_path: Path, path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    scaled = scaling.rules(document, 300)
    for group, other in zip(document["groups"], scaled["groups"], strict=True):
        for rule, another in zip(group["rules"], other["rules"], strict=True):
            assert ANY.sub("", another["expr"]).endswith(ANY.sub("", rule["expr"])) or "_seconds" in rule["record"]
            assert {**rule, "expr": "", "for": ""} == {**another, "expr": "", "for": ""}
            assert ("for" in rule) == ("for" in another)
            assert all(unit.endswith("ms") for unit in ANY.findall(another["expr"]))
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(scaled))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_thresholds_in_seconds_are_scaled_and_shares_are_not() -> None:
    rules = [
        {"record": "unpod:threshold:stuck_seconds", "expr": "2 * 60 * 60"},
        {"record": "unpod:threshold:retry_ratio", "expr": "0.5"},
        {"record": "agent:unpod_threshold:stuck_seconds", "expr": "x"},
    ]
    scaled = scaling.rules({"groups": [{"name": "one", "rules": rules}]}, 300)["groups"][0]["rules"]
    assert [rule["expr"] for rule in scaled] == ["(2 * 60 * 60) / 300", "0.5", "x"]


def test_what_is_no_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="5 minutes is no duration"):
        scaling.seconds("5 minutes")
