"""Changes -> the counters, histograms and gauges of one agent, as plain whole numbers.

Every number is an integer under a flat key ``(family, *labels)``: sums are exact in any order, a restart changes no
digit, and storage needs to know nothing of what they mean. Seconds and dollars are kept in billionths. A histogram
keeps its buckets under ``(family, *labels, upper bound)`` and its sum under ``(family, *labels, "sum")``.
"""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from exporter.tracking.records import NO_AMOUNTS, Amounts
from exporter.tracking.report import Counter, Distribution, Family, Histogram, Labels, Summary, Total
from exporter.unpod.facts import Call

Key = tuple[str, ...]
Numbers = Mapping[Key, int]

BILLION: Final = 1_000_000_000
SUM: Final = "sum"
COUNT: Final = "count"
INFINITY: Final = "+Inf"

COUNTERS: Final = (
    "tasks_created",
    "task_transitions",
    "task_failures",
    "task_failure_reasons",
    "task_retries",
    "calls",
    "call_end_reasons",
    "calls_recorded",
    "call_messages",
    "calls_silent",
    "call_outcomes",
    "call_sentiments",
    "call_llm_tokens",
    "call_tts_characters",
    "exporter_unknown_values",
)
BILLIONTHS: Final = ("call_cost_dollars", "call_stt_seconds")
CAPPED: Final = ("call_end_codes", "number_calls")
"""Families whose first label is an open set: its first values are kept, the rest becomes ``other``."""
TASKS: Final = "tasks"
_LATENCY: Final = "call_llm_latency_seconds"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the numbers are counted into."""

    buckets: dict[str, tuple[float, ...]]
    """The upper bounds of each histogram family, without +Inf."""
    end_codes: int = 50
    """How many raw end codes of an agent are kept; 0 = none are counted."""
    numbers: int = 0
    """How many of the organisation's own numbers are kept; 0 = none are counted."""

    @property
    def capped(self) -> tuple[str, ...]:
        """The families of ``CAPPED`` that are counted."""
        return tuple(family for family, limit in zip(CAPPED, (self.end_codes, self.numbers), strict=True) if limit)


def billionths(value: float) -> int:
    """Seconds or dollars as a whole number of billionths."""
    return round(value * BILLION)


def amounts_of(call: Call) -> Amounts:
    """The amounts that a call shows."""
    messages, latency = call.messages, call.latency
    return Amounts(
        billionths(call.cost),
        call.prompt_tokens,
        call.completion_tokens,
        call.tts_characters,
        billionths(call.stt_seconds),
        messages.agent if messages else 0,
        messages.user if messages else 0,
        messages.other if messages else 0,
        latency.count if latency else 0,
        billionths(latency.sum) if latency else 0,
    )


_AMOUNT_KEYS: Final[tuple[Key, ...]] = (
    ("call_cost_dollars",),
    ("call_llm_tokens", "prompt"),
    ("call_llm_tokens", "completion"),
    ("call_tts_characters",),
    ("call_stt_seconds",),
    ("call_messages", "agent"),
    ("call_messages", "user"),
    ("call_messages", "other"),
    (_LATENCY, COUNT),
    (_LATENCY, SUM),
)
"""Where each field of ``Amounts`` is counted, in their order."""


