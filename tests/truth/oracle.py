"""What every number must be: computed from the simulator's truth and from when each task was looked at.

A second reading of the counting rules, in terms that the exporter cannot know: which real call is shown is told, not
recognised, and every word is what the simulator meant. Nothing here is imported from the exporter but the simulator.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.simulator import truth

Key = tuple[str, ...]

WAITING = ("pending", "scheduled", "hold")
RUNNING = ("processing", "in_progress")
TERMINAL = ("completed", "failed")
SKEW = 60.0
"""Seconds by which the clocks of the platform and of the exporter may differ: nothing closer tells calls apart."""
BOUNDS = {
    "task_retry_attempts": (0, 1, 2, 3, 4, 5, 10),
    "task_start_delay_seconds": (1, 5, 15, 60, 300, 900, 3600, 14400, 86400),
    "call_duration_seconds": (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600),
}


@dataclass(frozen=True)
class Sight:
    """What the API shows of a task at one moment."""

    status: str
    execution_type: str
    retry_attempt: int
    failure_count: int
    scheduled: float | None
    changed: float | None
    failure_reason: str
    created: float
    run: str
    call: truth.Shown | None


class Timeline:
    """Everything that the API has shown of one task, moment by moment."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._sights: list[Sight] = []

    def add(self, event: truth.Event) -> None:
        if isinstance(event, truth.Attempted | truth.Ended):
            return
        sight = _after(self._sights[-1] if self._sights else None, event)
        if self._times and self._times[-1] == event.at:
            self._sights[-1] = sight
        else:
            self._times.append(event.at)
            self._sights.append(sight)

    @property
    def begins(self) -> float:
        """When the task was first shown."""
        return self._times[0]

    def at(self, moment: float) -> Sight:
        return self._sights[bisect_right(self._times, moment) - 1]


def _after(before: Sight | None, event: truth.Event) -> Sight:
    if isinstance(event, truth.Created):
        return Sight(
            status=event.status,
            execution_type=event.execution_type,
            retry_attempt=event.retry_attempt,
            failure_count=event.failure_count,
            scheduled=event.scheduled,
            changed=event.changed,
            failure_reason="other",
            created=event.created,
            run=event.run,
            call=None,
        )
    assert before is not None
    told = dict(before.__dict__)
    if isinstance(event, truth.Changed):
        fields = ("status", "retry_attempt", "failure_count", "scheduled", "changed")
        told |= {name: getattr(event, name) for name in fields}
        told["failure_reason"] = event.failure_reason or "other"
    elif isinstance(event, truth.Shown):
        told["call"] = event
    else:
        told["call"] = None
    return Sight(**told)


def timelines(events: Iterable[truth.Event]) -> dict[tuple[str, str], Timeline]:
    """Timelines by agent and task id."""
    found: defaultdict[tuple[str, str], Timeline] = defaultdict(Timeline)
    for event in events:
        found[(event.agent, event.task)].add(event)
    return dict(found)


@dataclass
class _Attempt:
    """What has been counted of one real call."""

    shown: truth.Shown
    ended: float | None = None
    seen_ended: float | None = None
    """When it was seen ended, by the clock that never jumps."""
    counted: bool = False
    closed: bool = False
    evident: bool = False
    """It was seen with a start or an end. (A call just dispatched shows neither, nor an id: it may be any call.)"""
    once: set[str] = field(default_factory=set)
    amounts: Counter[Key] = field(default_factory=Counter)


