"""The bounded words that the exporter uses, and how the platform's raw words map to them.

Every label value comes from one of these tuples. The ledger stores positions in them, so they are
append-only: never reorder, never remove.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

STATUSES: Final = (
    "pending",
    "scheduled",
    "processing",
    "in_progress",
    "hold",
    "completed",
    "failed",
    "other",
)
OPEN_STATUSES: Final = ("pending", "scheduled", "processing", "in_progress", "hold")
TERMINAL_STATUSES: Final = ("completed", "failed")
EXECUTION_TYPES: Final = (
    "call",
    "email",
    "answer",
    "sdk_call",
    "space_call",
    "email_classification",
    "dealer",
    "other",
    "unknown",
)
DIRECTIONS: Final = ("outbound", "inbound", "other", "unknown")
CALL_STATUSES: Final = (
    "completed",
    "connected",
    "not_connected",
    "busy",
    "voicemail",
    "failed",
    "cancelled",
    "dropped",
    "other",
    "unknown",
)
END_REASONS: Final = (
    "customer_ended",
    "no_answer",
    "busy",
    "rejected",
    "voicemail",
    "assistant_ended",
    "transferred",
    "silence_timeout",
    "max_duration",
    "start_error",
    "llm_error",
    "tts_error",
    "stt_error",
    "pipeline_error",
    "transport_error",
    "rate_limited",
    "cancelled",
    "other",
    "unknown",
)
OUTCOMES: Final = (
    "interested",
    "not_interested",
    "call_back",
    "send_details",
    "not_connected",
    "abandoned",
    "dropped",
    "other",
)
SENTIMENTS: Final = ("positive", "neutral", "negative", "other")
ROLES: Final = ("agent", "user", "other")
FAILURE_REASONS: Final = (
    "no_number",
    "invalid_number",
    "outgoing_disabled",
    "credentials",
    "concurrency_limit",
    "start_failed",
    "max_retries",
    "no_answer",
    "exception",
    "other",
)
FIELDS: Final = (
    "task_id",
    "created",
    "status",
    "execution_type",
    "retry_attempt",
    "failure_count",
    "scheduled_timestamp",
    "last_status_change",
    "output",
    "call_status",
    "call_type",
    "call_end_reason",
    "start_time",
    "end_time",
    "duration",
    "transcript",
    "cost",
    "usage",
    "outcome",
    "sentiment",
    "llm_latency",
)
"""Fields whose values may fall outside of what is known: the label of unpod_exporter_unknown_values_total."""

# The tables below map raw words, folded (without case, space, "-" and "_"), to the words above.


def _folded(words: tuple[str, ...]) -> dict[str, str]:
    return {word.replace("_", ""): word for word in words if word not in ("other", "unknown")}


STATUS_WORDS: Final[Mapping[str, str]] = MappingProxyType(_folded(STATUSES))
EXECUTION_TYPE_WORDS: Final[Mapping[str, str]] = MappingProxyType(_folded(EXECUTION_TYPES))
SENTIMENT_WORDS: Final[Mapping[str, str]] = MappingProxyType(_folded(SENTIMENTS))
OUTCOME_WORDS: Final[Mapping[str, str]] = MappingProxyType({**_folded(OUTCOMES), "droped": "dropped"})
DIRECTION_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "outbound": "outbound",
        "outboundphonecall": "outbound",
        "outboundcall": "outbound",
        "inbound": "inbound",
        "inboundphonecall": "inbound",
        "inboundcall": "inbound",
        "sdk": "other",
        "webcall": "other",
    }
)
CALL_STATUS_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_folded(CALL_STATUSES),
        "answered": "connected",
        "success": "completed",
        "ended": "completed",
        "missed": "not_connected",
        "rejected": "not_connected",
        "noanswer": "not_connected",
        "canceled": "cancelled",
        "droped": "dropped",
        "unknown": "unknown",
        "incall": "unknown",
        "calldispatched": "unknown",
        "outcall": "unknown",
    }
)
FINAL_CALL_STATUSES: Final = (
    "completed",
    "not_connected",
    "busy",
    "voicemail",
    "failed",
    "cancelled",
    "dropped",
)
"""Those that tell by themselves that the call has ended."""
ROLE_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "assistant": "agent",
        "agent": "agent",
        "bot": "agent",
        "ai": "agent",
        "user": "user",
        "customer": "user",
        "human": "user",
        "system": "other",
        "tool": "other",
        "function": "other",
    }
)
AGENT_TYPES: Final = (
    "voice",
    "chat",
    "tool",
    "connector",
    "data",
    "ai",
    "llm",
    "pilot",
    "message",
    "other",
    "unknown",
)
AGENT_TYPE_WORDS: Final[Mapping[str, str]] = MappingProxyType(_folded(AGENT_TYPES))
