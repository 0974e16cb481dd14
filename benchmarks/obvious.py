"""The obvious exporter: what one would write in an afternoon.

It counts the same families as ours does, and finds each number in the obvious way. It knows nothing of what it has
counted before, nor of the many ways in which the platform may tell a thing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

_DELAYS = (1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_DURATIONS = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_ROLES = {"assistant": "agent", "agent": "agent", "user": "user", "customer": "user"}
_FAILURES = {"number": "invalid_number", "concurren": "concurrency_limit", "retries": "max_retries"}


class Obvious:
    """Counters of prometheus_client, and what is counted of a task."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.tasks = Gauge("tasks", "Tasks", ["type", "status"], registry=registry)
        self.created = Counter("tasks_created", "Tasks created", ["type"], registry=registry)
        self.transitions = Counter("transitions", "Entries into a status", ["type", "status"], registry=registry)
        self.retries = Counter("retries", "Retries", ["type"], registry=registry)
        self.failures = Counter("failures", "Failures", ["type"], registry=registry)
        self.failure_reasons = Counter("failure_reasons", "Failure reasons", ["reason"], registry=registry)
        self.attempts = Histogram("attempts", "Attempts", ["type"], buckets=(0, 1, 2, 3, 4, 5, 10), registry=registry)
        self.delay = Histogram("start_delay", "Start delay", ["type"], buckets=_DELAYS, registry=registry)
        self.calls = Counter("calls", "Calls", ["direction", "status"], registry=registry)
        self.reasons = Counter("reasons", "End reasons", ["reason"], registry=registry)
        self.codes = Counter("codes", "Raw end reasons", ["code"], registry=registry)
        self.duration = Histogram("duration", "Duration", ["direction"], buckets=_DURATIONS, registry=registry)
        self.last_end = Gauge("last_call_end", "End of the last call", registry=registry)
        self.recorded = Counter("recorded", "Calls with a recording", registry=registry)
        self.messages = Counter("messages", "Messages", ["role"], registry=registry)
        self.silent = Counter("silent", "Calls in which the user said nothing", registry=registry)
        self.outcomes = Counter("outcomes", "Outcomes", ["outcome"], registry=registry)
        self.sentiments = Counter("sentiments", "Sentiments", ["sentiment"], registry=registry)
        self.cost = Counter("cost", "Cost", registry=registry)
        self.tokens = Counter("tokens", "Tokens of the LLM", ["kind"], registry=registry)
        self.characters = Counter("tts_characters", "Characters spoken", registry=registry)
        self.heard = Counter("stt_seconds", "Seconds heard", registry=registry)
        self.latency = Summary("llm_latency", "Latency of the LLM", registry=registry)
        self.newest_end = 0.0

    def count(self, task: dict[str, Any]) -> None:
        """Counts a task and its call."""
        kind, status, output = task["execution_type"], task["status"], task["output"]
        self.tasks.labels(kind, status).inc()
        self.created.labels(kind).inc()
        self.transitions.labels(kind, status).inc()
        self.retries.labels(kind).inc(task["retry_attempt"])
        self.failures.labels(kind).inc(task["failure_count"])
        if status == "failed":
            said = (task.get("last_failure_reason") or "").lower()
            reason = next((group for word, group in _FAILURES.items() if word in said), "other")
            self.failure_reasons.labels(reason).inc()
        if status in ("completed", "failed"):
            self.attempts.labels(kind).observe(task["retry_attempt"])
        if output.get("call_id"):
            due = task.get("scheduled_timestamp") or _seconds(task["created"] + "Z")
            self.delay.labels(kind).observe(max(0, _seconds(output["start_time"]) - due))
            self.count_call(output)

    def count_call(self, output: dict[str, Any]) -> None:
        """Counts a call."""
        direction = "inbound" if "inbound" in output["call_type"] else "outbound"
        end = _seconds(output["end_time"])
        self.calls.labels(direction, output["call_status"]).inc()
        self.reasons.labels("customer" if "customer" in output["call_end_reason"] else "other").inc()
        self.codes.labels(output["call_end_reason"]).inc()
        self.duration.labels(direction).observe(output.get("duration") or end - _seconds(output["start_time"]))
        self.newest_end = max(self.newest_end, end)
        self.last_end.set(self.newest_end)
        if output.get("recording_url"):
            self.recorded.inc()
        self.cost.inc(output["cost"])
        self.count_transcript(output.get("transcript") or [])
        after = output.get("post_call_data") or {}
        if outcome := (after.get("summary") or {}).get("status"):
            self.outcomes.labels(outcome.lower()).inc()
        if sentiment := after.get("sentiment"):
            self.sentiments.labels(sentiment).inc()
        latency = (after.get("realtime_agent_evaluation") or {}).get("llm_latency")
        if latency:
            self.latency.observe(latency["avg"] * latency["count"])
        usage = (output.get("metadata") or {}).get("usage") or {}
        self.tokens.labels("prompt").inc(usage.get("llm_prompt_tokens", 0))
        self.tokens.labels("completion").inc(usage.get("llm_completion_tokens", 0))
        self.characters.inc(usage.get("tts_characters_count", 0))
        self.heard.inc(usage.get("stt_audio_duration", 0))

    def count_transcript(self, transcript: list[dict[str, Any]]) -> None:
        """Counts the messages of a call."""
        said = False
        for message in transcript:
            role = _ROLES.get(message["role"], "other")
            self.messages.labels(role).inc()
            said = said or (role == "user" and bool(message["content"].strip()))
        if transcript and not said:
            self.silent.inc()


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
