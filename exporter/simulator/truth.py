"""What really happened, as an append-only log: the yardstick for every number that is read from the documents.

Words are the bounded ones of the metrics, stated from what the simulator meant, never parsed back from a document.
``at`` is Unix seconds; the log is ordered by it. All events of one moment belong together: a document never shows a
state between two events of the same task and moment.
"""

from __future__ import annotations

import msgspec


def _tag(name: str) -> str:
    return name.lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event", tag=_tag):
    """One thing that happened to one task."""

    at: float
    agent: str
    task: str


class Created(Event, frozen=True, kw_only=True, gc=False):
    """A task came to be, in this state."""

    created: float
    """As the document tells it: ``created``, or the whole second inside ``_id`` where ``created`` is absent."""
    execution_type: str
    status: str
    retry_attempt: int
    failure_count: int
    scheduled: float | None
    changed: float | None
    """``last_status_change`` as shown."""
    run: str


class Changed(Event, frozen=True, kw_only=True, gc=False):
    """The whole state of a task after something in it changed."""

    status: str
    retry_attempt: int
    failure_count: int
    scheduled: float | None
    changed: float | None
    failure_reason: str | None
    """The group of the shown failure text while ``status`` is failed, else None."""


class Attempted(Event, frozen=True, kw_only=True, gc=False):
    """A call began, whether or not a document will ever show it."""

    call: int
    start: float


class Ended(Event, frozen=True, kw_only=True, gc=False):
    """A call ended, whether or not a document will ever show it."""

    call: int
    end: float
    reason: str
    duration: float
    cost: float


class Shown(Event, frozen=True, kw_only=True, gc=False):
    """From now on the task's ``output`` tells this, and only this, of that call."""

    call: int
    """Unique per real call; the same call is shown again as its record grows."""
    over: bool
    """The document tells that the call ended: by its output, or because the task is completed or failed."""
    enriched: bool
    """An end time or a duration is shown."""
    direction: str
    call_status: str
    end_reason: str
    code: str
    start: float | None
    end: float | None
    duration: float | None
    """As told (0 stays 0), else ``end - start`` where both are shown."""
    recorded: bool
    messages: tuple[int, int, int] | None
    """Of the agent, of the user, of others; None without a transcript that tells roles."""
    silent: bool | None
    outcome: str | None
    sentiment: str | None
    cost: float
    prompt_tokens: int
    completion_tokens: int
    tts_characters: int
    stt_seconds: float
    latency_count: int
    latency_sum: float
    number: str


class Hidden(Event, frozen=True, kw_only=True, gc=False):
    """``output`` told of a call, and from now on tells of none."""