class Draft:
    """What one poll adds to the numbers of an agent. Its methods are the events that the ledger tells."""

    def __init__(self, limits: Limits, numbers: Numbers) -> None:
        self._limits = limits
        self._cells: dict[Key, tuple[Key, ...]] = {}
        """Where each histogram that has been told of is counted: its buckets, and its sum last."""
        self._capped = {family: _first_labels(numbers, family) for family in CAPPED}
        self.added: defaultdict[Key, int] = defaultdict(int)
        self.last_call_end: float | None = None
        self.latest = math.inf
        """An end of a call that is told to lie after this, in Unix seconds, is wrong."""

    def at(self, moment: float | None) -> None:
        """What is told from now on happened at this Unix time; None: nobody knows when. Numbers alone have no time."""

    def total(self) -> Mapping[Key, int]:
        """All that has been told."""
        return self.added

    def committed(self) -> None:
        """What has been told is part of the numbers from now on."""

    def moved(self, before: Labels | None, after: Labels) -> None:
        """A task now has this execution type and status; None: it was not known before."""
        self.added[(TASKS, *after)] += 1
        if before is not None:
            self.added[(TASKS, *before)] -= 1

    def created(self, execution_type: str) -> None:
        """A task has appeared."""
        self.added[("tasks_created", execution_type)] += 1

    def entered(self, execution_type: str, status: str) -> None:
        """A task has entered a status."""
        self.added[("task_transitions", execution_type, status)] += 1

    def retried(self, execution_type: str, times: int) -> None:
        """``retry_attempt`` has risen."""
        self.added[("task_retries", execution_type)] += times

    def failures(self, execution_type: str, times: int) -> None:
        """``failure_count`` has risen."""
        self.added[("task_failures", execution_type)] += times

    def failed(self, reason: str) -> None:
        """A task has entered ``failed``."""
        self.added[("task_failure_reasons", reason)] += 1

    def finished(self, execution_type: str, retry_attempt: int) -> None:
        """A task has reached completed or failed in this attempt."""
        self._observe(("task_retry_attempts", execution_type), retry_attempt)

    def started(self, execution_type: str, delay: float) -> None:
        """The first call of a task has started so many seconds after it was due."""
        self._observe(("task_start_delay_seconds", execution_type), delay)

    def odd(self, fields: Iterable[str]) -> None:
        """Fields of a task hold values that fit nothing known."""
        for field in fields:
            self.added[("exporter_unknown_values", field)] += 1

    def call(self, call: Call) -> None:
        """A call has ended and its record is final."""
        self.added[("calls", call.direction, call.status)] += 1
        self.added[("call_end_reasons", call.end_reason)] += 1
        if self._limits.end_codes:
            self.added[("call_end_codes", self._cap("call_end_codes", call.code, self._limits.end_codes))] += 1
        if self._limits.numbers:
            number = self._cap("number_calls", call.number or "unknown", self._limits.numbers)
            self.added[("number_calls", number, call.status)] += 1

    def ended_at(self, end: float) -> None:
        """A counted call ended at this time."""
        if end <= self.latest:
            self.last_call_end = max(end, self.last_call_end or end)

    def duration(self, direction: str, seconds: float) -> None:
        """The duration of a counted call is known, and above 0."""
        self._observe(("call_duration_seconds", direction), seconds)

    def recorded(self) -> None:
        """A counted call has a recording."""
        self.added[("calls_recorded",)] += 1

    def silent(self) -> None:
        """In a counted call with a transcript the user said nothing."""
        self.added[("calls_silent",)] += 1

    def outcome(self, outcome: str) -> None:
        """The outcome of a counted call is known."""
        self.added[("call_outcomes", outcome)] += 1

    def sentiment(self, sentiment: str) -> None:
        """The sentiment of a counted call is known."""
        self.added[("call_sentiments", sentiment)] += 1

    def amounts(self, counted: Amounts, shown: Amounts) -> Amounts:
        """Counts by how much each amount of a counted call exceeds what was counted; returns what is counted now."""
        if shown == counted:
            return counted
        before, now = msgspec.structs.astuple(counted), msgspec.structs.astuple(shown)
        added = self.added
        for key, was, is_ in zip(_AMOUNT_KEYS, before, now, strict=True):
            if is_ > was:
                added[key] += is_ - was
        return shown if counted is NO_AMOUNTS else Amounts(*map(max, before, now))

    def _observe(self, histogram: Key, value: float) -> None:
        cells = self._cells.get(histogram) or self._cells_of(histogram)
        self.added[cells[bisect_left(self._limits.buckets[histogram[0]], value)]] += 1
        self.added[cells[-1]] += billionths(value)

    def _cells_of(self, histogram: Key) -> tuple[Key, ...]:
        bounds = self._limits.buckets[histogram[0]]
        cells = tuple((*histogram, last) for last in (*map(bound_text, bounds), INFINITY, SUM))
        self._cells[histogram] = cells
        return cells

    def _cap(self, family: str, value: str, limit: int) -> str:
        """``value`` if it is one of the first values of the family, or can still become one; else ``other``."""
        kept = self._capped[family]
        if value in kept or value in ("other", "unknown"):
            return value
        if len(kept) >= limit:
            return "other"
        kept.add(value)
        return value


def _first_labels(numbers: Numbers, family: str) -> set[str]:
    return {key[1] for key in numbers if key[0] == family} - {"other", "unknown"}


def bound_text(bound: float) -> str:
    """How an upper bound stands in a key: equal numbers have equal texts (5 and 5.0 are the same bucket)."""
    return repr(float(bound))


def plus(numbers: Numbers, added: Numbers) -> dict[Key, int]:
    """The numbers after a poll."""
    total = dict(numbers)
    for key, amount in added.items():
        total[key] = total.get(key, 0) + amount
    return total


def pack(numbers: Numbers) -> bytes:
    """The numbers in as few bytes as may be."""
    return zlib.compress(msgspec.msgpack.encode(list(numbers.items())))


def unpack(packed: bytes) -> dict[Key, int]:
    """The numbers of some bytes; none of no bytes. Raises ``msgspec.DecodeError`` or ``zlib.error``."""
    return dict(_unpacker.decode(zlib.decompress(packed))) if packed else {}


_unpacker: Final = msgspec.msgpack.Decoder(list[tuple[Key, int]])


def without(numbers: Numbers, dropped: Collection[str]) -> dict[Key, int]:
    """The numbers less those of some families."""
    return {key: number for key, number in numbers.items() if key[0] not in dropped}


def families(numbers: Numbers, limits: Limits, since: Mapping[str, float]) -> dict[str, Family]:
    """The counted families of a report. ``since`` tells for each family, and for "" for all others, when it began."""
    by_family: defaultdict[str, dict[Labels, int]] = defaultdict(dict)
    for key, number in numbers.items():
        by_family[key[0]][key[1:]] = number
    began = since[""]
    shown: dict[str, Family] = {
        name: Counter(since.get(name, began), by_family[name]) for name in (*COUNTERS, *limits.capped)
    }
    for name in BILLIONTHS:
        values = {labels: number / BILLION for labels, number in by_family[name].items()}
        shown[name] = Counter(since.get(name, began), values)
    for name, bounds in limits.buckets.items():
        shown[name] = Histogram(since.get(name, began), bounds, _distributions(by_family[name], bounds))
    latency = by_family[_LATENCY]
    total = Total(latency.get((COUNT,), 0), latency.get((SUM,), 0) / BILLION)
    shown[_LATENCY] = Summary(since.get(_LATENCY, began), {(): total})
    return shown


def tasks(numbers: Numbers) -> dict[Labels, float]:
    """How many tasks have each execution type and status now."""
    return {key[1:]: number for key, number in numbers.items() if key[0] == TASKS and number}


def _distributions(cells: Mapping[Labels, int], bounds: tuple[float, ...]) -> dict[Labels, Distribution]:
    buckets = (*map(bound_text, bounds), INFINITY)
    return {
        labels: Distribution(
            tuple(cells.get((*labels, bucket), 0) for bucket in buckets), cells.get((*labels, SUM), 0) / BILLION
        )
        for labels in {cell[:-1] for cell in cells}
    }
