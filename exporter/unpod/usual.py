"""Tasks as the platform writes nearly all of them: the decoder itself checks types and ranges, and little is left to
do.

Whatever is unusual in a task, it is left to ``reading``, which takes everything. Both find the same facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from exporter.unpod import times
from exporter.unpod.calls import (
    DEAREST_CALL,
    LONGEST_ANSWER,
    LONGEST_CALL,
    MOST_ANSWERS,
    MOST_USED,
    digest,
    is_recorded,
    length_of,
    own_number,
)
from exporter.unpod.facts import Call, Latency, Task
from exporter.unpod.reading import MOST_ATTEMPTS, UNTOLD
from exporter.unpod.reasons import end_reason, failure_reason
from exporter.unpod.transcripts import transcript, turns
from exporter.unpod.values import Odd, absent, first, fold, text
from exporter.unpod.vocabulary import (
    CALL_STATUS_WORDS,
    DIRECTION_WORDS,
    EXECUTION_TYPE_WORDS,
    FINAL_CALL_STATUSES,
    OUTCOME_WORDS,
    SENTIMENT_WORDS,
    STATUS_WORDS,
)
from exporter.unpod.wire import AgentTurn, AssistantTurn, CustomerTurn, SystemTurn, UserTurn

_Attempts = Annotated[int, Meta(ge=0, le=MOST_ATTEMPTS)] | None
_Used = Annotated[int, Meta(ge=0, le=MOST_USED)] | None
_Seconds = Annotated[float, Meta(ge=0, le=LONGEST_CALL)] | None
_Dollars = Annotated[float, Meta(ge=0, le=DEAREST_CALL)] | None


class _Usage(msgspec.Struct, gc=False):
    llm_prompt_tokens: _Used = None
    llm_completion_tokens: _Used = None
    tts_characters_count: _Used = None
    stt_audio_duration: _Seconds = None


class _Metadata(msgspec.Struct, gc=False):
    cost: _Dollars = None
    usage: _Usage | None = None


class _Summary(msgspec.Struct, gc=False):
    status: str | None = None


class _Latency(msgspec.Struct, gc=False):
    count: Annotated[int, Meta(ge=0, le=MOST_ANSWERS)] | None = None
    avg: Annotated[float, Meta(ge=0, le=LONGEST_ANSWER)] | None = None


class _Evaluation(msgspec.Struct, gc=False):
    llm_latency: _Latency | None = None


class _PostCall(msgspec.Struct, gc=False):
    summary: _Summary | str | None = None
    outcome: str | None = None
    sentiment: str | None = None
    realtime_agent_evaluation: _Evaluation | None = None


class _Output(msgspec.Struct, gc=False):
    """``wire.Output`` without what only the legacy Vapi object has."""

    call_id: str | None = None
    call_end_reason: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    assistant_number: str | None = None
    duration: _Seconds = None
    recording_url: str | None = None
    transcript: list[UserTurn | CustomerTurn | AssistantTurn | AgentTurn | SystemTurn] | str | None = None
    post_call_data: _PostCall | None = None
    call_type: str | None = None
    call_status: str | None = None
    cost: _Dollars = None
    metadata: _Metadata | None = None
    error: str | None = None

    startedAt: None = None  # noqa: N815
    endedAt: None = None  # noqa: N815
    endedReason: None = None  # noqa: N815
    recordingUrl: None = None  # noqa: N815
    type: None = None
    costBreakdown: None = None  # noqa: N815


class _Task(msgspec.Struct, gc=False):
    id: str | None = msgspec.field(default=None, name="_id")
    task_id: str | None = None
    run_id: str | None = None
    created: str | None = None
    status: str | None = None
    execution_type: str | None = None
    retry_attempt: _Attempts = None
    failure_count: _Attempts = None
    last_failure_reason: str | None = None
    scheduled_timestamp: Any = None
    last_status_change: str | None = None
    output: _Output | None = None


_decoder: Final = msgspec.json.Decoder(_Task)
_NO_USAGE: Final = _Usage()
_NOTHING_AFTER: Final = _PostCall()
_UNUSUAL: Final = (msgspec.MsgspecError, ValueError, LookupError, RecursionError)

T = TypeVar("T")


def task(written: object) -> Task | None:
    """The facts of a task that is written as usual; None: it is not, and ``reading`` has to look at it."""
    if not isinstance(written, msgspec.Raw):
        return None
    try:
        return _task(_decoder.decode(written))
    except _UNUSUAL:
        return None


def _task(raw: _Task) -> Task | None:
    identity = text(raw.task_id)
    if not identity:
        return None
    odd: Odd = set()
    retries, failures, output, due = raw.retry_attempt, raw.failure_count, raw.output, raw.scheduled_timestamp
    error = None if output is None else output.error
    return Task(
        id=identity,
        run=text(raw.run_id),
        created=times.written(raw.created) or times.of_object_id(text(raw.id)) or times.of_task_id(identity),
        status=_word(raw.status, STATUS_WORDS, "other"),
        execution_type=_word(raw.execution_type, EXECUTION_TYPE_WORDS, "unknown"),
        retry_attempt=retries or 0,
        failure_count=failures or 0,
        untold=UNTOLD[retries is None, failures is None],
        failure_reason=failure_reason(first(raw.last_failure_reason, error)),
        scheduled=None if due is None else times.due(due),
        changed=times.written(raw.last_status_change),
        call=None if output is None else _call(output, odd),
        # Last, because everything above fills it.
        odd=tuple(sorted(odd)) if odd else (),
    )


def _call(output: _Output, odd: Odd) -> Call | None:
    identity = text(output.call_id)
    start, end = times.written(output.start_time), times.written(output.end_time)
    status = _word(output.call_status, CALL_STATUS_WORDS, "unknown")
    ending = first(output.call_end_reason)
    reason = end_reason(ending)
    if reason.odd:
        odd.add("call_end_reason")
    if not (identity or start or end or reason.ends or not absent(output.call_status)):
        return None
    duration = output.duration
    if duration is None and start is not None and end is not None:
        duration = _length(start, end)
    said = output.transcript
    messages, silent = turns(said) if isinstance(said, list) else transcript(said, odd)
    after, metadata = output.post_call_data or _NOTHING_AFTER, output.metadata
    usage = (metadata.usage if metadata is not None else None) or _NO_USAGE
    cost = output.cost if output.cost is not None or metadata is None else metadata.cost
    return Call(
        id=identity,
        start=start,
        end=end,
        duration=duration,
        over=end is not None or reason.ends or status in FINAL_CALL_STATUSES,
        status=status,
        direction=_word(output.call_type, DIRECTION_WORDS, "unknown"),
        end_reason=reason.group,
        code=reason.code,
        number=own_number(output.assistant_number),
        recorded=is_recorded(output.recording_url),
        messages=messages,
        silent=silent,
        outcome=_word(_outcome(after), OUTCOME_WORDS, None),
        sentiment=_word(after.sentiment, SENTIMENT_WORDS, None),
        cost=cost or 0.0,
        prompt_tokens=usage.llm_prompt_tokens or 0,
        completion_tokens=usage.llm_completion_tokens or 0,
        tts_characters=usage.tts_characters_count or 0,
        stt_seconds=usage.stt_audio_duration or 0.0,
        latency=_latency(after.realtime_agent_evaluation),
        digest=digest(identity, status, ending, start, end, duration),
    )


def _length(start: float, end: float) -> float:
    """Raises ValueError where it is none of a call."""
    length = length_of(start, end)
    if not 0 <= length <= LONGEST_CALL:
        raise ValueError("not a length of ours")
    return length


def _outcome(after: _PostCall) -> str | None:
    summary = after.summary
    told = summary.status if isinstance(summary, _Summary) else None
    return after.outcome if absent(told) else told


def _latency(evaluation: _Evaluation | None) -> Latency | None:
    told = None if evaluation is None else evaluation.llm_latency
    if told is None or not told.count or told.avg is None:
        return None
    total = told.avg * told.count
    if total > LONGEST_CALL:
        raise ValueError("not a time of ours")
    return Latency(told.count, total)


def _word(raw: str | None, words: Mapping[str, str], missing: T) -> str | T:
    """The word that a raw one maps to. Raises LookupError for one that fits nothing, or that says nothing."""
    if raw is None:
        return missing
    word = words.get(raw)
    return words[fold(raw)] if word is None else word
