"""One answer to one scrape."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable, Iterator

import pytest

from exporter.exposition import packing
from exporter.exposition.lines import Format
from exporter.exposition.packing import Packed
from exporter.exposition.render import Board, UnknownAgentError
from exporter.exposition.scrape import Answer, Scrape
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


async def test_text_is_the_default(scrape: Scrape) -> None:
    answer = await scrape(None, None)
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.content_encoding is None
    assert answer.body.startswith(b"# HELP unpod_agent_info ")
    assert b"# EOF" not in answer.body


async def test_openmetrics_ends_as_it_must(scrape: Scrape) -> None:
    answer = await scrape(OPENMETRICS, None)
    assert answer.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.body.endswith(b"\n# EOF\n")


async def test_gzip_changes_nothing_but_the_bytes(scrape: Scrape) -> None:
    answer = await scrape(None, "gzip", ["sales"])
    assert answer.content_encoding == "gzip"
    assert gzip.decompress(answer.body) == (await scrape(None, None, ["sales"])).body
    assert len(answer.body) < len((await scrape(None, None, ["sales"])).body) / 5


def test_agents_come_first_and_the_exporter_follows(scrape: Scrape) -> None:
    text = scrape.text(Format.TEXT).decode()
    first = [
        text.index(name) for name in ("unpod_agent_up", "unpod_exporter_tracked_tasks", "unpod_exporter_build_info")
    ]
    assert first == sorted(first)


async def test_some_agents_alone_come_without_the_exporter(scrape: Scrape) -> None:
    body = (await scrape(OPENMETRICS, None, ["sales"])).body
    assert b"unpod_agent_up" in body
    assert b"unpod_exporter_" not in body
    assert b"process_" not in body
    assert body.endswith(b"# EOF\n")


async def test_an_unknown_agent_is_not_found(scrape: Scrape) -> None:
    answer = await scrape(OPENMETRICS, "gzip", ["sales", "nobody"])
    assert (answer.status, answer.body) == (404, b"no agent 'nobody' is known here\n")
    assert (answer.content_type, answer.content_encoding) == ("text/plain; charset=utf-8", None)


def test_the_text_of_an_unknown_agent_is_an_error(scrape: Scrape) -> None:
    with pytest.raises(UnknownAgentError):
        scrape.text(Format.TEXT, ["nobody"])


async def test_how_long_a_scrape_took_shows_at_the_next(scrape: Scrape) -> None:
    name = b"\nunpod_exporter_scrape_render_duration_seconds "
    assert name + b"0.0\n" in (await scrape(None, None)).body
    assert name + b"0.5\n" in (await scrape(None, None)).body


async def test_what_is_fresh_is_told_by_the_clock(board: Board, telemetry: Telemetry) -> None:
    now = [10.0]
    scrape = Scrape(board, telemetry, clock=lambda: now[0], timer=lambda: 0.0)
    board.publish(Report(agent="sales", families={"open_runs": Gauge({(): 1})}, fresh_until=10.0))
    assert b"unpod_open_runs{" in (await scrape(None, None)).body
    now[0] = 11.0
    assert b"unpod_open_runs{" not in (await scrape(None, None)).body


class Packer:
    """Packs, counts how often, and can be held up."""

    def __init__(self) -> None:
        self.packed = 0
        self.defect: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self, text: bytes) -> Packed:
        self.packed += 1
        assert self.go_on.wait(30)
        if self.defect is not None:
            raise self.defect
        return packing.pack(text)


RENDERED = b"\nunpod_exporter_scrape_render_duration_seconds "


class TestKeeping:
    """Once packed, what agents show is kept until it changes."""

    @pytest.fixture
    def packer(self) -> Packer:
        return Packer()

    @pytest.fixture
    def now(self) -> list[float]:
        return [0.0]

    @pytest.fixture
    def scrape(
        self,
        board: Board,
        telemetry: Telemetry,
        full_report: Callable[..., Report],
        ticks: Iterator[float],
        now: list[float],
        packer: Packer,
    ) -> Scrape:
        board.publish(full_report("sales"))
        return Scrape(board, telemetry, clock=lambda: now[0], timer=lambda: next(ticks), pack=packer)

    @staticmethod
    def unpacked(answer: Answer) -> bytes:
        assert answer.content_encoding == "gzip"
        return gzip.decompress(answer.body)

    async def test_it_is_packed_once_and_what_the_exporter_tells_of_itself_is_new_each_time(
        self, scrape: Scrape, packer: Packer
    ) -> None:
        first, second = [self.unpacked(await scrape(None, "gzip")) for _ in range(2)]
        assert packer.packed == 1
        assert RENDERED + b"0.0\n" in first
        assert RENDERED + b"0.5\n" in second
        head = first.index(b"# HELP unpod_exporter_build_info")
        assert first[:head] == second[:head]

    async def test_scrapes_that_come_together_are_packed_once(self, scrape: Scrape, packer: Packer) -> None:
        packer.go_on.clear()
        scrapes = [asyncio.create_task(scrape(OPENMETRICS, "gzip")) for _ in range(50)]
        await asyncio.sleep(0)
        packer.go_on.set()
        answers = {self.unpacked(answer).partition(b"# HELP process_")[0] for answer in await asyncio.gather(*scrapes)}
        assert packer.packed == 1
        assert all(b"unpod_agent_up{" in answer for answer in answers)

    async def test_a_publication_while_it_is_packed_shows_at_the_next_scrape(
        self, scrape: Scrape, packer: Packer, board: Board, full_report: Callable[..., Report]
    ) -> None:
        packer.go_on.clear()
        before = asyncio.create_task(scrape(None, "gzip"))
        await asyncio.sleep(0)
        board.publish(full_report("sales", 4))
        after = asyncio.create_task(scrape(None, "gzip"))
        await asyncio.sleep(0)
        packer.go_on.set()
        polls = b'\nunpod_agent_polls_total{agent="sales"} '
        assert polls + b"3.0\n" in self.unpacked(await before)
        assert polls + b"4.0\n" in self.unpacked(await after)
        assert packer.packed == 2

    async def test_each_format_is_kept_for_itself(self, scrape: Scrape, packer: Packer) -> None:
        for _ in range(2):
            assert not self.unpacked(await scrape(None, "gzip")).endswith(b"# EOF\n")
            assert self.unpacked(await scrape(OPENMETRICS, "gzip")).endswith(b"# EOF\n")
        assert packer.packed == 2

    async def test_gauges_vanish_at_their_time_and_come_back_with_a_publication(
        self, scrape: Scrape, board: Board, now: list[float], full_report: Callable[..., Report]
    ) -> None:
        report = full_report("sales")
        assert report.fresh_until is not None
        for time, shown in ((report.fresh_until, True), (report.fresh_until + 0.001, False)):
            now[0] = time
            for encoding in (None, "gzip"):
                answer = await scrape(None, encoding)
                text = self.unpacked(answer) if encoding else answer.body
                assert (b"unpod_open_runs{" in text) is shown
                assert b"unpod_calls_total{" in text
        board.publish(Report(agent="sales", families=report.families, fresh_until=now[0]))
        assert b"unpod_open_runs{" in self.unpacked(await scrape(None, "gzip"))

    async def test_an_agent_that_is_removed_vanishes(
        self, scrape: Scrape, board: Board, full_report: Callable[..., Report]
    ) -> None:
        board.publish(full_report("support"))
        assert b'agent="support"' in self.unpacked(await scrape(None, "gzip"))
        board.remove("support")
        text = self.unpacked(await scrape(None, "gzip"))
        assert b'agent="support"' not in text
        assert b'agent="sales"' in text

    async def test_who_goes_away_leaves_the_others_their_answer(self, scrape: Scrape, packer: Packer) -> None:
        packer.go_on.clear()
        gone, stays = [asyncio.create_task(scrape(None, "gzip")) for _ in range(2)]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        packer.go_on.set()
        assert b"unpod_agent_up{" in self.unpacked(await stays)
        assert packer.packed == 1

    async def test_what_could_not_be_packed_is_tried_again(self, scrape: Scrape, packer: Packer) -> None:
        packer.defect = MemoryError()
        with pytest.raises(MemoryError):
            await scrape(None, "gzip")
        packer.defect = None
        assert b"unpod_agent_up{" in self.unpacked(await scrape(None, "gzip"))

    async def test_equal_numbers_have_equal_bytes(self, board: Board, telemetry: Telemetry, scrape: Scrape) -> None:
        other = Scrape(board, telemetry, clock=lambda: 0.0, timer=lambda: 0.0)
        assert (await scrape(None, "gzip", ["sales"])).body == (await other(None, "gzip", ["sales"])).body
