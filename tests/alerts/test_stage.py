"""On a real Prometheus that scrapes the demo, every rule and every query of a runbook does what it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.alerts.test_vocabulary import RECORDED, RUNBOOKS, queries
from tests.prometheus.stage import Stage
from tests.service.running import until

pytestmark = pytest.mark.xdist_group("stage")

NEEDS_A_PAST = {
    "agent:unpod_agent_success_gap_seconds:max5m",
    "agent:unpod_calls_answered:increase1h_past7d",
    "agent:unpod_calls_outbound:increase1h_past7d",
    "agent:unpod_calls_answered:ratio_increase1h_past7d",
    "agent:unpod_call_duration_seconds_sum:increase1h_past7d",
    "agent:unpod_call_duration_seconds_count:increase1h_past7d",
    "agent:unpod_call_duration_seconds:mean1h_past7d",
    "agent:unpod_call_cost_dollars:steady1h_max7d",
}
"""Made of what other rules have recorded minutes or days ago, which this Prometheus has not."""


async def evaluated(stage: Stage) -> list[dict[str, Any]]:
    """All rules, each evaluated at least once."""

    async def asked() -> list[dict[str, Any]]:
        groups = (await stage.prometheus.api("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    return await until(asked)


async def test_every_rule_is_evaluated_without_an_error(stage: Stage) -> None:
    rules = await evaluated(stage)
    assert {rule["name"] for rule in rules if rule["type"] == "recording"} == RECORDED
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("record", sorted(RECORDED - NEEDS_A_PAST))
async def test_what_is_recorded_has_data(stage: Stage, record: str) -> None:
    async def asked() -> object:
        return await stage.prometheus.asks(record)

    await until(asked)


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
async def test_the_queries_of_a_runbook_can_be_run(stage: Stage, page: Any) -> None:
    for query in queries(page):
        await stage.prometheus.asks(query)


async def test_the_agent_that_is_down_in_the_story_is_pending_or_told(stage: Stage) -> None:
    async def asked() -> object:
        return await stage.prometheus.asks('ALERTS{alertname="UnpodAgentDown",agent="renewals-legacy"}')

    assert await until(asked)
