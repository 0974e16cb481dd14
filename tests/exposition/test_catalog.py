"""The catalog as a contract: names are public, and the docs say what the code shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.exposition import catalog as catalogs
from exporter.exposition import docs
from exporter.exposition.catalog import Settings
from exporter.exposition.family import Family, Kind, Scope

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "metrics.md"
PUBLIC = [
    "unpod_agent_info",
    "unpod_agent_up",
    "unpod_agent_last_success_timestamp_seconds",
    "unpod_agent_last_poll_duration_seconds",
    "unpod_agent_polls_total",
    "unpod_agent_poll_failures_total",
    "unpod_agent_history_complete",
    "unpod_agent_history_read_ratio",
    "unpod_tasks",
    "unpod_tasks_reported",
    "unpod_tasks_overdue",
    "unpod_tasks_unreadable",
    "unpod_oldest_open_task_timestamp_seconds",
    "unpod_open_runs",
    "unpod_last_call_end_timestamp_seconds",
    "unpod_tasks_created_total",
    "unpod_task_transitions_total",
    "unpod_task_failures_total",
    "unpod_task_failure_reasons_total",
    "unpod_task_retries_total",
    "unpod_task_retry_attempts",
    "unpod_task_start_delay_seconds",
    "unpod_calls_total",
    "unpod_call_end_reasons_total",
    "unpod_call_end_codes_total",
    "unpod_call_duration_seconds",
    "unpod_calls_recorded_total",
    "unpod_call_messages_total",
    "unpod_calls_silent_total",
    "unpod_call_outcomes_total",
    "unpod_call_sentiments_total",
    "unpod_call_cost_dollars_total",
    "unpod_call_llm_tokens_total",
    "unpod_call_tts_characters_total",
    "unpod_call_stt_seconds_total",
    "unpod_call_llm_latency_seconds",
    "unpod_number_calls_total",
    "unpod_exporter_build_info",
    "unpod_exporter_config_last_reload_successful",
    "unpod_exporter_config_last_reload_success_timestamp_seconds",
    "unpod_exporter_shard_info",
    "unpod_exporter_agents_skipped",
    "unpod_exporter_schedule_lag_seconds",
    "unpod_exporter_api_requests_total",
    "unpod_exporter_api_request_duration_seconds",
    "unpod_exporter_api_response_bytes_total",
    "unpod_exporter_api_throttle_wait_seconds_total",
    "unpod_exporter_state_commit_duration_seconds",
    "unpod_exporter_state_size_bytes",
    "unpod_exporter_state_created_timestamp_seconds",
    "unpod_exporter_state_set_aside_files",
    "unpod_exporter_state_commit_failures_total",
    "unpod_exporter_state_uncommitted_tasks",
    "unpod_exporter_tracked_tasks",
    "unpod_exporter_unknown_values_total",
    "unpod_exporter_scrape_render_duration_seconds",
]


def test_no_public_name_is_missing_and_none_stands_there_twice(catalog: tuple[Family, ...]) -> None:
    names = [family.name for family in catalog]
    assert len(set(names)) == len(names)
    assert set(PUBLIC) <= set(names)


def test_counters_alone_end_in_total(catalog: tuple[Family, ...]) -> None:
    for family in catalog:
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER), family.name


def test_no_label_is_called_type_or_agent(catalog: tuple[Family, ...]) -> None:
    names = {label.name for family in catalog for label in family.labels}
    assert not names & {"type", "agent", "le", "quantile"}


def test_what_begins_at_0_is_part_of_a_bounded_domain(catalog: tuple[Family, ...]) -> None:
    for family in catalog:
        for label in family.labels:
            assert label.values is None or set(label.known) <= set(label.values), family.name


def test_help_of_every_family_that_comes_from_polling_says_so(catalog: tuple[Family, ...]) -> None:
    for family in catalog:
        if family.scope is not Scope.PROCESS and family.name != catalogs.INFO:
            assert "poll" in family.help.lower(), family.name


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (None, "of the whole history"),
        (90 * 86_400.0, "of those created in the last 90d"),
        (5400.0, "of those created in the last 5400s"),
    ],
)
def test_help_of_tasks_says_which_history_it_covers(history: float | None, words: str) -> None:
    tasks = next(one for one in catalogs.families(Settings(history=history)) if one.name == "unpod_tasks")
    assert tasks.help == f"Tasks now in each status, {words}, as seen by polling"


def test_buckets_of_call_durations_are_configurable() -> None:
    bounds = catalogs.buckets(Settings(call_duration_buckets=(1, 2)))
    assert bounds == {
        "task_retry_attempts": (0, 1, 2, 3, 4, 5, 10),
        "task_start_delay_seconds": (1, 5, 15, 60, 300, 900, 3600, 14400, 86400),
        "call_duration_seconds": (1, 2),
    }


@pytest.mark.parametrize("name", ["metrics.md", "backfill.md"])
def test_the_pages_are_what_the_catalog_says(name: str) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert docs.renew(page) == page, f"renew it: python -m exporter.exposition.docs docs/{name}"


def test_the_page_names_every_family_and_every_value_of_a_label(catalog: tuple[Family, ...]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for family in catalog:
        assert f"| `{family.name}` | {family.kind} |" in page
        for label in family.labels:
            assert ", ".join(label.values or ()) in page


def test_what_counts_by_a_time_of_the_platform_has_a_past_and_nothing_else(catalog: tuple[Family, ...]) -> None:
    told = {family.name for family in catalog if family.told is not None}
    assert all(family.kind is not Kind.GAUGE and family.scope is Scope.AGENT for family in catalog if family.told)
    assert told == {
        family.name
        for family in catalog
        if family.name.startswith(("unpod_call", "unpod_number", "unpod_tasks_created", "unpod_task_start"))
    }


def test_renewing_a_page_replaces_what_stands_between_the_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: vocabulary -->\nstale table\n<!-- end -->\nafter\n")
    docs.main([str(page)])
    text = page.read_text()
    assert text.startswith("before\n<!-- begin: vocabulary -->\n| label |")
    assert text.endswith(" |\n<!-- end -->\nafter\n")
    assert "stale table" not in text
