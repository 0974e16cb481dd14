"""Tasks written as the platform's raw documents, in all shapes in which they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec

from exporter.simulator import calls, words
from exporter.simulator.calls import Call
from exporter.simulator.profiles import Profile
from exporter.simulator.speech import Person, conversation
from exporter.simulator.tables import Table, dice
from exporter.simulator.tasks import Task
from exporter.simulator.words import ABSENT

Document = dict[str, Any]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STUB_TEXT: Final = "call completed evaluated data will be available soon"


def moment(micros: int) -> datetime:
    """Microseconds since 1970 as a UTC datetime, without rounding."""
    return _EPOCH + timedelta(microseconds=micros)


def iso(seconds: float) -> str:
    """Naive UTC ISO; a fraction (of six digits) only when it is not zero."""
    return moment(round(seconds * 1_000_000)).replace(tzinfo=None).isoformat()


def _iso_micros(seconds: float) -> str:
    return moment(round(seconds * 1_000_000)).replace(tzinfo=None).isoformat(timespec="microseconds")


def _zulu_millis(micros: int) -> str:
    return moment(micros).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


_WRITE_TIME: Final[Mapping[str, Callable[[int], str]]] = {
    "z": lambda micros: moment(micros).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "z_ms": _zulu_millis,
    "sql_us": lambda micros: moment(micros).strftime("%Y-%m-%d %H:%M:%S.%f"),
    "sql": lambda micros: moment(micros).strftime("%Y-%m-%d %H:%M:%S"),
    "naive_us": lambda micros: moment(micros).strftime("%Y-%m-%dT%H:%M:%S.%f"),
    "naive": lambda micros: moment(micros).strftime("%Y-%m-%dT%H:%M:%S"),
}


def encode(task: Task, profile: Profile) -> bytes:
    """The document's JSON: the same task and revision, the same bytes."""
    random = dice(task.seed)
    escaped = random.random() < profile.escaped
    document = {key: value for key, value in _document(task, profile, random).items() if value is not ABSENT}
    return json.dumps(document, separators=(",", ":")).encode() if escaped else msgspec.json.encode(document)


def _document(task: Task, profile: Profile, random: Random) -> Document:
    person, owner = Person(random), Person(random)
    telling = dice(task.seed, task.call.number if task.call else 0)
    documented = profile.styles[0][1] == "documented" and random.random() < 0.3
    document: Document = {
        "_id": task.object_id,
        "thread_id": random.choice(("thread_1", str(random.getrandbits(59)), None)),
        "user_info": {"email": owner.email, "full_name": owner.name},
        "task_id": task.id,
        "run_id": task.run.id,
        "task": {"objective": f"Call {person.name}, and be kind."},
        "input": _input(person, random),
        "output": _output(task, person, telling),
        "attachments": [],
        "assignee": profile.handle,
        "status": task.status,
        "execution_type": task.raw_kind,
        "ref_id": f"{random.getrandbits(96):024x}",
        "failure_count": _count(task.failure_count, random, raised=task.failure_count > 0),
        "last_failure_reason": _failure_reason(task, random),
        "retry_attempt": _count(task.retry_attempt, random, raised=task.retried),
        "last_status_change": _status_change(task, random),
        "scheduled_timestamp": _scheduled(task, random),
        "created": iso(task.created) if task.dated else ABSENT,
    }
    provider = random.choice(("vapi", "livekit", "pipecat", "NA", None))
    if not documented:
        document |= {
            "modified": iso(task.changed or task.created) if task.dated else ABSENT,
            "provider": provider,
            "space_id": str(random.randrange(100, 999)),
            "user": owner.id,
            "user_org_id": "501",
            "collection_ref": f"collection_{random.randrange(9)}",
            "user_info": {"id": owner.id, "email": owner.email, "full_name": owner.name, "user_token": owner.token},
        }
    return document


def _input(person: Person, random: Random) -> object:
    fields = {"name": person.name, "contact_number": person.number, "email": person.email, "labels": ["not Interested"]}
    return json.dumps(fields) if random.random() < 0.05 else fields


def _count(value: int, random: Random, *, raised: bool) -> object:
    luck = random.random()
    if luck < 0.05 and not raised:
        return ABSENT
    return str(value) if luck > 0.97 else value


def _failure_reason(task: Task, random: Random) -> object:
    luck = random.random()
    if task.reason is not None:
        return task.reason.text
    return ABSENT if luck < 0.3 else None


