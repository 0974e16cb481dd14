"""Whoever searches docs/troubleshooting.md for the words that they see finds them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.unpod.errors import REASONS
from exporter.web import advice
from exporter.web.advice import Problem

PROBLEMS = [
    *advice.PROBLEMS.values(),
    *advice.BAD_FILES.values(),
    *(told for told in vars(advice).values() if isinstance(told, Problem)),
]
TELLING = re.compile(r'(?:\b(?:warning|error|say)\(|\.(?:warning|error),)\s*"([^"]+)"')
"""What is told at a level that somebody should see: by a method of a log, or as one with its event."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "troubleshooting.md").read_text()


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.title)
def test_it_has_every_card_of_the_status_page(page: str, problem: Problem) -> None:
    assert f"| {problem.title} " in page


@pytest.mark.parametrize("reason", REASONS)
def test_it_has_every_reason_of_a_failed_poll(page: str, reason: str) -> None:
    assert f"(`{reason}`)" in page


def events(root: Path) -> set[str]:
    sources = [path.read_text() for path in (root / "exporter").rglob("*.py") if "simulator" not in path.parts]
    return {event for source in sources for event in TELLING.findall(source)}


def test_it_has_every_warning_and_error_of_the_log(root: Path, page: str) -> None:
    found = events(root)
    assert {"poll failed", "state cannot be written", "refused"} <= found
    assert [event for event in sorted(found) if f"`{event}`" not in page] == []
