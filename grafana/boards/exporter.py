"""Exporter: can the numbers be trusted?"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build

from exporter.unpod.errors import REASONS
from grafana.frame import Chapter, board
from grafana.palette import BAD, DEEP, GOOD, PLAIN, SOFT, VIVID, WARNING, WORDS
from grafana.panels import Panel, Query, figure, lines, of_words, ranking, spread, stacked
from grafana.promql import (
    HOUR,
    TARGET,
    age,
    by_target,
    growth,
    now,
    per_hour,
    quantile,
    rate_by_target,
    total,
    worst,
)

API: Final = "unpod_exporter_api_request"
STATE: Final = "unpod_exporter_state"
STALE: Final = ((None, GOOD), (180.0, WARNING), (900.0, BAD))
ENDPOINTS: Final = {"tasks": DEEP, "agents": PLAIN}
CODES: Final = {
    "200": GOOD,
    "/^206$/": WORDS["no_access"],
    "/^3/": SOFT,
    "/^4(?!29)/": VIVID,
    "/^429$/": WARNING,
    "/^5/": BAD,
    **of_words(("timeout", "connection", "bad_response", "too_large")),
}
"""HTTP status codes, and the reasons why there was none."""


def exporter() -> build.Dashboard:
    """The dashboard."""
    return board(
        "unpod-exporter",
        "Can the numbers be trusted? How fresh they are, how the platform answers, and how the exporter itself is.",
        (
            Chapter("Is it there, and does it see everything?", _now()),
            Chapter("How fresh are the numbers?", _freshness()),
            Chapter("How does the platform answer?", _platform()),
            Chapter("Is what was counted safe, and does the exporter understand what it reads?", _state()),
            Chapter("What does it need?", _resources()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    up = now("unpod_agent_up")
    return (
        figure(
            "Exporters down",
            "Exporters that Prometheus cannot scrape.",
            "short",
            f"count({by_target('up')}) - sum({by_target('up')})",
            ((None, GOOD), (1.0, BAD)),
        ),
        figure(
            "Shards",
            "How many different shards are scraped, where several exporters share the agents; 1 where one has them "
            "all. If it is less than the number of shards in the configuration, nobody polls the agents of the others.",
            "short",
            f"count(count by (shard_index) ({by_target('unpod_exporter_shard_info')}))",
        ),
        figure("Agents", "Agents that are polled.", "short", f"count({up})"),
        figure(
            "Agents down",
            "Agents whose last poll failed. Below, it says why.",
            "short",
            f"count({up}) - sum({up})",
            ((None, GOOD), (1.0, BAD)),
        ),
        figure(
            "Histories not read yet",
            "Agents whose whole history has not been read yet. Until then their totals still grow by what is old.",
            "short",
            f"count({now('unpod_agent_history_complete')}) - sum({now('unpod_agent_history_complete')})",
            ((None, GOOD), (1.0, WARNING)),
        ),
        figure(
            "Configuration",
            "Whether the configuration was good when it was last read; if not, the one before is in force.",
            "short",
            f"min({by_target('unpod_exporter_config_last_reload_successful')})",
            ((None, BAD), (1.0, GOOD)),
            texts={"0": "bad", "1": "good"},
        ),
    )


def _freshness() -> tuple[Panel, ...]:
    success = total(now("unpod_agent_last_success_timestamp_seconds"), "agent")
    return (
        lines(
            "Age of the numbers, ten oldest",
            "How long ago the last successful poll of an agent ended. It rises to the interval and falls again; what "
            "only rises is not polled, or fails. Dashed: gauges disappear (polling.max_staleness, by "
            "default 15 min, or 2.5 intervals).",
            "s",
            (Query(worst(age(success)), "{{agent}}"),),
            steps=((None, "transparent"), (900.0, BAD)),
            width=6,
        ),
        lines(
            "Duration of polls, ten longest",
            "How long the last poll of an agent took. It must stay well below the interval between polls.",
            "s",
            (Query(worst(total(now("unpod_agent_last_poll_duration_seconds"), "agent")), "{{agent}}"),),
            width=6,
        ),
        lines(
            "Stretch of the interval",
            "By how much polls of an agent are farther apart than configured, at worst: since the allowed requests "
            "(api.requests_per_minute) do not suffice for all agents, or since its polls take too long for their "
            "interval. The log says which.",
            "s",
            (Query(by_target("unpod_exporter_schedule_lag_seconds"), "{{instance}}"),),
            width=6,
        ),
        stacked(
            "Failed polls per hour by reason",
            "A failed poll changes no number. Unauthorized, forbidden, not found and no access need a person; the rest "
            "heals by itself, or the platform is down.",
            "suffix: /h",
            (Query(per_hour("unpod_agent_poll_failures_total", "reason"), "{{reason}}"),),
            colours=of_words(REASONS),
            bars=True,
            absent="No poll failed",
            width=6,
        ),
    )


def _platform() -> tuple[Panel, ...]:
    buckets = rate_by_target(f"{API}_duration_seconds_bucket")
    return (
        stacked(
            "Requests per second by code",
            "Requests to the platform, by HTTP status, or by the reason why there was none.",
            "reqps",
            (Query(total(rate_by_target(f"{API}s_total"), "code"), "{{code}}"),),
            colours=CODES,
            width=6,
        ),
        spread(
            "Latency",
            "How long requests took, until the last byte or the failure.",
            "s",
            f"increase({by_target(f'{API}_duration_seconds_bucket')}[$__rate_interval])",
            width=6,
        ),
        lines(
            "Latency: nine of ten, by endpoint",
            "Nine of ten requests took no longer than this. Where it rises, the platform is busy. The limit "
            "is api.timeout.",
            "s",
            (Query(quantile(0.9, buckets, "endpoint"), "{{endpoint}}"),),
            colours=ENDPOINTS,
            step="5m",
            width=6,
        ),
        lines(
            "Held back by pacing",
            "Seconds per second that requests waited for their turn, all together: for the exporter's own limit "
            "(api.requests_per_minute) or because the platform said that there were too many. Above 1 there is always "
            "one that waits, and polls come late.",
            "short",
            (Query(rate_by_target("unpod_exporter_api_throttle_wait_seconds_total"), "{{instance}}"),),
            steps=((None, "transparent"), (1.0, BAD)),
            width=6,
        ),
    )


def _state() -> tuple[Panel, ...]:
    commits = rate_by_target(f"{STATE}_commit_duration_seconds_bucket")
    return (
        lines(
            "Duration of commits",
            "How long it took to commit the state of a poll: half of them, and 99 of 100, no longer than this. A slow "
            "disk makes polls slow.",
            "s",
            (
                Query(quantile(0.5, commits), "median"),
                Query(quantile(0.99, commits), "p99"),
            ),
            colours={"median": PLAIN, "p99": WARNING},
            step="5m",
            width=6,
        ),
        lines(
            "Not committed",
            "Tasks of which the latest is known in memory only, since the state cannot be written; commits that the "
            "disk did not take; and damaged states that were set aside. All are 0 when all is well.",
            "short",
            (
                Query(f"max({by_target(f'{STATE}_uncommitted_tasks')})", "tasks not committed"),
                Query(f"{HOUR} * max({rate_by_target(f'{STATE}_commit_failures_total')})", "failed commits per hour"),
                Query(f"max({by_target(f'{STATE}_set_aside_files')})", "states set aside"),
            ),
            colours={"tasks not committed": WARNING, "failed commits per hour": BAD, "states set aside": SOFT},
            width=6,
        ),
        ranking(
            "Unknown values",
            "Values in the chosen time that are outside of the known words and formats, by field. They are counted as "
            "other; where they grow, the platform has learned a word that the exporter has not. Of several exporters, "
            "the one that has met most.",
            "short",
            Query(f"max by (field) ({growth('unpod_exporter_unknown_values_total', of=TARGET)}) > 0", "{{field}}"),
            width=6,
            decimals=0,
            absent="Nothing was unknown",
        ),
        lines(
            "What is not read",
            "Tasks that the platform cannot deliver; the difference between its own count of tasks and what the "
            "exporter has seen; and entries of the list of agents without a handle, or with one that occurs before. "
            "Tasks are 0 when all is well.",
            "short",
            (
                Query(total(now("unpod_tasks_unreadable")), "unreadable tasks"),
                Query(f"{total(now('unpod_tasks_reported'))} - {total(now('unpod_tasks'))}", "tasks not seen"),
                Query(f"max({by_target('unpod_exporter_agents_skipped')})", "entries skipped"),
            ),
            colours={"unreadable tasks": BAD, "tasks not seen": SOFT, "entries skipped": PLAIN},
            width=6,
        ),
    )


def _resources() -> tuple[Panel, ...]:
    return (
        lines(
            "CPU",
            "Processor seconds per second: 100 % is one core. What a poll costs follows what has changed.",
            "percentunit",
            (Query(rate_by_target("process_cpu_seconds_total"), "{{instance}}"),),
            width=6,
        ),
        lines(
            "Memory",
            "Resident memory. It grows with the number of tracked tasks, and not with time.",
            "bytes",
            (Query(by_target("process_resident_memory_bytes"), "{{instance}}"),),
            width=6,
        ),
        lines(
            "Size of the state",
            "Size on disk; 0 where the state is kept in memory. It grows with the number of tracked tasks and with "
            "nothing else.",
            "bytes",
            (Query(by_target(f"{STATE}_size_bytes"), "{{instance}}"),),
            width=6,
        ),
        lines(
            "Samples of a scrape",
            "How many samples Prometheus got from a scrape: about 200 for each agent. It grows with the number of "
            "agents, and never with that of calls.",
            "short",
            (Query(by_target("scrape_samples_scraped"), "{{instance}}"),),
            width=6,
        ),
    )
