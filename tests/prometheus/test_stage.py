"""What the tests of dashboards and rules stand on: a Prometheus whose past is what the exporter showed."""

from __future__ import annotations

import time

import pytest

from tests.prometheus.stage import REPLICAS, SCRAPE_INTERVAL, STORY, Stage

pytestmark = pytest.mark.xdist_group("stage")


async def test_the_past_has_a_sample_for_every_step_of_each_replica(stage: Stage) -> None:
    steps = (stage.end - stage.begin) // SCRAPE_INTERVAL - 1
    ago = f"[1d] offset {time.time() - stage.end:.0f}s"
    for series in ("up", 'unpod_agent_polls_total{agent="sales-agent-v1"}'):
        assert await stage.prometheus.number(f"count({series})") == len(REPLICAS)
        assert (await stage.prometheus.number(f"min(count_over_time({series}{ago}))") or 0) >= steps


async def test_nothing_is_counted_anew_where_real_time_begins(stage: Stage) -> None:
    counted = '{__name__=~"unpod_(tasks?|calls?)_.*(total|count|bucket|sum)"}'
    labelled = f'label_replace({counted}, "family", "$1", "__name__", "(.+)")'
    assert len(await stage.prometheus.asks(f"{labelled} > 0")) > 50
    assert await stage.prometheus.asks(f"resets({labelled}[3h:1m]) > 0") == {}
    await stage.prometheus.scraped(1)
    recent = f"time() - min(unpod_agent_last_success_timestamp_seconds{{agent!='{STORY[-1].fault.agent}'}})"
    assert (await stage.prometheus.number(recent) or 1e9) < 60


async def test_what_goes_wrong_in_the_story_can_be_seen(stage: Stage) -> None:
    failed = await stage.prometheus.asks("sum by (reason) (increase(unpod_agent_poll_failures_total[3h])) > 0")
    assert {dict(labels)["reason"] for labels in failed} >= {"server_error", "rate_limited", "no_access", "connection"}
    down = await stage.prometheus.asks("unpod_agent_up == 0")
    assert {dict(labels)["agent"] for labels in down} == {STORY[-1].fault.agent}
