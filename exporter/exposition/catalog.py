"""Every metric family once: name, kind, help, labels, unit, buckets, and where its numbers come from.

Those about the exporter itself stand in ``itself``. Rendering, zero initialisation, the exporter's own metrics, the
docs table and the tests all read this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exporter.exposition import itself
from exporter.exposition.family import Family, Kind, Label, Scope, Told
from exporter.unpod import vocabulary
from exporter.unpod.errors import REASONS

DAY: Final = 86_400.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What of the configuration shows in the catalog."""

    history: float | None = None
    """How far back tasks are read, in seconds; None: all of them."""
    call_duration_buckets: tuple[float, ...] = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


INFO: Final = "unpod_agent_info"
"""The family whose numbers are not in ``Report.families``: its labels are ``Report.info``."""

AGENT_TYPE: Final = Label("agent_type", vocabulary.AGENT_TYPES, always=())
STATUS: Final = Label("status", vocabulary.STATUSES)
OPEN_STATUS: Final = Label("status", vocabulary.OPEN_STATUSES)
EXECUTION_TYPE: Final = Label("execution_type", vocabulary.EXECUTION_TYPES, always=("call",))
DIRECTION: Final = Label("direction", vocabulary.DIRECTIONS, always=("outbound",))
CALL_STATUS: Final = Label("call_status", vocabulary.CALL_STATUSES)
END_REASON: Final = Label("end_reason", vocabulary.END_REASONS)
CODE: Final = Label("code")
OUTCOME: Final = Label("outcome", vocabulary.OUTCOMES)
SENTIMENT: Final = Label("sentiment", vocabulary.SENTIMENTS)
ROLE: Final = Label("role", vocabulary.ROLES)
TOKEN_KIND: Final = Label("kind", ("prompt", "completion"))
NUMBER: Final = Label("number")
FAILURE_REASON: Final = Label("reason", vocabulary.FAILURE_REASONS)
POLL_FAILURE_REASON: Final = Label("reason", REASONS)
FIELD: Final = Label("field", vocabulary.FIELDS)

_POLLS: Final = (
    Family(
        name=INFO,
        kind=Kind.GAUGE,
        help="1, with the agent's own name and type from the agents list, and the labels that the configuration adds",
        labels=(Label("name"), AGENT_TYPE),
    ),
    Family(name="unpod_agent_up", kind=Kind.GAUGE, help="1 if the last poll of the agent succeeded", zeroed=False),
    Family(
        name="unpod_agent_last_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the last successful poll of the agent ended, as a Unix timestamp",
        zeroed=False,
    ),
    Family(
        name="unpod_agent_last_poll_duration_seconds",
        kind=Kind.GAUGE,
        help="How long the last poll of the agent took, whether it succeeded or not",
        zeroed=False,
    ),
    Family(name="unpod_agent_polls_total", kind=Kind.COUNTER, help="Polls of the agent that ended, well or badly"),
    Family(
        name="unpod_agent_poll_failures_total",
        kind=Kind.COUNTER,
        help="Polls of the agent that failed, by reason; a failed poll changes no other number",
        labels=(POLL_FAILURE_REASON,),
    ),
    Family(
        name="unpod_agent_history_complete",
        kind=Kind.GAUGE,
        help="1 once the agent's whole history has been read by polling",
        zeroed=False,
    ),
    Family(
        name="unpod_agent_history_read_ratio",
        kind=Kind.GAUGE,
        help="How much of the agent's history has been read by polling, from 0 to 1",
        zeroed=False,
    ),
)