class Oracle:
    """The numbers of one agent, by the looks at its tasks that were counted."""

    def __init__(self, *, settling: float) -> None:
        self._settling = settling
        self.numbers: Counter[Key] = Counter()
        self.last_call_end: float | None = None
        self._sights: dict[str, Sight] = {}
        self._entered: dict[str, float] = {}
        self._calls: defaultdict[str, dict[int, _Attempt]] = defaultdict(dict)
        self._current: dict[str, int] = {}
        self._started: set[str] = set()

    def look(
        self,
        task: str,
        sight: Sight,
        now: float,
        *,
        history: bool = False,
        moment: float | None = None,
        steady: bool = True,
    ) -> None:
        """A task was looked at, and the look was counted: ``now`` by the exporter's clock, ``moment`` by one that never
        jumps; ``steady``: the exporter's clock has not been set of late."""
        before = self._sights.get(task)
        first = before is None
        self._task(before, sight, silent=first and history)
        settled = first and now - _newest(sight, now) >= 6 * self._settling
        moment = now if moment is None else moment
        self._calls_of(task, sight, now if steady else None, moment, closed=first and history, settled=settled)
        self._start(task, before, sight, silent=first and history)
        if sight.status in RUNNING and (before is None or before.status != sight.status):
            moved = sight.changed is not None and (before is None or before.changed != sight.changed)
            self._entered[task] = min(sight.changed, now) if moved and sight.changed is not None else now
        self._sights[task] = sight

    def _task(self, before: Sight | None, sight: Sight, *, silent: bool) -> None:
        if silent:
            return
        kind = sight.execution_type
        self.numbers[("tasks_created", kind)] += before is None
        risen = sight.retry_attempt - (before.retry_attempt if before else 0)
        self.numbers[("task_retries", kind)] += max(0, risen)
        risen = sight.failure_count - (before.failure_count if before else 0)
        self.numbers[("task_failures", kind)] += max(0, risen)
        if before is not None and before.status == sight.status:
            return
        self.numbers[("task_transitions", kind, sight.status)] += 1
        if sight.status == "failed":
            self.numbers[("task_failure_reasons", sight.failure_reason)] += 1
        if sight.status in TERMINAL:
            attempt = sight.retry_attempt
            if before is not None and before.status in WAITING + RUNNING and sight.status == "completed":
                attempt = max(attempt, before.retry_attempt)
            self._observe(("task_retry_attempts", kind), attempt)

    def _calls_of(
        self, task: str, sight: Sight, now: float | None, moment: float, *, closed: bool, settled: bool
    ) -> None:
        calls = self._calls[task]
        before = calls.get(self._current.get(task, -1))
        if before is not None and sight.call is not None and self._looks_like(before, self._sights.get(task), sight):
            # A stub, and a record without a start, with nothing seen in between: no reader can tell them apart.
            calls[sight.call.call] = before
        if before is not None and sight.call is not None and _began_after(sight.call, before):
            calls.pop(sight.call.call, None)
        if sight.call is None:
            if before is not None:
                self._settle(before, moment)
            return
        call = calls.setdefault(sight.call.call, _Attempt(sight.call))
        if before is not None and before is not call and before.seen_ended is not None:
            self._count(before)
        call.shown = sight.call
        call.evident |= sight.call.over or sight.call.start is not None
        self._current[task] = sight.call.call
        if call.seen_ended is None and sight.call.over:
            call.ended = None if now is None else _moment(sight, now)
            call.seen_ended, call.closed = moment, closed
        if call.seen_ended is None or call.closed:
            return
        if call.counted:
            self._parts(call)
        elif settled or _is_final(sight.call, sight):
            self._count(call)
        else:
            self._settle(call, moment)

    @staticmethod
    def _looks_like(call: _Attempt, before: Sight | None, sight: Sight) -> bool:
        return (
            before is not None
            and _is_stub(before)
            and sight.call is not None
            and not _began_after(sight.call, call)
            and sight.status in TERMINAL
            and sight.retry_attempt <= before.retry_attempt
        )

    def _settle(self, call: _Attempt, moment: float) -> None:
        if call.seen_ended is not None and moment - call.seen_ended >= self._settling:
            self._count(call)

    def _count(self, call: _Attempt) -> None:
        if call.counted or call.closed:
            return
        call.counted = True
        shown = call.shown
        self.numbers[("calls", shown.direction, shown.call_status)] += 1
        self.numbers[("call_end_reasons", shown.end_reason)] += 1
        self.numbers[("call_end_codes", shown.code)] += 1
        self._parts(call)

    def _parts(self, call: _Attempt) -> None:
        shown = call.shown
        if shown.end is not None:
            self.last_call_end = max(shown.end, self.last_call_end or shown.end)
        if shown.duration and self._once(call, "duration"):
            self._observe(("call_duration_seconds", shown.direction), shown.duration)
        if shown.recorded and self._once(call, "recorded"):
            self.numbers[("calls_recorded",)] += 1
        if shown.silent is not None and self._once(call, "silent"):
            self.numbers[("calls_silent",)] += shown.silent
        if shown.outcome is not None and self._once(call, "outcome"):
            self.numbers[("call_outcomes", shown.outcome)] += 1
        if shown.sentiment is not None and self._once(call, "sentiment"):
            self.numbers[("call_sentiments", shown.sentiment)] += 1
        for key, amount in _amounts(shown).items():
            risen = max(0, amount - call.amounts[key])
            call.amounts[key] += risen
            self.numbers[key] += risen

    def _once(self, call: _Attempt, part: str) -> bool:
        fresh = part not in call.once
        call.once.add(part)
        return fresh

    def _start(self, task: str, before: Sight | None, sight: Sight, *, silent: bool) -> None:
        if task in self._started:
            return
        call = sight.call
        waits_again = sight.status in WAITING and sight.retry_attempt > 0
        current = self._calls[task].get(self._current.get(task, -1))
        others = any(one.evident for one in self._calls[task].values() if one is not current)
        first = sight.retry_attempt - waits_again == 0 and not others
        if call is None or call.start is None:
            left = current is not None and current.seen_ended is not None and sight.status in WAITING
            gone = current is not None and current.seen_ended is None and call is None and sight.status in TERMINAL
            if not first or left or gone:
                self._started.add(task)
            return
        self._started.add(task)
        due = _due(before, sight, call.start)
        if first and due is not None and not silent:
            self._observe(("task_start_delay_seconds", sight.execution_type), max(0.0, call.start - due))

    def _observe(self, key: Key, value: float) -> None:
        bounds = BOUNDS[key[0]]
        bound = next((repr(float(bound)) for bound in bounds if value <= bound), "+Inf")
        self.numbers[(*key, bound)] += 1
        self.numbers[(*key, "sum")] += round(value * 1e9)

    def gauges(self, now: float, *, grace: float) -> dict[Key, float]:
        """The gauges as of the last look."""
        shown: dict[Key, float] = {}
        for task, sight in self._sights.items():
            kind = sight.execution_type
            _add(shown, ("tasks", kind, sight.status))
            if sight.status in WAITING and sight.scheduled is not None and sight.scheduled < now - grace:
                _add(shown, ("tasks_overdue", kind))
            if sight.status in WAITING + RUNNING:
                key = ("oldest_open_task_timestamp_seconds", sight.status)
                shown[key] = min(shown.get(key, float("inf")), self._waits(task, sight))
        runs = {sight.run for sight in self._sights.values() if sight.status in WAITING + RUNNING and sight.run}
        shown[("open_runs",)] = len(runs)
        if self.last_call_end is not None:
            shown[("last_call_end_timestamp_seconds",)] = self.last_call_end
        return shown

    def _waits(self, task: str, sight: Sight) -> float:
        if sight.status in RUNNING:
            return self._entered[task]
        if sight.status == "scheduled" and sight.scheduled is not None:
            return sight.scheduled
        return sight.created


