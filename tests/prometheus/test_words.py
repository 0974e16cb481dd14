"""The judge of queries finds what does not exist, and nothing else."""

from __future__ import annotations

import pytest

from tests.prometheus.words import strangers

GOOD = (
    'sum by (agent, status) (unpod_tasks{job="unpod",status=~"pending|scheduled"})',
    'rate(unpod_calls_total{direction="outbound",call_status!~"failed|dropped"}[5m])',
    "histogram_quantile(0.9, sum by (agent, le) (rate(unpod_call_duration_seconds_bucket[5m])))",
    'unpod_call_duration_seconds_bucket{le="10.0"} / ignoring (le) unpod_call_duration_seconds_count',
    'unpod_exporter_api_requests_total{code=~"5.."}',
    "max without (instance, pod) (unpod_agent_up) * on (agent) group_left (name) unpod_agent_info",
    'up{job="unpod"} == 0',
    'unpod_oldest_open_task_timestamp_seconds{status="hold"} @ end()',
)
BAD = {
    "unpod_task": "there is no unpod_task",
    "unpod_calls": "there is no unpod_calls",
    "unpod_call_duration_seconds": "there is no unpod_call_duration_seconds",
    'unpod_agent_up{agnet="a"}': "unpod_agent_up has no label agnet",
    'unpod_tasks{status="done"}': "status of unpod_tasks is never done",
    'unpod_tasks{status=~"pending|done"}': "status of unpod_tasks is never done",
    'unpod_oldest_open_task_timestamp_seconds{status="failed"}': (
        "status of unpod_oldest_open_task_timestamp_seconds is never failed"
    ),
    'unpod_call_duration_seconds_bucket{le="7"}': "le of unpod_call_duration_seconds_bucket is never 7",
    "sum by (code) (unpod_calls_total)": "nothing in sum by (code) (unpod_calls_total) has the label code",
    'unpod_exporter_tracked_tasks{agent="a"}': "unpod_exporter_tracked_tasks has no label agent",
}


@pytest.mark.parametrize("expr", GOOD)
def test_what_exists_is_no_stranger(expr: str) -> None:
    assert strangers(expr) == []


@pytest.mark.parametrize(("expr", "said"), BAD.items())
def test_what_does_not_exist_is_named(expr: str, said: str) -> None:
    assert strangers(expr) == [said]


def test_what_is_no_query_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unclosed|unexpected|invalid"):
        strangers("sum(unpod_tasks")


def test_series_of_ones_own_are_known_by_name_and_label() -> None:
    own = {"agent:unpod_calls:rate5m": {"agent": None}}
    assert strangers("sum by (agent) (agent:unpod_calls:rate5m) > 0", own) == []
    assert strangers('agent:unpod_calls:rate5m{job="a"}', own) == ["agent:unpod_calls:rate5m has no label job"]