_TASK_COUNTS: Final = (
    Family(
        name="unpod_tasks_created_total",
        kind=Kind.COUNTER,
        help="Tasks created, as seen by polling",
        labels=(EXECUTION_TYPE,),
        told=Told.CREATED,
    ),
    Family(
        name="unpod_task_transitions_total",
        kind=Kind.COUNTER,
        help="Entries of tasks into each status, as seen by polling: between two polls at most one of each task",
        labels=(EXECUTION_TYPE, STATUS),
    ),
    Family(
        name="unpod_task_failures_total",
        kind=Kind.COUNTER,
        help="Rises of the tasks' failure_count, as seen by polling",
        labels=(EXECUTION_TYPE,),
    ),
    Family(
        name="unpod_task_failure_reasons_total",
        kind=Kind.COUNTER,
        help="Entries of tasks into the status failed, by grouped reason, as seen by polling",
        labels=(FAILURE_REASON,),
    ),
    Family(
        name="unpod_task_retries_total",
        kind=Kind.COUNTER,
        help="Rises of the tasks' retry_attempt, as seen by polling",
        labels=(EXECUTION_TYPE,),
    ),
    Family(
        name="unpod_task_retry_attempts",
        kind=Kind.HISTOGRAM,
        help="Retry attempts of a task when it reaches completed or failed, as seen by polling",
        labels=(EXECUTION_TYPE,),
        buckets=(0, 1, 2, 3, 4, 5, 10),
    ),
    Family(
        name="unpod_task_start_delay_seconds",
        kind=Kind.HISTOGRAM,
        help="From when a task was due (scheduled, else created) to the start of its first call, as seen by polling",
        labels=(EXECUTION_TYPE,),
        buckets=(1, 5, 15, 60, 300, 900, 3600, 14400, 86400),
        told=Told.START,
    ),
)

_CALL_COUNTS: Final = (
    Family(
        name="unpod_calls_total",
        kind=Kind.COUNTER,
        help="Ended calls, each attempt once, as seen by polling",
        labels=(DIRECTION, CALL_STATUS),
        told=Told.END,
    ),
    Family(
        name="unpod_call_end_reasons_total",
        kind=Kind.COUNTER,
        help="Ended calls by group of end reasons, as seen by polling",
        labels=(END_REASON,),
        told=Told.END,
    ),
    Family(
        name="unpod_call_end_codes_total",
        kind=Kind.COUNTER,
        help="Ended calls by the provider's own end reason, the first ones of an agent, then other, as seen by polling",
        labels=(CODE,),
        told=Told.END,
    ),
    Family(
        name="unpod_calls_recorded_total",
        kind=Kind.COUNTER,
        help="Ended calls that have a recording, as seen by polling",
        told=Told.END,
    ),
    Family(
        name="unpod_call_messages_total",
        kind=Kind.COUNTER,
        help="Transcript messages of ended calls, by who spoke, as seen by polling",
        labels=(ROLE,),
        told=Told.END,
    ),
    Family(
        name="unpod_calls_silent_total",
        kind=Kind.COUNTER,
        help="Ended calls with a transcript in which the user said nothing, as seen by polling",
        told=Told.END,
    ),
    Family(
        name="unpod_call_outcomes_total",
        kind=Kind.COUNTER,
        help="What came of calls, from their post-call data, as seen by polling",
        labels=(OUTCOME,),
        told=Told.END,
    ),
    Family(
        name="unpod_call_sentiments_total",
        kind=Kind.COUNTER,
        help="Sentiment of calls, from their post-call data, as seen by polling",
        labels=(SENTIMENT,),
        told=Told.END,
    ),
    Family(
        name="unpod_call_cost_dollars_total",
        kind=Kind.COUNTER,
        help="Cost of ended calls in US dollars, as seen by polling",
        told=Told.END,
    ),
    Family(
        name="unpod_call_llm_tokens_total",
        kind=Kind.COUNTER,
        help="LLM tokens that calls used, as seen by polling",
        labels=(TOKEN_KIND,),
        told=Told.END,
    ),
    Family(
        name="unpod_call_tts_characters_total",
        kind=Kind.COUNTER,
        help="Characters that calls had spoken by text to speech, as seen by polling",
        told=Told.END,
    ),
    Family(
        name="unpod_call_stt_seconds_total",
        kind=Kind.COUNTER,
        help="Audio that calls had transcribed by speech to text, as seen by polling",
        told=Told.END,
    ),
    Family(
        name="unpod_call_llm_latency_seconds",
        kind=Kind.SUMMARY,
        help="How long the LLM took to answer during calls, as seen by polling: count and sum, no quantiles",
        told=Told.END,
    ),
    Family(
        name="unpod_number_calls_total",
        kind=Kind.COUNTER,
        help="Ended calls by the organisation's own number, the first ones of an agent, then other, as seen by polling",
        labels=(NUMBER, CALL_STATUS),
        told=Told.END,
    ),
)

