"""The ``output`` of a task as the facts of a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Final
from zlib import crc32

import msgspec

from exporter.unpod import times, wire
from exporter.unpod.facts import Call, Latency
from exporter.unpod.reasons import EndReason, end_reason
from exporter.unpod.transcripts import transcript
from exporter.unpod.values import Odd, absent, first, label, number, taken, text, whole
from exporter.unpod.vocabulary import (
    CALL_STATUS_WORDS,
    DIRECTION_WORDS,
    FINAL_CALL_STATUSES,
    OUTCOME_WORDS,
    SENTIMENT_WORDS,
)

# What is beyond these is nonsense, and would spoil sums that are kept as billionths in 64 bits.
LONGEST_CALL: Final = 86400.0
"""Seconds of one call, and of whatever happens in it."""
DEAREST_CALL: Final = 1000.0
"""US dollars."""
MOST_USED: Final = 10**9
"""Tokens or characters of one call."""
MOST_ANSWERS: Final = 10**6
"""Answers of the LLM in one call."""
LONGEST_ANSWER: Final = 3600.0
"""Seconds that they take on average."""
_NUMBER_FILLING: Final = re.compile(r"[\s().-]+")
_PHONE_NUMBER: Final = re.compile(r"\+?[0-9]{5,15}")
_digested: Final = msgspec.msgpack.Encoder()
_NO_USAGE: Final = wire.Usage()
_NOTHING_AFTER: Final = wire.PostCall()

_seconds: Final = partial(number, most=LONGEST_CALL)
_dollars: Final = partial(number, most=DEAREST_CALL)
_amount: Final = partial(whole, most=MOST_USED)
_answers: Final = partial(whole, most=MOST_ANSWERS)
_average: Final = partial(number, most=LONGEST_ANSWER)


def call(raw: object, odd: Odd) -> Call | None:
    """The call that an ``output`` tells of.

    None where it tells of none: it has neither a ``call_id`` nor a start or end time, nor a status (of whatever kind)
    or a word for its end. ``Provider call dispatched successfully`` is no end of a call.
    """
    if not isinstance(raw, wire.Output):
        if not absent(raw):
            odd.add("output")
        return None
    output = raw
    identity = text(output.call_id)
    start = taken(times.parse, first(output.start_time, output.startedAt), "start_time", odd)
    end = taken(times.parse, first(output.end_time, output.endedAt), "end_time", odd)
    status = label(output.call_status, CALL_STATUS_WORDS, "call_status", odd)
    said = first(output.call_end_reason, output.endedReason)
    reason = end_reason(said)
    if reason.odd:
        odd.add("call_end_reason")
    if not (identity or start or end or reason.ends or not absent(output.call_status)):
        return None
    return _call(output, odd, identity, start, end, status, said, reason)


def _call(
    output: wire.Output,
    odd: Odd,
    identity: str,
    start: float | None,
    end: float | None,
    status: str,
    said: object,
    reason: EndReason,
) -> Call:
    duration = _duration(output.duration, start, end, odd)
    messages, silent = transcript(output.transcript, odd)
    post_call = _post_call(output.post_call_data)
    usage = _usage(output)
    return Call(
        id=identity,
        start=start,
        end=end,
        duration=duration,
        over=end is not None or reason.ends or status in FINAL_CALL_STATUSES,
        status=status,
        direction=label(first(output.call_type, output.type), DIRECTION_WORDS, "call_type", odd),
        end_reason=reason.group,
        code=reason.code,
        number=own_number(output.assistant_number),
        recorded=is_recorded(output.recording_url) or is_recorded(output.recordingUrl),
        messages=messages,
        silent=silent,
        outcome=_outcome(post_call, odd),
        sentiment=_word(post_call.sentiment, SENTIMENT_WORDS, "sentiment", odd),
        cost=_cost(output, odd),
        prompt_tokens=_used(usage.llm_prompt_tokens, odd),
        completion_tokens=_used(usage.llm_completion_tokens, odd),
        tts_characters=_used(usage.tts_characters_count, odd),
        stt_seconds=taken(_seconds, usage.stt_audio_duration, "usage", odd) or 0.0,
        latency=_latency(post_call, odd),
        digest=digest(identity, status, said, start, end, duration),
    )


def _duration(raw: object, start: float | None, end: float | None, odd: Odd) -> float | None:
    """As told, else ``end - start``; what is told wrongly, or would be negative, is unknown."""
    if not absent(raw):
        return taken(_seconds, raw, "duration", odd)
    if start is None or end is None:
        return None
    return taken(_seconds, length_of(start, end), "duration", odd)


def length_of(start: float, end: float) -> float:
    """Seconds between two moments, below 0 where they are the wrong way round."""
    # The platform tells microseconds; binary fractions of large numbers would add noise below.
    return round(end - start, 6)


def own_number(raw: object) -> str:
    """The organisation's own number, bare; empty where it is none."""
    if raw is None:
        return ""
    bare = _NUMBER_FILLING.sub("", text(raw))
    return bare if _PHONE_NUMBER.fullmatch(bare) else ""


