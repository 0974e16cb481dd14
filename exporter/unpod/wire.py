"""What arrives: tolerant structs with only the fields that are needed, and how a body becomes them.

Every field takes every JSON value, so that one odd value never fails a page. A body that the fast decoder refuses as a
whole (a raw control character, NaN, a lone surrogate, absurd nesting somewhere in a transcript) is decoded again
tolerantly, entry by entry.

**What costs nothing.** Most of a body are the words of transcripts, which nobody needs: they are left in it as they are
written. The tasks of a page are left in it as well, until ``task`` is asked for each: so a page never stands in memory
as objects, and others get their turn between its tasks. No struct can be part of a cycle, so none is shown to the
garbage collector, which would else look through every page.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from exporter.unpod import lenient

Loose = str | int | float | bool | list[Any] | None
"""What may stand where an object belongs."""


NOTHING: Final = msgspec.Raw(b"null")
"""Words that are not there."""
_SILENCE: Final = msgspec.Raw(b'""')
_WORDS: Final = msgspec.Raw(b"true")


class Message(msgspec.Struct, gc=False):
    """One message of a transcript; its words stand in the first of the other fields that is there."""

    role: Any = None
    content: msgspec.Raw = NOTHING
    message: msgspec.Raw = NOTHING
    text: msgspec.Raw = NOTHING


class Turn(msgspec.Struct, tag_field="role", gc=False):
    """One message of a transcript, by one of the usual roles: its class tells which, for nearly nothing."""

    @classmethod
    def role(cls) -> str:
        """The role, as it is written."""
        return str(cls.__struct_config__.tag)


class UserTurn(Turn, tag="user", gc=False):
    """Its words stand in the first of the fields that is there, as in ``Message``."""

    content: msgspec.Raw = NOTHING
    message: msgspec.Raw = NOTHING
    text: msgspec.Raw = NOTHING


class CustomerTurn(UserTurn, tag="customer", gc=False):
    pass


class AssistantTurn(Turn, tag="assistant", gc=False):
    pass


class AgentTurn(Turn, tag="agent", gc=False):
    pass


class SystemTurn(Turn, tag="system", gc=False):
    pass


class Usage(msgspec.Struct, gc=False):
    llm_prompt_tokens: Any = None
    llm_completion_tokens: Any = None
    tts_characters_count: Any = None
    stt_audio_duration: Any = None


class Metadata(msgspec.Struct, gc=False):
    cost: Any = None
    usage: Usage | Loose = None


class CostBreakdown(msgspec.Struct, gc=False):
    total: Any = None


class Summary(msgspec.Struct, gc=False):
    status: Any = None


class Latency(msgspec.Struct, gc=False):
    count: Any = None
    avg: Any = None


class Evaluation(msgspec.Struct, gc=False):
    llm_latency: Latency | Loose = None


class PostCall(msgspec.Struct, gc=False):
    summary: Summary | Loose = None
    outcome: Any = None
    sentiment: Any = None
    realtime_agent_evaluation: Evaluation | Loose = None


class Output(msgspec.Struct, gc=False):
    """The ``output`` of a task; the second block holds the names of the legacy Vapi object."""

    call_id: Any = None
    call_end_reason: Any = None
    start_time: Any = None
    end_time: Any = None
    assistant_number: Any = None
    duration: Any = None
    recording_url: Any = None
    transcript: list[Message | Loose] | dict[str, Any] | str | int | float | bool | None = None
    post_call_data: PostCall | Loose = None
    call_type: Any = None
    call_status: Any = None
    cost: Any = None
    metadata: Metadata | Loose = None
    error: Any = None

    startedAt: Any = None  # noqa: N815
    endedAt: Any = None  # noqa: N815
    endedReason: Any = None  # noqa: N815
    recordingUrl: Any = None  # noqa: N815
    type: Any = None
    costBreakdown: CostBreakdown | Loose = None  # noqa: N815


class Task(msgspec.Struct, gc=False):
    id: Any = msgspec.field(default=None, name="_id")
    task_id: Any = None
    run_id: Any = None
    created: Any = None
    status: Any = None
    execution_type: Any = None
    retry_attempt: Any = None
    failure_count: Any = None
    last_failure_reason: Any = None
    scheduled_timestamp: Any = None
    last_status_change: Any = None
    output: Output | Loose = None


class Agent(msgspec.Struct, gc=False):
    handle: Any = None
    name: Any = None
    type: Any = None


class TaskList(msgspec.Struct, gc=False):
    count: Any = None
    status_code: Any = None
    data: list[msgspec.Raw] | dict[str, Any] | str | int | float | bool | None = None
    """Each task as it is written; already read where the body was decoded tolerantly."""


class AgentList(msgspec.Struct, gc=False):
    count: Any = None
    status_code: Any = None
    data: list[Agent | Loose] | dict[str, Any] | str | int | float | bool | None = None


_TASK: Final = msgspec.json.Decoder(Task | Loose)
_TASKS: Final = msgspec.json.Decoder(TaskList)
_AGENTS: Final = msgspec.json.Decoder(AgentList)
_POST_CALL: Final = msgspec.json.Decoder(PostCall)
_WORDED: Final = ("content", "message", "text")
_REFUSALS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

E = TypeVar("E", TaskList, AgentList)


def tasks(body: bytes | bytearray) -> TaskList | None:
    """The envelope of a page of tasks; None where the body is no complete JSON object."""
    return _envelope(body, _TASKS, Task)


def task(written: Any) -> Any:
    """An entry of ``TaskList.data`` as a ``Task``; as it is where it is none, None where that is impossible."""
    if not isinstance(written, msgspec.Raw):
        return written
    try:
        return _TASK.decode(written)
    except _REFUSALS:
        members = lenient.document(b'{"data":[%b]}' % written, lambda value: _entry(value, Task))
    return members["data"][0] if members else None


def agents(body: bytes | bytearray) -> AgentList | None:
    """The envelope of the agents list; None where the body is no complete JSON object."""
    return _envelope(body, _AGENTS, Agent)


def post_call(written: str) -> PostCall | None:
    """``post_call_data`` that arrived as a string of JSON; None where it holds no object."""
    try:
        return _POST_CALL.decode(written)
    except (*_REFUSALS, UnicodeEncodeError):
        return None


def written(words: object) -> msgspec.Raw:
    """What stands for words that were decoded already: as much as has to be known of them."""
    if words is None:
        return NOTHING
    return _WORDS if (words.strip() if isinstance(words, str) else words) else _SILENCE


def says(words: msgspec.Raw) -> bool | None:
    """Whether words are any, and more than white space; None where nothing stands in their place."""
    try:
        told = msgspec.json.decode(words)
    except _REFUSALS:
        # It has passed as JSON, so it is text whose bytes are none: more than white space.
        return True
    return None if told is None else bool(told.strip() if isinstance(told, str) else told)


def _envelope(body: bytes | bytearray, decoder: msgspec.json.Decoder[E], entry: type[msgspec.Struct]) -> E | None:
    try:
        return decoder.decode(body)
    except _REFUSALS:
        members = lenient.document(body, lambda value: _entry(value, entry))
    if members is None:
        return None
    return decoder.type(**{field: members.get(field) for field in decoder.type.__struct_fields__})


def _entry(value: Any, entry: type[msgspec.Struct]) -> Any:
    """An entry of ``data`` as its struct; None where even that is impossible."""
    try:
        return msgspec.convert(_unspoken(value), entry) if isinstance(value, dict) else value
    except (msgspec.ValidationError, RecursionError):
        return None


def _unspoken(value: dict[str, Any]) -> dict[str, Any]:
    """The entry with the words of its transcript as if they were still written."""
    output = value.get("output")
    transcript = output.get("transcript") if isinstance(output, dict) else None
    for message in transcript if isinstance(transcript, list) else ():
        if isinstance(message, dict):
            message |= {field: written(message[field]) for field in _WORDED if field in message}
    return value
