"""The same numbers, put into prometheus_client and written by it, give the same samples and the same metadata."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition.family import Family, Kind
from exporter.exposition.lines import Format, header, sample
from exporter.exposition.render import Board
from exporter.tracking.report import Counter, Distribution, Gauge, Histogram, Report, Summary, Total

SINCE = 1_700_000_000.25
ODD = 'a "quoted"\\\nvalue'


class Reference:
    """A few families as prometheus_client has them."""

    def collect(self) -> Iterator[Metric]:
        polls = CounterMetricFamily("unpod_agent_polls", "", labels=["agent"])
        polls.add_metric([ODD], 12345678, created=SINCE)
        yield polls
        up = GaugeMetricFamily("unpod_agent_up", "", labels=["agent"])
        up.add_metric([ODD], 1)
        yield up
        codes = CounterMetricFamily("unpod_call_end_codes", "", labels=["agent", "code"])
        codes.add_metric([ODD, ODD], 0.1, created=SINCE)
        yield codes
        latency = SummaryMetricFamily("unpod_call_llm_latency_seconds", "", labels=["agent"], unit="seconds")
        latency.add_metric([ODD], 4, 2.5)
        latency.add_sample("unpod_call_llm_latency_seconds_created", {"agent": ODD}, SINCE)
        yield latency
        delay = HistogramMetricFamily("unpod_call_duration_seconds", "", labels=["agent", "direction"], unit="seconds")
        delay.add_metric([ODD, "outbound"], [("5.0", 1), ("1e+06", 3), ("+Inf", 6)], 99.5)
        delay.add_sample("unpod_call_duration_seconds_created", {"agent": ODD, "direction": "outbound"}, SINCE)
        yield delay


def ours() -> Report:
    return Report(
        agent=ODD,
        families={
            "agent_polls": Counter(SINCE, {(): 12345678}),
            "agent_up": Gauge({(): 1}),
            "call_end_codes": Counter(SINCE, {(ODD,): 0.1}),
            "call_llm_latency_seconds": Summary(SINCE, {(): Total(4, 2.5)}),
            "call_duration_seconds": Histogram(SINCE, (5, 1e6), {("outbound",): Distribution((1, 2, 3), 99.5)}),
        },
    )


@pytest.fixture
def reference() -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Reference())
    return registry


def without_info(text: bytes) -> str:
    lines = text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if "unpod_agent_info" not in line)


def samples(families: Iterator[Metric]) -> list[tuple[str, tuple[tuple[str, str], ...], float]]:
    return sorted((one.name, tuple(sorted(one.labels.items())), one.value) for each in families for one in each.samples)


def test_text_has_the_samples_of_the_reference(board: Board, reference: CollectorRegistry) -> None:
    board.publish(ours())
    wanted = [one for one in samples(parse_text(generate_latest(reference).decode())) if "_created" not in one[0]]
    assert samples(parse_text(without_info(board.render(Format.TEXT, 0)))) == wanted


def test_openmetrics_has_the_samples_types_and_units_of_the_reference(
    board: Board, reference: CollectorRegistry
) -> None:
    board.publish(ours())
    text = without_info(board.render(Format.OPENMETRICS, 0) + Format.OPENMETRICS.end)
    wanted = generate_openmetrics(reference).decode()
    assert samples(parse_openmetrics(text)) == samples(parse_openmetrics(wanted))
    types = {each.name: (each.type, each.unit) for each in parse_openmetrics(text)}
    reference_types = {each.name: (each.type, each.unit) for each in parse_openmetrics(wanted)}
    assert {name: kind for name, (kind, _) in types.items()} == {
        name: kind for name, (kind, _) in reference_types.items()
    }
    assert types["unpod_call_duration_seconds"] == reference_types["unpod_call_duration_seconds"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (1, "1.0"),
        (0.1, "0.1"),
        (999999, "999999.0"),
        (1234567, "1.234567e+06"),
        (1763732400.5, "1.7637324005e+09"),
        (1e21, "1e+21"),
        (1e-7, "1e-07"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert sample("x", "", value) == f"x {text}\n"


def test_help_escapes_quotation_marks_in_openmetrics_alone() -> None:
    family = Family(name="x_total", kind=Kind.COUNTER, help='a "b"\\\nc')
    assert header(Format.TEXT, family.name, family.kind, family.help) == (
        '# HELP x_total a "b"\\\\\\nc\n# TYPE x_total counter\n'
    )
    assert header(Format.OPENMETRICS, family.name, family.kind, family.help) == (
        '# HELP x a \\"b\\"\\\\\\nc\n# TYPE x counter\n'
    )