def _due(before: Sight | None, sight: Sight, start: float) -> float | None:
    """When the first call was due: a schedule after its start is that of its retry, if there was one."""
    told: Sight | None = sight
    if sight.scheduled is not None and sight.scheduled > start and sight.retry_attempt > 0:
        told = before
    if told is None:
        return None
    return sight.created if told.scheduled is None else told.scheduled


def _newest(sight: Sight, now: float) -> float:
    """When what is shown at first sight has changed last, as far as it tells."""
    call = sight.call
    told = (sight.created, sight.changed, sight.scheduled, call.start if call else None, call.end if call else None)
    return max((time for time in told if time is not None and time <= now), default=now)


def _began_after(shown: truth.Shown, call: _Attempt) -> bool:
    """Whether what was taken for a call turns out to be another one. (One whose start was told is known by it, even if
    a clock that was wrong says that it ended before.)"""
    if call.ended is None or shown.start is None or shown.start == call.shown.start:
        return False
    return shown.start > call.ended + SKEW


def _moment(sight: Sight, now: float) -> float:
    """When a call is taken to have ended that is seen so first: by the platform's clock, if that is clearly ahead."""
    call = sight.call
    told = (sight.created, sight.changed, call.start if call else None, call.end if call else None)
    newest = max(time for time in told if time is not None)
    return min(newest, now + 2 * 86_400) if newest > now + SKEW else now


def _is_stub(sight: Sight) -> bool:
    """Whether the output tells a call status and nothing else, of a task that is completed or failed."""
    call = sight.call
    return (
        call is not None
        and sight.status in TERMINAL
        and not call.enriched
        and (call.start, call.direction, call.code) == (None, "unknown", "unknown")
    )


def _is_final(call: truth.Shown, sight: Sight) -> bool:
    return call.end is not None or bool(call.duration) or (call.enriched and _tells_end(sight))


def _tells_end(sight: Sight) -> bool:
    """Whether the output, not only the task's status, says that the call is over: then a duration of 0 is one."""
    call = sight.call
    return call is not None and (
        call.end is not None
        or call.end_reason != "unknown"
        or call.call_status not in ("connected", "unknown", "other")
    )


def _amounts(shown: truth.Shown) -> Mapping[Key, int]:
    agent, user, other = shown.messages or (0, 0, 0)
    return {
        ("call_cost_dollars",): round(shown.cost * 1e9),
        ("call_llm_tokens", "prompt"): shown.prompt_tokens,
        ("call_llm_tokens", "completion"): shown.completion_tokens,
        ("call_tts_characters",): shown.tts_characters,
        ("call_stt_seconds",): round(shown.stt_seconds * 1e9),
        ("call_messages", "agent"): agent,
        ("call_messages", "user"): user,
        ("call_messages", "other"): other,
        ("call_llm_latency_seconds", "count"): shown.latency_count,
        ("call_llm_latency_seconds", "sum"): round(shown.latency_sum * 1e9),
    }


def _add(shown: dict[Key, float], key: Key) -> None:
    shown[key] = shown.get(key, 0) + 1


Look = tuple[str, Sequence[str], float]
"""An agent, the tasks on a page, and when it was read."""
