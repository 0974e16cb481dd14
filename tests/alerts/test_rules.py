"""The rules are sound, and each alert fires when it must and at no other time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.alerts.cases import CASES
from tests.alerts.promtool import RULES, Case, judged, loaded


def test_promtool_finds_nothing_to_say_about_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "error" not in done.stderr.lower()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_exactly_these_alerts_fire(tmp_path: Path, case: Case) -> None:
    done = judged(tmp_path / "case", case)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_proven_to_fire_and_says_what_it_says() -> None:
    assert {fires.alert for case in CASES for fires in case.fires if fires.says is not None} == set(loaded())
