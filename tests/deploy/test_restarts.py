"""A service that crashes again and again asks no more of the API than one that runs."""

import re
from pathlib import Path

import pytest

from exporter.unpod.pacing import MINUTE, Pace

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "unpod-exporter.service"
PER_MINUTE = 60
"""What the API allows, and the default of ``api.requests_per_minute``."""


def restart_delay() -> float:
    found = re.search(r"^RestartSec=(\d+)s$", UNIT.read_text(), re.MULTILINE)
    assert found, "RestartSec in seconds"
    return float(found[1])


def requests_of_a_crash_loop(life: float, delay: float) -> list[float]:
    """When requests begin in 5 minutes if each process asks as fast as it may, and dies after ``life`` seconds."""
    begun: list[float] = []
    start = 0.0
    while start < 5 * MINUTE:
        pace, now = Pace(PER_MINUTE), start
        while now <= start + life:
            pace.begin(now)
            begun.append(now)
            now = max(now, pace.earliest())
        start += life + delay
    return begun


def most_in_a_minute(begun: list[float]) -> int:
    return max(sum(first <= moment < first + MINUTE for moment in begun) for first in begun)


@pytest.mark.parametrize("life", [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 89.0])
def test_a_crash_loop_stays_below_what_the_api_allows_in_a_minute(life: float) -> None:
    assert most_in_a_minute(requests_of_a_crash_loop(life, restart_delay())) < PER_MINUTE


def test_a_shorter_delay_would_exceed_it() -> None:
    assert most_in_a_minute(requests_of_a_crash_loop(0.0, 5.0)) > PER_MINUTE
