"""When numbers are shown, which zeros come with them, and what is written anew."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable

import pytest

from exporter.exposition import chunks
from exporter.exposition.family import Family, Scope
from exporter.exposition.lines import Format
from exporter.exposition.render import Board, UnknownAgentError
from exporter.tracking import report as reports
from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Report, Summary, Total

SINCE = 1_700_000_000.0
MakeReport = Callable[..., Report]


def lines(board: Board, prefix: str = "", *, now: float = 0.0, form: Format = Format.TEXT) -> list[str]:
    """Samples whose names begin so."""
    text = board.render(form, now).decode()
    return [line for line in text.splitlines() if line.startswith(prefix) and not line.startswith("#")]


def test_a_board_without_agents_shows_nothing(board: Board) -> None:
    assert board.render(Format.TEXT, 0.0) == b""


def test_an_agent_without_numbers_shows_its_info(board: Board, make_report: MakeReport) -> None:
    board.publish(make_report("sales"))
    assert lines(board) == ['unpod_agent_info{agent="sales",name="",agent_type="unknown"} 1.0']


def test_configured_labels_are_added_to_the_info(board: Board, make_report: MakeReport) -> None:
    board.publish(make_report("sales", info={"name": "Sales", "agent_type": "Voice", "team": "blue"}))
    assert lines(board) == ['unpod_agent_info{agent="sales",name="Sales",agent_type="Voice",team="blue"} 1.0']


class TestZeros:
    def test_a_family_that_is_absent_from_the_report_is_not_shown(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"agent_polls": Counter(SINCE, {(): 1})}))
        text = board.render(Format.TEXT, 0.0).decode()
        assert "unpod_agent_polls_total" in text
        assert "unpod_calls_total" not in text

    def test_an_unlabelled_counter_begins_at_0(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"calls_recorded": Counter(SINCE, {})}))
        assert lines(board, "unpod_calls_recorded") == ['unpod_calls_recorded_total{agent="sales"} 0.0']

    def test_every_combination_of_bounded_labels_begins_at_0(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"calls": Counter(SINCE, {("outbound", "busy"): 2})}))
        shown = lines(board, "unpod_calls_total")
        assert len(shown) == 10
        assert 'unpod_calls_total{agent="sales",direction="outbound",call_status="busy"} 2.0' in shown
        assert 'unpod_calls_total{agent="sales",direction="outbound",call_status="unknown"} 0.0' in shown

    def test_execution_types_and_directions_begin_at_0_once_seen_anywhere(
        self, board: Board, make_report: MakeReport
    ) -> None:
        families: dict[str, reports.Family] = {
            "tasks": Gauge({("email", "pending"): 0}),
            "task_retries": Counter(SINCE, {}),
            "call_duration_seconds": Histogram(SINCE, (5,), {("inbound",): Distribution((1, 0), 3)}),
            "calls": Counter(SINCE, {}),
        }
        board.publish(make_report("sales", families))
        assert lines(board, "unpod_task_retries") == [
            'unpod_task_retries_total{agent="sales",execution_type="call"} 0.0',
            'unpod_task_retries_total{agent="sales",execution_type="email"} 0.0',
        ]
        directions = {line.split('direction="')[1].split('"')[0] for line in lines(board, "unpod_calls_total")}
        assert directions == {"outbound", "inbound"}

    def test_of_codes_only_those_that_exist_are_shown(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"call_end_codes": Counter(SINCE, {("voicemail",): 2})}))
        assert lines(board, "unpod_call_end_codes") == [
            'unpod_call_end_codes_total{agent="sales",code="voicemail"} 2.0'
        ]

    def test_a_number_that_exists_has_every_call_status(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"number_calls": Counter(SINCE, {("+911234567890", "busy"): 2})}))
        assert len(lines(board, "unpod_number_calls_total")) == 10

    def test_a_histogram_begins_with_empty_buckets(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"call_duration_seconds": Histogram(SINCE, (5, 10), {})}))
        labels = 'agent="sales",direction="outbound"'
        assert lines(board, "unpod_call_duration", form=Format.OPENMETRICS) == [
            f'unpod_call_duration_seconds_bucket{{{labels},le="5.0"}} 0.0',
            f'unpod_call_duration_seconds_bucket{{{labels},le="10.0"}} 0.0',
            f'unpod_call_duration_seconds_bucket{{{labels},le="+Inf"}} 0.0',
            f"unpod_call_duration_seconds_count{{{labels}}} 0.0",
            f"unpod_call_duration_seconds_sum{{{labels}}} 0.0",
            f"unpod_call_duration_seconds_created{{{labels}}} 1.7e+09",
        ]

    @pytest.mark.parametrize(
        "source",
        [
            "oldest_open_task_timestamp_seconds",
            "last_call_end_timestamp_seconds",
            "agent_last_success_timestamp_seconds",
            "tasks_reported",
        ],
    )
    def test_where_none_is_not_zero_nothing_is_shown(self, board: Board, make_report: MakeReport, source: str) -> None:
        board.publish(make_report("sales", {source: Gauge({})}))
        assert source not in board.render(Format.TEXT, 0.0).decode()

    def test_a_full_agent_costs_about_200_series_with_default_settings(
        self, board: Board, full_report: MakeReport
    ) -> None:
        codes = Counter(SINCE, {(f"code-{i}",): 1 for i in range(51)})
        waiting = Gauge({(status,): 1 for status in ("pending", "scheduled", "processing", "in_progress", "hold")})
        board.publish(full_report("sales", call_end_codes=codes, oldest_open_task_timestamp_seconds=waiting))
        board.publish(full_report("idle", call_end_codes=Counter(SINCE, {})))
        series = Tally(line.split('agent="')[1].split('"')[0] for line in lines(board) if 'agent="' in line)
        numbers = len([line for line in lines(board, "unpod_number_calls_total") if '"sales"' in line])
        assert series["sales"] - numbers <= 205
        assert series["idle"] - numbers <= 150


class TestStaleness:
    FRESH_UNTIL = 1000.0
    EXPIRING = (
        "unpod_tasks",
        "unpod_tasks_reported",
        "unpod_tasks_overdue",
        "unpod_tasks_unreadable",
        "unpod_oldest_open_task_timestamp_seconds",
        "unpod_open_runs",
        "unpod_last_call_end_timestamp_seconds",
    )

    def names(self, board: Board, now: float) -> set[str]:
        return {line.partition("{")[0] for line in lines(board, now=now)}

    def test_gauges_of_what_the_platform_showed_disappear_and_all_else_stays(
        self, board: Board, full_report: MakeReport
    ) -> None:
        report = full_report("sales")
        board.publish(Report(agent=report.agent, families=report.families, fresh_until=self.FRESH_UNTIL))
        fresh = self.names(board, self.FRESH_UNTIL)
        stale = self.names(board, self.FRESH_UNTIL + 0.001)
        assert fresh - stale == set(self.EXPIRING)
        assert {"unpod_agent_up", "unpod_agent_last_success_timestamp_seconds", "unpod_calls_total"} <= stale

    def test_one_agent_can_be_stale_alone(self, board: Board, full_report: MakeReport) -> None:
        for agent, until in (("old", 10.0), ("new", 20.0)):
            report = full_report(agent)
            board.publish(Report(agent=agent, families=report.families, fresh_until=until))
        assert {line.split('"')[1] for line in lines(board, "unpod_open_runs", now=15.0)} == {"new"}

    def test_what_was_never_fresh_is_not_shown(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("sales", {"open_runs": Gauge({(): 1})}, fresh_until=None))
        assert lines(board, "unpod_open_runs") == []

    def test_a_new_publication_is_fresh_again(self, board: Board, make_report: MakeReport) -> None:
        runs = {"open_runs": Gauge({(): 1})}
        board.publish(make_report("sales", runs, fresh_until=10.0))
        assert lines(board, "unpod_open_runs", now=11.0) == []
        board.publish(make_report("sales", runs, fresh_until=20.0))
        assert lines(board, "unpod_open_runs", now=11.0) == ['unpod_open_runs{agent="sales"} 1.0']


class TestOrder:
    def test_families_follow_the_catalog_and_agents_the_alphabet(
        self, board: Board, catalog: tuple[Family, ...], full_report: MakeReport
    ) -> None:
        for agent in ("b", "c", "a"):
            board.publish(full_report(agent))
        text = board.render(Format.TEXT, 0.0).decode()
        declared = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert declared == [family.name for family in catalog if family.scope is not Scope.PROCESS]
        assert [line.split('"')[1] for line in lines(board, "unpod_agent_up")] == ["a", "b", "c"]


class TestSelection:
    def test_some_agents_are_shown_alone_and_without_the_sums_over_all(
        self, board: Board, full_report: MakeReport
    ) -> None:
        for agent in ("a", "b", "c"):
            board.publish(full_report(agent))
        text = board.render(Format.TEXT, 0.0, ["c", "a", "c"]).decode()
        agents = [line.split('"')[1] for line in text.splitlines() if line.startswith("unpod_agent_up")]
        assert agents == ["a", "c"]
        assert "unpod_exporter_" not in text

    def test_an_unknown_agent_is_an_error(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("a"))
        with pytest.raises(UnknownAgentError, match="no agent 'b' is known here"):
            board.render(Format.TEXT, 0.0, ["a", "b"])


class TestSums:
    def unknown(self, value: float, since: float = SINCE) -> dict[str, reports.Family]:
        return {
            "exporter_unknown_values": Counter(since, {("cost",): value}),
            "exporter_tracked_tasks": Gauge({(): value}),
        }

    def shown(self, board: Board) -> tuple[str, str]:
        cost = next(line for line in lines(board, "unpod_exporter_unknown_values") if '"cost"' in line)
        (tracked,) = lines(board, "unpod_exporter_tracked_tasks")
        return cost.split()[1], tracked.split()[1]

    def test_the_exporters_families_are_summed_over_agents(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("a", self.unknown(2)))
        board.publish(make_report("b", self.unknown(3)))
        assert self.shown(board) == ("5.0", "5.0")
        assert len(lines(board, "unpod_exporter_unknown_values_total")) == 21

    def test_they_count_since_the_first_of_their_agents_did(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("a", self.unknown(2, since=300.0)))
        board.publish(make_report("b", self.unknown(3, since=200.0)))
        created = lines(board, "unpod_exporter_unknown_values_created", form=Format.OPENMETRICS)
        assert {line.split()[1] for line in created} == {"200.0"}

    def test_a_removed_agent_takes_its_gauges_but_its_counts_stay(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("a", self.unknown(2)))
        board.publish(make_report("b", self.unknown(3)))
        board.remove("b")
        assert self.shown(board) == ("5.0", "2.0")
        assert lines(board, 'unpod_agent_info{agent="b"') == []

    def test_an_agent_that_comes_back_is_not_counted_twice(self, board: Board, make_report: MakeReport) -> None:
        board.publish(make_report("a", self.unknown(2)))
        board.publish(make_report("b", self.unknown(3)))
        board.remove("b")
        board.publish(make_report("b", self.unknown(4)))
        assert self.shown(board) == ("6.0", "6.0")

    def test_removing_an_agent_that_never_published_changes_nothing(self, board: Board) -> None:
        board.remove("nobody")
        assert board.render(Format.TEXT, 0.0) == b""


class TestCache:
    @pytest.fixture
    def written(self) -> Tally[tuple[str, str]]:
        """How often each (agent, family) has been written."""
        return Tally()

    @pytest.fixture
    def counting(self, catalog: tuple[Family, ...], written: Tally[tuple[str, str]]) -> Board:
        def write(family: Family, report: Report, seen: chunks.Seen, form: Format) -> bytes:
            written[report.agent, family.source] += 1
            return chunks.write(family, report, seen, form)

        return Board(catalog, write=write)

    def test_a_second_scrape_writes_nothing(
        self, counting: Board, written: Tally[tuple[str, str]], full_report: MakeReport
    ) -> None:
        counting.publish(full_report("a"))
        first = counting.render(Format.TEXT, 0.0)
        written.clear()
        assert counting.render(Format.TEXT, 0.0) == first
        assert not written

    def test_what_cannot_be_written_leaves_what_was_shown_and_the_next_publication_is_shown(
        self, catalog: tuple[Family, ...], make_report: MakeReport
    ) -> None:
        broken: list[str] = []

        def write(family: Family, report: Report, seen: chunks.Seen, form: Format) -> bytes:
            if report.agent in broken:
                raise ZeroDivisionError
            return chunks.write(family, report, seen, form)

        board = Board(catalog, write=write)
        board.publish(make_report("a", {"open_runs": Gauge({(): 1})}))
        before = board.render(Format.TEXT, 0.0)
        broken += ["a", "b"]
        for agent in broken:
            with pytest.raises(ZeroDivisionError):
                board.publish(make_report(agent, {"open_runs": Gauge({(): 2})}))
            assert board.render(Format.TEXT, 0.0) == before
        broken.clear()
        for agent in ("a", "b"):
            board.publish(make_report(agent, {"open_runs": Gauge({(): 3})}))
        assert lines(board, "unpod_open_runs") == ['unpod_open_runs{agent="a"} 3.0', 'unpod_open_runs{agent="b"} 3.0']

    def test_a_publication_of_one_agent_does_not_write_another_anew(
        self, counting: Board, written: Tally[tuple[str, str]], full_report: MakeReport
    ) -> None:
        counting.publish(full_report("a", 1))
        counting.publish(full_report("b", 1))
        counting.render(Format.TEXT, 0.0)
        written.clear()
        counting.publish(full_report("a", 2))
        counting.render(Format.TEXT, 0.0)
        assert {agent for agent, _ in written} == {"a"}
        assert set(written.values()) == {1}

    def test_only_the_families_that_changed_are_written_anew(
        self, counting: Board, written: Tally[tuple[str, str]], full_report: MakeReport
    ) -> None:
        counting.publish(full_report("a", 1))
        counting.render(Format.TEXT, 0.0)
        written.clear()
        counting.publish(full_report("a", 1, agent_polls=Counter(SINCE, {(): 2})))
        assert 'unpod_agent_polls_total{agent="a"} 2.0' in lines(counting)
        assert written == {("a", "agent_polls"): 1}

    def test_a_value_first_seen_in_one_family_brings_its_zeros_to_an_unchanged_one(
        self, board: Board, make_report: MakeReport
    ) -> None:
        retries = Counter(SINCE, {("call",): 1})
        board.publish(make_report("a", {"task_retries": retries, "tasks": Gauge({})}))
        assert len(lines(board, "unpod_task_retries")) == 1
        board.publish(make_report("a", {"task_retries": retries, "tasks": Gauge({("email", "hold"): 1})}))
        assert 'unpod_task_retries_total{agent="a",execution_type="email"} 0.0' in lines(board)

    def test_a_format_that_nobody_asks_for_is_never_written(
        self, counting: Board, written: Tally[tuple[str, str]], full_report: MakeReport
    ) -> None:
        counting.publish(full_report("a", 1))
        assert not written
        counting.render(Format.OPENMETRICS, 0.0)
        written.clear()
        counting.publish(full_report("a", 2))
        assert set(written.values()) == {1}


class TestContract:
    @pytest.mark.parametrize(
        ("families", "message"),
        [
            ({"calls_per_moon": Counter(SINCE, {})}, "calls_per_moon: no such family"),
            ({"exporter_api_requests": Counter(SINCE, {})}, "exporter_api_requests: no such family"),
            ({"agent_info": Gauge({})}, "agent_info: no such family"),
            ({"calls": Gauge({})}, "calls: not a counter"),
            ({"calls": Counter(SINCE, {("outbound",): 1})}, "calls: 2 labels are wanted besides agent, not 1"),
            ({"calls": Counter(SINCE, {("outbound", "JOHN"): 1})}, "calls: a value of call_status that is not in its"),
            ({"agent_polls": Counter(SINCE, {(): -1})}, "agent_polls: a counter below 0"),
            ({"agent_polls": Counter(SINCE, {(): float("nan")})}, "agent_polls: a counter below 0"),
            ({"call_llm_latency_seconds": Summary(SINCE, {(): Total(-1, 0)})}, "call_llm_latency_seconds: a count"),
            (
                {"call_duration_seconds": Histogram(SINCE, (5, 10), {("outbound",): Distribution((1, 2), 0)})},
                "call_duration_seconds: 3 counts",
            ),
            (
                {"call_duration_seconds": Histogram(SINCE, (5,), {("outbound",): Distribution((1, -2), 0)})},
                "call_duration_seconds: 2 counts from 0",
            ),
            ({"call_duration_seconds": Histogram(SINCE, (5, 5), {})}, "call_duration_seconds: bounds do not rise"),
        ],
    )
    def test_a_report_that_cannot_be_true_is_refused_as_a_whole(
        self, board: Board, make_report: MakeReport, families: dict[str, reports.Family], message: str
    ) -> None:
        board.publish(make_report("sales", {"calls_recorded": Counter(SINCE, {(): 7})}))
        before = board.render(Format.TEXT, 0.0)
        with pytest.raises(chunks.ContractError, match=message) as caught:
            board.publish(make_report("sales", {"calls_recorded": Counter(SINCE, {(): 8}), **families}))
        assert "JOHN" not in str(caught.value)
        assert board.render(Format.TEXT, 0.0) == before

    @pytest.mark.parametrize("name", ["agent", "__name__", "1st", "a-b", ""])
    def test_a_static_label_needs_a_name_of_its_own(self, board: Board, make_report: MakeReport, name: str) -> None:
        with pytest.raises(chunks.ContractError, match="cannot be the name of a label"):
            board.publish(make_report("sales", info={name: "x"}))


@pytest.mark.parametrize("form", Format)
def test_a_lone_surrogate_does_not_break_the_scrape(board: Board, make_report: MakeReport, form: Format) -> None:
    board.publish(make_report("sales", info={"name": "\ud800"}))
    assert b'name="?"' in board.render(form, 0.0)
