"""Prometheus' own tool reads all that the exporter shows, and finds nothing to say about it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.exposition.lines import Format
from exporter.exposition.render import Board
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking.report import Report

PROMTOOL = "promtool"


@pytest.fixture
def scrape(board: Board, telemetry: Telemetry, full_report: Callable[..., Report]) -> Scrape:
    odd = full_report('an "odd"\\\nhandle', 5)
    board.publish(full_report("sales"))
    board.publish(odd)
    return Scrape(board, telemetry, clock=lambda: 0.0, timer=lambda: 0.0)


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, check=False)


def test_check_metrics_has_nothing_to_say_about_the_text(scrape: Scrape) -> None:
    done = promtool("check", "metrics", text=scrape.text(Format.TEXT).decode())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_metrics_would_have_said_what_is_wrong(scrape: Scrape) -> None:
    text = scrape.text(Format.TEXT).decode().replace("# HELP unpod_agent_up", "# NOTE unpod_agent_up")
    assert "unpod_agent_up no help text" in promtool("check", "metrics", text=text).stderr


def test_prometheus_reads_the_openmetrics_text(scrape: Scrape, tmp_path: Path) -> None:
    """The import of blocks is the one way into its OpenMetrics parser; it insists on a timestamp in each sample."""
    lines = scrape.text(Format.OPENMETRICS).decode().splitlines()
    (tmp_path / "metrics").write_text(
        "".join(f"{line if line[0] == '#' else f'{line} 1700000000'}\n" for line in lines)
    )
    done = promtool("tsdb", "create-blocks-from", "openmetrics", str(tmp_path / "metrics"), str(tmp_path / "blocks"))
    assert (done.returncode, done.stderr) == (0, "")
    samples = sum(line[0] != "#" for line in lines)
    assert str(samples) in done.stdout.splitlines()[1].split()
