"""A task and its call as facts: times, durations and words made uniform, nothing private kept."""

from __future__ import annotations

import msgspec


class Messages(msgspec.Struct, frozen=True, gc=False):
    """How many transcript messages each side has; the content itself is not kept."""

    agent: int = 0
    user: int = 0
    other: int = 0


class Latency(msgspec.Struct, frozen=True, gc=False):
    """LLM answers of a call: how many were measured, and the sum of their latencies in seconds."""

    count: int
    sum: float


class Call(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a task's ``output`` tells of a call. Words are those of ``vocabulary``."""

    id: str = ""
    """``call_id``; empty where the platform gave none."""
    start: float | None = None
    """Unix seconds."""
    end: float | None = None
    """Unix seconds."""
    duration: float | None = None
    """Seconds, as told or as ``end - start``; 0 is told, None is unknown."""
    over: bool = False
    """The output alone tells that the call has ended: an end time, an end reason that is one, or a
    final call status. (A task that is completed or failed tells it as well; the ledger adds that.)"""
    status: str = "unknown"
    direction: str = "unknown"
    end_reason: str = "unknown"
    code: str = "unknown"
    """The raw end reason as a slug that is safe to show; ``other`` where it is not, ``unknown`` where absent."""
    number: str = ""
    """The organisation's own number (``assistant_number``); empty where absent or not a number."""
    recorded: bool = False
    messages: Messages | None = None
    """None without a transcript (absent, null, empty, or in a shape that tells no roles)."""
    silent: bool | None = None
    """With a transcript: whether the user said nothing."""
    outcome: str | None = None
    sentiment: str | None = None
    cost: float = 0.0
    """US dollars."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tts_characters: int = 0
    stt_seconds: float = 0.0
    latency: Latency | None = None
    digest: int = 0
    """Tells whether the output has changed: 63 bits of its few fields above, 32 where it has an id."""

    @property
    def moment(self) -> float | None:
        """When it ended, in Unix seconds: as told, as its start and duration tell, or when a call began that tells
        neither; None where it tells no time at all."""
        if self.end is not None or self.start is None:
            return self.end
        return self.start + (self.duration or 0.0)


class Task(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One task of an agent as the platform shows it now. Times are Unix seconds."""

    id: str
    """``task_id``, else ``_id``."""
    run: str = ""
    created: float | None = None
    """``created``, else the time inside ``_id``."""
    status: str = "other"
    execution_type: str = "unknown"
    retry_attempt: int = 0
    failure_count: int = 0
    untold: tuple[str, ...] = ()
    """Which of the two are not told, or told as nonsense: their 0 says nothing."""
    failure_reason: str = "other"
    """Grouped from ``last_failure_reason``, else ``output.error``; it outlives success."""
    scheduled: float | None = None
    changed: float | None = None
    """``last_status_change``: not updated by several transitions."""
    call: Call | None = None
    """None where ``output`` tells of no call (only an error, a message or a schedule)."""
    odd: tuple[str, ...] = ()
    """Fields (of ``vocabulary.FIELDS``) whose value fits nothing known."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the tasks endpoint, already checked against itself."""

    tasks: tuple[Task, ...]
    total: int | None
    """The API's own ``count``; None where it gave none."""
    received: int
    """Items in ``data``, those without an identity (counted in ``unidentified``) included."""
    unidentified: int = 0
    whole: bool = False
    """The answer holds every task of the agent (the server ignores paging)."""
    bytes: int = 0


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the agents list."""

    handle: str
    name: str = ""
    type: str = "unknown"