_SUMMED: Final = (
    Family(
        name="unpod_exporter_tracked_tasks",
        kind=Kind.GAUGE,
        help="Tasks that the exporter keeps track of, as seen by polling",
        scope=Scope.SUM,
    ),
    Family(
        name="unpod_exporter_unknown_values_total",
        kind=Kind.COUNTER,
        help="Values outside of the known vocabulary and formats, once for each task and field, as seen by polling",
        labels=(FIELD,),
        scope=Scope.SUM,
    ),
)


def families(settings: Settings) -> tuple[Family, ...]:
    """The whole catalog, in the order of the exposition."""
    return (
        *_POLLS,
        *_task_gauges(settings),
        *_TASK_COUNTS,
        *_CALL_COUNTS,
        _durations(settings),
        *_SUMMED,
        *itself.FAMILIES,
    )


def buckets(settings: Settings) -> Mapping[str, tuple[float, ...]]:
    """Upper bounds (without +Inf) of the histograms that reports hold, by their key in ``Report.families``."""
    return {
        family.source: family.buckets
        for family in families(settings)
        if family.kind is Kind.HISTOGRAM and family.scope is not Scope.PROCESS
    }


def _durations(settings: Settings) -> Family:
    return Family(
        name="unpod_call_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Duration of ended calls whose duration is known and above 0, as seen by polling",
        labels=(DIRECTION,),
        buckets=settings.call_duration_buckets,
        told=Told.END,
    )


def _task_gauges(settings: Settings) -> tuple[Family, ...]:
    return (
        Family(
            name="unpod_tasks",
            kind=Kind.GAUGE,
            help=f"Tasks now in each status, {_coverage(settings.history)}, as seen by polling",
            labels=(EXECUTION_TYPE, STATUS),
            expires=True,
        ),
        Family(
            name="unpod_tasks_reported",
            kind=Kind.GAUGE,
            help="How many tasks the agent has by the platform's own count, as seen by polling",
            expires=True,
            zeroed=False,
        ),
        Family(
            name="unpod_tasks_overdue",
            kind=Kind.GAUGE,
            help="Waiting tasks whose scheduled time passed more than the grace period ago, as seen by polling",
            labels=(EXECUTION_TYPE,),
            expires=True,
        ),
        Family(
            name="unpod_tasks_unreadable",
            kind=Kind.GAUGE,
            help="Tasks that the platform cannot deliver (it answers 500 for their page, or they alone are too large), "
            "as seen by polling",
            expires=True,
        ),
        Family(
            name="unpod_oldest_open_task_timestamp_seconds",
            kind=Kind.GAUGE,
            help="Since when the longest-waiting task of each open status waits, as a Unix timestamp, as seen by "
            "polling: pending, hold since created; scheduled since due; processing, in_progress since it got there",
            labels=(OPEN_STATUS,),
            expires=True,
            zeroed=False,
        ),
        Family(
            name="unpod_open_runs",
            kind=Kind.GAUGE,
            help="Distinct runs among the open tasks, as seen by polling",
            expires=True,
        ),
        Family(
            name="unpod_last_call_end_timestamp_seconds",
            kind=Kind.GAUGE,
            help="When the latest call ended, as a Unix timestamp, as seen by polling",
            expires=True,
            zeroed=False,
        ),
    )


def _coverage(history: float | None) -> str:
    """Which tasks the gauges cover, in words."""
    if history is None:
        return "of the whole history"
    days, rest = divmod(history, DAY)
    span = f"{days:g}d" if not rest else f"{history:g}s"
    return f"of those created in the last {span}"
