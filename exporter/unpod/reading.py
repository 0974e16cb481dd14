"""A task as it arrived, as facts. No value can make a task fail; one that fits nothing is named in ``Task.odd``."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Final

from exporter.unpod import times, wire
from exporter.unpod.calls import call
from exporter.unpod.facts import Task
from exporter.unpod.reasons import failure_reason
from exporter.unpod.values import Odd, absent, first, label, taken, text, whole
from exporter.unpod.vocabulary import EXECUTION_TYPE_WORDS, STATUS_WORDS

MOST_ATTEMPTS: Final = 10**6
"""Retries or failures of one task; more is nonsense."""
UNTOLD: Final = MappingProxyType(
    {
        (False, False): (),
        (True, False): ("retry_attempt",),
        (False, True): ("failure_count",),
        (True, True): ("retry_attempt", "failure_count"),
    }
)
"""The names of the attempts that are not told, by whether retries and failures are not."""
_attempts: Final = partial(whole, most=MOST_ATTEMPTS)


def task(entry: object) -> Task | None:
    """The facts of one entry of ``data``; None where it has no identity (``task_id``, else ``_id``)."""
    raw = wire.task(entry)
    if not isinstance(raw, wire.Task):
        return None
    odd: Odd = set()
    document = _object_id(raw.id)
    identity = text(raw.task_id)
    if not (identity or absent(raw.task_id)):
        odd.add("task_id")
    if not (identity or document):
        return None
    retries = taken(_attempts, raw.retry_attempt, "retry_attempt", odd)
    failures = taken(_attempts, raw.failure_count, "failure_count", odd)
    output = raw.output
    error = output.error if isinstance(output, wire.Output) else None
    return Task(
        id=identity or document,
        run=text(raw.run_id),
        created=taken(times.parse, raw.created, "created", odd)
        or times.of_object_id(document)
        or times.of_task_id(identity),
        status=label(raw.status, STATUS_WORDS, "status", odd, missing="other"),
        execution_type=label(raw.execution_type, EXECUTION_TYPE_WORDS, "execution_type", odd),
        retry_attempt=retries or 0,
        failure_count=failures or 0,
        untold=UNTOLD[retries is None, failures is None],
        failure_reason=failure_reason(first(raw.last_failure_reason, error)),
        scheduled=taken(times.due, raw.scheduled_timestamp, "scheduled_timestamp", odd),
        changed=taken(times.parse, raw.last_status_change, "last_status_change", odd),
        call=call(output, odd),
        # Last, because everything above fills it.
        odd=tuple(sorted(odd)) if odd else (),
    )


def _object_id(raw: object) -> str:
    return text(raw.get("$oid") if isinstance(raw, dict) else raw)
