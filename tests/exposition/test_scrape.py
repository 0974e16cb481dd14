"""One answer to one scrape."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator

import pytest

from exporter.exposition.lines import Format
from exporter.exposition.render import Board, UnknownAgentError
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking.report import Gauge, Report

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture
def ticks() -> Iterator[float]:
    """A timer that goes on by half a second whenever it is read."""
    return (tick / 2 for tick in range(1000))


@pytest.fixture
def scrape(board: Board, telemetry: Telemetry, full_report: Callable[..., Report], ticks: Iterator[float]) -> Scrape:
    board.publish(full_report("sales"))
    return Scrape(board, telemetry, clock=lambda: 0.0, timer=lambda: next(ticks))


def test_text_is_the_default(scrape: Scrape) -> None:
    answer = scrape(None, None)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content_encoding is None
    assert answer.body.startswith(b"# HELP unpod_agent_info ")
    assert b"# EOF" not in answer.body


def test_openmetrics_ends_as_it_must(scrape: Scrape) -> None:
    answer = scrape(OPENMETRICS, None)
    assert answer.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.body.endswith(b"\n# EOF\n")


def test_gzip_changes_nothing_but_the_bytes(scrape: Scrape) -> None:
    answer = scrape(None, "gzip", ["sales"])
    assert answer.content_encoding == "gzip"
    assert gzip.decompress(answer.body) == scrape(None, None, ["sales"]).body
    assert len(answer.body) < len(scrape(None, None, ["sales"]).body) / 5


def test_agents_come_first_and_the_exporter_follows(scrape: Scrape) -> None:
    text = scrape.text(Format.TEXT).decode()
    first = [
        text.index(name) for name in ("unpod_agent_up", "unpod_exporter_tracked_tasks", "unpod_exporter_build_info")
    ]
    assert first == sorted(first)


def test_some_agents_alone_come_without_the_exporter(scrape: Scrape) -> None:
    body = scrape(OPENMETRICS, None, ["sales"]).body
    assert b"unpod_agent_up" in body
    assert b"unpod_exporter_" not in body
    assert b"process_" not in body
    assert body.endswith(b"# EOF\n")


def test_an_unknown_agent_is_not_found(scrape: Scrape) -> None:
    answer = scrape(OPENMETRICS, "gzip", ["sales", "nobody"])
    assert (answer.status, answer.body) == (404, b"no agent 'nobody' is known here\n")
    assert (answer.content_type, answer.content_encoding) == ("text/plain; charset=utf-8", None)


def test_the_text_of_an_unknown_agent_is_an_error(scrape: Scrape) -> None:
    with pytest.raises(UnknownAgentError):
        scrape.text(Format.TEXT, ["nobody"])


def test_how_long_a_scrape_took_shows_at_the_next(scrape: Scrape) -> None:
    name = b"\nunpod_exporter_scrape_render_duration_seconds "
    assert name + b"0.0\n" in scrape(None, None).body
    assert name + b"0.5\n" in scrape(None, None).body


def test_what_is_fresh_is_told_by_the_clock(board: Board, telemetry: Telemetry) -> None:
    now = [10.0]
    scrape = Scrape(board, telemetry, clock=lambda: now[0], timer=lambda: 0.0)
    board.publish(Report(agent="sales", families={"open_runs": Gauge({(): 1})}, fresh_until=10.0))
    assert b"unpod_open_runs{" in scrape(None, None).body
    now[0] = 11.0
    assert b"unpod_open_runs{" not in scrape(None, None).body
