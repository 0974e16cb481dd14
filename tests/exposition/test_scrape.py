"""One answer to one scrape."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterator
from typing import NoReturn

import aiohttp
import pytest

from exporter.exposition import packing
from exporter.exposition.family import Family
from exporter.exposition.lines import Format
from exporter.exposition.packing import Packed
from exporter.exposition.render import Board, UnknownAgentError
from exporter.exposition.scrape import Answer, Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking.report import Counter, Gauge, Report
from exporter.web.listen import parse_listen_address, serve
from exporter.web.pages import Pages
from exporter.web.server import create_app

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


RENDERED = b"\nunpod_exporter_scrape_render_duration_seconds "
POLLS = b'\nunpod_agent_polls_total{agent="sales"} '


class TestPacking:
    """What agents show is packed family by family, and again only where it changed."""

    @pytest.fixture
    def packed(self) -> list[bytes]:
        """The texts that have been packed."""
        return []

    @pytest.fixture
    def board(self, catalog: tuple[Family, ...], packed: list[bytes]) -> Board:
        def pack(text: bytes) -> Packed:
            packed.append(text)
            return packing.pack(text)

        return Board(catalog, pack=pack)

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
    ) -> Scrape:
        board.publish(full_report("sales"))
        return Scrape(board, telemetry, clock=lambda: now[0], timer=lambda: next(ticks))

    @staticmethod
    def unpacked(answer: Answer) -> bytes:
        assert answer.content_encoding == "gzip"
        return gzip.decompress(answer.body)

    def test_scrapes_that_find_nothing_changed_pack_nothing(self, scrape: Scrape, packed: list[bytes]) -> None:
        first = self.unpacked(scrape(OPENMETRICS, "gzip"))
        packed.clear()
        agents = {self.unpacked(scrape(OPENMETRICS, "gzip")).partition(b"# HELP unpod_exporter_")[0] for _ in range(9)}
        assert agents == {first.partition(b"# HELP unpod_exporter_")[0]}
        assert not packed

    def test_what_the_exporter_tells_of_itself_is_new_each_time(self, scrape: Scrape) -> None:
        assert RENDERED + b"0.0\n" in self.unpacked(scrape(None, "gzip"))
        assert RENDERED + b"0.5\n" in self.unpacked(scrape(None, "gzip"))

    def test_a_publication_shows_at_the_next_scrape_and_packs_what_it_changed(
        self, scrape: Scrape, packed: list[bytes], board: Board, full_report: Callable[..., Report]
    ) -> None:
        assert POLLS + b"3.0\n" in self.unpacked(scrape(None, "gzip"))
        packed.clear()
        board.publish(full_report("sales", agent_polls=Counter(0.0, {(): 4})))
        assert POLLS + b"4.0\n" in self.unpacked(scrape(None, "gzip"))
        assert [text.split()[2] for text in packed] == [b"unpod_agent_polls_total"]

    async def test_scrapes_at_once_over_http_share_what_was_packed(
        self, scrape: Scrape, packed: list[bytes], board: Board, full_report: Callable[..., Report]
    ) -> None:
        def nothing(*_: object) -> NoReturn:
            raise AssertionError("nobody asks for it")

        pages = Pages(metrics=scrape, ready=nothing, status=nothing, agent=nothing)
        self.unpacked(scrape(OPENMETRICS, "gzip"))
        packed.clear()
        board.publish(full_report("sales", agent_polls=Counter(0.0, {(): 4})))
        async with (
            serve(create_app(pages), [parse_listen_address("127.0.0.1:0")]) as bound,
            aiohttp.ClientSession() as session,
        ):

            async def asked() -> str:
                headers = {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"}
                async with session.get(f"http://{bound[0]}/metrics", headers=headers) as answer:
                    return await answer.text()

            texts = await asyncio.gather(*(asked() for _ in range(20)))
        assert all('unpod_agent_polls_total{agent="sales"} 4.0\n' in text for text in texts)
        assert [text.split()[2] for text in packed] == [b"unpod_agent_polls"]

    def test_the_sums_over_agents_are_those_of_the_last_publication(
        self, scrape: Scrape, board: Board, full_report: Callable[..., Report]
    ) -> None:
        tracked = b"\nunpod_exporter_tracked_tasks "
        assert tracked + b"3.0\n" in self.unpacked(scrape(None, "gzip"))
        board.publish(full_report("support", 4))
        assert tracked + b"7.0\n" in self.unpacked(scrape(None, "gzip"))

    @pytest.mark.parametrize("accept", [None, OPENMETRICS])
    def test_packed_or_not_it_says_the_same(
        self, scrape: Scrape, board: Board, full_report: Callable[..., Report], accept: str | None
    ) -> None:
        for agent in ("support", "sales"):
            board.publish(full_report(agent, 4))
            plain = scrape(accept, None).body
            both = [text.partition(b"# HELP process_")[0] for text in (plain, self.unpacked(scrape(accept, "gzip")))]
            assert RENDERED not in both[0].partition(b"# HELP unpod_exporter_build_info")[0]
            assert both[0].partition(RENDERED)[0] == both[1].partition(RENDERED)[0]

    def test_gauges_vanish_at_their_time_and_come_back_with_a_publication(
        self, scrape: Scrape, board: Board, now: list[float], full_report: Callable[..., Report]
    ) -> None:
        report = full_report("sales")
        assert report.fresh_until is not None
        for time, shown in ((report.fresh_until, True), (report.fresh_until + 0.001, False)):
            now[0] = time
            for text in (scrape(None, None).body, self.unpacked(scrape(None, "gzip"))):
                assert (b"unpod_open_runs{" in text) is shown
                assert (b"# HELP unpod_open_runs" in text) is shown
                assert b"unpod_calls_total{" in text
        board.publish(Report(agent="sales", families=report.families, fresh_until=now[0]))
        assert b"unpod_open_runs{" in self.unpacked(scrape(None, "gzip"))

    def test_an_agent_that_is_removed_vanishes(
        self, scrape: Scrape, board: Board, full_report: Callable[..., Report]
    ) -> None:
        board.publish(full_report("support"))
        assert b'agent="support"' in self.unpacked(scrape(None, "gzip"))
        board.remove("support")
        text = self.unpacked(scrape(None, "gzip"))
        assert b'agent="support"' not in text
        assert b'agent="sales"' in text
        board.remove("sales")
        assert b"agent=" not in self.unpacked(scrape(None, "gzip"))

    def test_equal_numbers_have_equal_bytes(
        self, catalog: tuple[Family, ...], telemetry: Telemetry, full_report: Callable[..., Report], scrape: Scrape
    ) -> None:
        other = Board(catalog)
        other.publish(full_report("sales", 4))
        again = Scrape(other, telemetry, clock=lambda: 0.0, timer=lambda: 0.0)
        assert again(None, "gzip", ["sales"]).body != scrape(None, "gzip", ["sales"]).body
        other.publish(full_report("sales"))
        assert again(None, "gzip", ["sales"]).body == scrape(None, "gzip", ["sales"]).body
