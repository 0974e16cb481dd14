"""`make demo` is the command `demo` and nothing else: what somebody sees who tries it for the first time."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from tests.service.running import fetched, json_line, samples, started, total, until

MAJOR = (
    "unpod_agent_info",
    "unpod_agent_up",
    "unpod_agent_history_complete",
    "unpod_agent_last_success_timestamp_seconds",
    "unpod_agent_polls_total",
    "unpod_tasks",
    "unpod_tasks_reported",
    "unpod_oldest_open_task_timestamp_seconds",
    "unpod_open_runs",
    "unpod_last_call_end_timestamp_seconds",
    "unpod_tasks_created_total",
    "unpod_task_transitions_total",
    "unpod_task_failures_total",
    "unpod_task_failure_reasons_total",
    "unpod_task_retries_total",
    "unpod_task_retry_attempts_count",
    "unpod_task_start_delay_seconds_count",
    "unpod_calls_total",
    "unpod_call_end_reasons_total",
    "unpod_call_end_codes_total",
    "unpod_call_duration_seconds_count",
    "unpod_calls_recorded_total",
    "unpod_call_messages_total",
    "unpod_calls_silent_total",
    "unpod_call_outcomes_total",
    "unpod_call_sentiments_total",
    "unpod_call_cost_dollars_total",
    "unpod_call_llm_tokens_total",
    "unpod_call_tts_characters_total",
    "unpod_call_stt_seconds_total",
    "unpod_call_llm_latency_seconds_count",
    "unpod_exporter_build_info",
    "unpod_exporter_api_requests_total",
    "unpod_exporter_tracked_tasks",
    "process_resident_memory_bytes",
)


async def test_the_demo_fills_every_major_family_and_says_where_to_look(tmp_path: Path) -> None:
    async with started(tmp_path, "demo", "--web.listen-address", "127.0.0.1:0") as process:
        await process.until(lambda: "Stop with Ctrl-C." in process.out)
        (page,) = re.findall(r"status page +(\S+)", process.out)
        (metrics,) = re.findall(r"metrics +(\S+)", process.out)
        (truth,) = re.findall(r"what really happened: (\S+)\)", process.out)
        assert urlsplit(page).port not in (None, 0)
        missing = set(MAJOR)

        async def filled() -> bool:
            shown = samples((await fetched(metrics)).text)
            missing.difference_update([family for family in MAJOR if total(shown, family) > 0])
            return not missing

        try:
            await until(filled)
        except AssertionError:
            raise AssertionError(f"nothing in {sorted(missing)}") from None
        assert "collections-hi" in (await fetched(page)).text
        assert json_line((await fetched(truth)).text)["events"]
        before = total(samples((await fetched(metrics)).text), "unpod_tasks_created_total")

        async def grows() -> bool:
            return total(samples((await fetched(metrics)).text), "unpod_tasks_created_total") > before

        await until(grows)


def test_make_demo_is_the_command() -> None:
    rules = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo: .*\n\t\$\(BIN\)/unpod-exporter demo$", rules, re.M)