def _status_change(task: Task, random: Random) -> object:
    luck = random.random()
    if task.changed is None:
        return ABSENT if luck < 0.5 else None
    return _iso_micros(task.changed) + ("Z" if luck < 0.3 else "")


def _scheduled(task: Task, random: Random) -> object:
    luck = random.random()
    if task.scheduled is None:
        return None if luck < 0.8 else ABSENT
    if luck < 0.04:
        return str(task.scheduled)
    return iso(task.scheduled) + "Z" if luck < 0.06 else task.scheduled


def _output(task: Task, person: Person, random: Random) -> object:
    schedule = {"scheduled_time": iso(task.scheduled or task.created), "followup_count": 1, "referenced_task": None}
    nothing: tuple[object, ...] = ({}, {}, {}, {}, None, ABSENT, schedule)
    empty = random.choice(nothing)
    output: Document = {}
    if task.call is not None:
        output |= _WRITE_STAGE[task.stage](task.call, task.stage, person, random)
    if task.error is not None:
        output["error"] = task.error.text
    if task.note is not None:
        output |= {"message": f"{task.note} {person.email}", "notes": None, "followup_count": 0}
    return {key: value for key, value in output.items() if value is not ABSENT} or empty


def _dispatch(call: Call, stage: str, person: Person, random: Random) -> Document:
    return {
        "call_id": "",
        "customer": person.name,
        "contact_number": person.number,
        "call_end_reason": words.DISPATCHED.raw,
        "recording_url": None,
        "transcript": [],
        "start_time": None,
        "end_time": None,
        "assistant_number": None,
        "call_summary": None,
        "duration": 0,
        "cost": 0.0,
        "call_type": call.direction.raw,
        "call_status": call.dispatch_status,
        "metadata": {},
    }


def _stub(call: Call, stage: str, person: Person, random: Random) -> Document:
    return {"call_status": call.stub_status.raw} | ({"data": _STUB_TEXT} if stage == calls.STUB else {})


def _time(raw: object, micros: int, call: Call) -> object:
    return _WRITE_TIME[call.time_style](micros) if raw == "told" else raw


def _partial(call: Call, stage: str, person: Person, random: Random) -> Document:
    names = _LEGACY_NAMES if call.style == "legacy" else _NAMES
    return {
        "call_id": call.id,
        "contact_number": person.number,
        names["reason"]: call.reason.raw,
        names["start"]: _time(call.start_raw, call.start, call),
        names["end"]: _time(call.end_raw, call.end, call),
        "duration": call.duration_raw,
        names["type"]: call.direction.raw,
        "call_status": call.status.raw,
    }


def _whole(call: Call, stage: str, person: Person, random: Random) -> Document:
    names = _LEGACY_NAMES if call.style == "legacy" else _NAMES
    judged = stage == calls.JUDGED or not call.judged_later
    cost = call.cost if judged or not call.cost_later else 0.0
    recording = call.recording_raw
    return {
        **_partial(call, stage, person, random),
        "customer": person.name,
        "assistant_number": call.own_number_raw,
        names["recording"]: f"https://cdn.example/{call.number}-{person.number[1:]}.mp3"
        if recording == "url"
        else recording,
        "transcript": _transcript(call, person, random),
        names["summary"]: random.choice((f"{person.name} asked about the price.", "", None, {"turn_count": 2})),
        **_cost(call, cost),
        **({"post_call_data": _judgement(call, person, random)} if judged else {}),
    }


_WRITE_STAGE: Final = {
    calls.DISPATCH: _dispatch,
    calls.STUB: _stub,
    calls.BARE: _stub,
    calls.PARTIAL: _partial,
    calls.ENRICHED: _whole,
    calls.JUDGED: _whole,
}
_NAMES: Final = {
    "reason": "call_end_reason",
    "start": "start_time",
    "end": "end_time",
    "type": "call_type",
    "recording": "recording_url",
    "summary": "call_summary",
}
_LEGACY_NAMES: Final = {
    "reason": "endedReason",
    "start": "startedAt",
    "end": "endedAt",
    "type": "type",
    "recording": "recordingUrl",
    "summary": "summary",
}


def _cost(call: Call, cost: float) -> Document:
    if call.cost_shape == "absent":
        return {}
    if call.cost_shape == "breakdown":
        return {
            "costBreakdown": {
                "stt": 0.001,
                "llm": 0.002,
                "tts": 0.001,
                "vapi": round(max(cost - 0.004, 0.0), 4),
                "total": cost,
            }
        }
    metadata: Document = {"type": call.direction.raw} if isinstance(call.direction.raw, str) else {}
    metadata |= {"usage": _usage(call)}
    if call.cost_shape != "output":
        metadata["cost"] = cost
    return {"metadata": metadata} | ({} if call.cost_shape == "metadata" else {"cost": cost})