def is_recorded(raw: object) -> bool:
    """Whether this is the URL of a recording."""
    return isinstance(raw, str) and not absent(raw)


def _usage(output: wire.Output) -> wire.Usage:
    metadata = output.metadata
    usage = metadata.usage if isinstance(metadata, wire.Metadata) else None
    return usage if isinstance(usage, wire.Usage) else _NO_USAGE


def _used(raw: object, odd: Odd) -> int:
    return taken(_amount, raw, "usage", odd) or 0


def _cost(output: wire.Output, odd: Odd) -> float:
    """The first cost that is told: the places repeat each other and are never added."""
    cost = taken(_dollars, output.cost, "cost", odd)
    if cost is None and isinstance(output.metadata, wire.Metadata):
        cost = taken(_dollars, output.metadata.cost, "cost", odd)
    if cost is None and isinstance(output.costBreakdown, wire.CostBreakdown):
        cost = taken(_dollars, output.costBreakdown.total, "cost", odd)
    return cost or 0.0


def _post_call(raw: object) -> wire.PostCall:
    told = wire.post_call(raw) if isinstance(raw, str) else raw
    return told if isinstance(told, wire.PostCall) else _NOTHING_AFTER


def _outcome(post_call: wire.PostCall, odd: Odd) -> str | None:
    """``summary.status`` where the summary is an object that has one, else the flat ``outcome``."""
    summary = post_call.summary
    told = first(summary.status if isinstance(summary, wire.Summary) else None, post_call.outcome)
    return _word(told, OUTCOME_WORDS, "outcome", odd)


def _word(raw: object, words: Mapping[str, str], field: str, odd: Odd) -> str | None:
    return label(raw, words, field, odd, missing="") or None


def _latency(post_call: wire.PostCall, odd: Odd) -> Latency | None:
    evaluation = post_call.realtime_agent_evaluation
    told = evaluation.llm_latency if isinstance(evaluation, wire.Evaluation) else None
    if not isinstance(told, wire.Latency):
        return None
    count = taken(_answers, told.count, "llm_latency", odd)
    average = taken(_average, told.avg, "llm_latency", odd)
    if not count or average is None:
        return None
    total = taken(_seconds, average * count, "llm_latency", odd)
    return None if total is None else Latency(count, total)


def digest(identity: str, status: str, reason: object, *moments: float | None) -> int:
    """What tells whether an output has changed, the same in every process: 63 bits, which fit a signed 64-bit integer.
    Of one with an id 32, since it is the id by which its call is known.

    Args:
        identity: Its ``call_id``, empty where it has none.
        status: The call's, of ``vocabulary``.
        reason: The raw end reason, None where it is absent.
        moments: Start, end and duration.
    """
    # As ASCII, because it may hold what is no text, or a number beyond all others.
    said = ascii(reason if isinstance(reason, str | int) else type(reason).__name__)
    told = _digested.encode((identity, status, said, *moments))
    if identity:
        return crc32(told)
    return int.from_bytes(blake2b(told, digest_size=8).digest()) >> 1