def _usage(call: Call) -> Document:
    if call.usage is None:
        return {}
    names = ("llm_prompt_tokens", "llm_completion_tokens", "tts_characters_count", "stt_audio_duration")
    return dict(zip(names, call.usage, strict=True))


_ROLE_NAMES: Final = {
    "objects": {"agent": "assistant", "user": "user", "other": "tool"},
    "agent_user": {"agent": "agent", "user": "user", "other": "tool"},
    "agent_customer": {"agent": "agent", "user": "customer", "other": "tool"},
    "ai_lines": {"agent": "AI", "user": "User", "other": "Tool"},
    "agent_lines": {"agent": "Agent", "user": "Customer", "other": "Tool"},
}
_NO_TRANSCRIPT: Final[Mapping[str, object]] = {
    "empty": [],
    "null": None,
    "absent": ABSENT,
    "plain": "hello and goodbye",
}


def _transcript(call: Call, person: Person, random: Random) -> object:
    talk = call.talk
    if talk.shape in _NO_TRANSCRIPT:
        return _NO_TRANSCRIPT[talk.shape]
    names = _ROLE_NAMES[talk.shape]
    spoken = [(role, person.say(role, random)) for role in conversation(talk.agent, talk.user, talk.other, random)]
    if talk.shape.endswith("_lines"):
        return "\n".join(f"{names[role]}: {text}" for role, text in spoken)
    at = call.start
    messages = []
    for role, text in spoken:
        at += random.randrange(900_000, 6_000_000)
        content = " " if role == "user" and talk.breath else text
        messages.append({"role": names[role], "content": content} | _message_extras(call, at, random))
    return messages


def _message_extras(call: Call, at: int, random: Random) -> Document:
    if call.style == "documented":
        return {}
    if call.style == "vapi":
        return {"user_id": "unknown", "timestamp": ""}
    identity = f"{random.getrandbits(44):011x}"
    return {"timestamp": _WRITE_TIME["sql_us"](at), "participant": f"idt_{identity}", "message_id": identity}


def _judgement(call: Call, person: Person, random: Random) -> object:
    if call.judgement == "flat":
        flat: Document = {"summary": f"{person.name} will think about it."}
        flat["outcome"] = call.outcome.raw if call.outcome else None
        flat["sentiment"] = call.sentiment.raw if call.sentiment else None
        return flat
    if call.judgement == "nested":
        return _evaluation(call, person, random)
    return {"empty": {}, "null": None, "absent": ABSENT, "text": "N/A", "list": []}[call.judgement]


def _evaluation(call: Call, person: Person, random: Random) -> Document:
    summary: Document = {"summary": f"{person.name} ({person.number}) was called.", "callback_datetime": "N/A"}
    if call.outcome is not None:
        summary["status"] = call.outcome.raw
    return {
        "classification": {"labels": []},
        "summary": summary,
        "call_back": None,
        "follow_up": {"required": "follow_up disabled"},
        "profile_summary": {
            "tone": "Neutral",
            "engagement": "Low",
            "outcome": "Connected",
            "callback_requested": False,
        },
        "structured_data": None,
        "success_evaluator": random.choice(
            ("8", "80%", "Good", '{"score": 5, "reason": "polite"}', {"score": 5}, None)
        ),
        "realtime_agent_evaluation": _realtime(call),
        "call_evaluation": _quality(call, person, random),
    }


def _quality(call: Call, person: Person, random: Random) -> object:
    notes = _NOTES.pick(random) if call.talk.user else 0
    if not notes:
        return []
    heard = [person.say("user", random) for _ in range(8)]
    return {
        "quality_metrics": {"avg_response_time": 1.4, "overall_quality_score": 0.82},
        "turns": [{"turn": turn, "heard": heard[turn % 8], "score": 0.5} for turn in range(notes)],
    }


_NOTES: Final = Table((8, 0), (10, 20), (6, 60), (0.1, 1200))
"""How many turns an evaluation comments: most documents are a few kilobytes, a few are hundreds."""


def _realtime(call: Call) -> Document:
    if call.latency is None:
        return {}
    count, average = call.latency
    return {
        "llm_latency": {"count": count, "avg": average, "min": average / 2, "max": average * 2, "p95": average * 1.8}
    }
