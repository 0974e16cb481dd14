"""Where a task is read the short way, both ways find the same facts; and nearly all tasks are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.simulator.profiles import DEFAULT_PROFILES
from exporter.simulator.world import World
from exporter.unpod import reading, usual, vocabulary, wire

NOW = 1_770_000_000.0
TIMES = (
    "2026-02-07T05:57:45Z",
    "2026-02-07T05:58:45.123Z",
    "2026-02-07 05:59:38.067021",
    "2026-02-07T06:00:38.067021",
    "2026-02-07T06:01",
    "2026-02-07T11:47:38+05:30",
)
ODD_TIMES = (
    "2026-01-31T11:47:38.067021123",
    "2026-01-31 11:47:38 +05:30",
    "20260207T055745",
    "1763732400",
    "1970-01-01T00:00:00",
    "1999-12-31T23:59:59.999999",
    "2200-01-01T00:00:00Z",
    "2200-01-01T00:00:01Z",
    "yesterday",
    "2026-13-07T05:57:45Z",
)
ABSENT = ("", " ", "NULL", "None", "n/a")
REASONS = ("customer-ended-call", "Provider call dispatched successfully", "incall", "caller_hangup", "sip-999", "?")
NUMBERS = (0, 1, 2, 3.0, 1000, 1_000_000)
FRACTIONS = (0, 0.5, 33, 61.25, 1000)
ODD_NUMBERS = (-1, 2.5, -0.0, "3", True, 10**6 + 1, 3600.5, 86400, 86400.5, 1000.5, 10**9, 10**9 + 1, 10**400)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)


def nearly_always(usual: st.SearchStrategy[Any], *odd: Any) -> st.SearchStrategy[Any]:
    """Now and then one of these odd values, or any other JSON."""
    return st.integers(0, 499).flatmap(
        lambda luck: usual if luck > 2 else st.sampled_from((*odd, *ABSENT)) if luck else JSON
    )


def one(*usual: Any, odd: Iterable[Any] = ()) -> st.SearchStrategy[Any]:
    return nearly_always(st.sampled_from((*usual, None)), *odd)


def words(of: Mapping[str, str]) -> st.SearchStrategy[Any]:
    return one(*of, *map(str.title, of.values()), *map(str.upper, of), odd=("telepathy", 7))


def struct(kind: type, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    assert members.keys() <= set(kind.__struct_encode_fields__)  # type: ignore[attr-defined]
    return nearly_always(st.fixed_dictionaries(members) | st.none())


time, fraction = one(*TIMES, odd=ODD_TIMES), one(*FRACTIONS, odd=ODD_NUMBERS)
number = one(*NUMBERS, odd=ODD_NUMBERS)
name = one(
    "C-019aa6a9", "T8ff2ccdffe9a11f0878d43cd8a99e069", "697debb84c27faa892bfa0cc", "x", " C1 ", "\u00e9", odd=(7, {})
)
said = one("Hello?", "", " ")
MESSAGE = struct(
    wire.Message,
    role=one("user", "customer", "assistant", "agent", "system", odd=("tool",)),
    content=said,
    message=said,
    text=said,
)
USAGE = struct(
    wire.Usage,
    llm_prompt_tokens=number,
    llm_completion_tokens=number,
    tts_characters_count=number,
    stt_audio_duration=fraction,
)
POST_CALL = struct(
    wire.PostCall,
    summary=struct(wire.Summary, status=words(vocabulary.OUTCOME_WORDS)) | one("They talked."),
    outcome=words(vocabulary.OUTCOME_WORDS),
    sentiment=words(vocabulary.SENTIMENT_WORDS),
    realtime_agent_evaluation=struct(
        wire.Evaluation, llm_latency=struct(wire.Latency, count=one(0, 1, 3, odd=ODD_NUMBERS), avg=fraction)
    ),
)
OUTPUT = {
    "call_id": name,
    "call_end_reason": one(*REASONS),
    "start_time": time,
    "end_time": time,
    "assistant_number": one("+91 98765-43210", "0000000000", "Bob"),
    "duration": fraction,
    "recording_url": one("https://cdn.example/1.wav"),
    "transcript": nearly_always(
        st.lists(MESSAGE, max_size=4) | st.sampled_from(("Agent: hello\nUser: hi", "no roles"))
    ),
    "post_call_data": POST_CALL,
    "call_type": words(vocabulary.DIRECTION_WORDS),
    "call_status": words(vocabulary.CALL_STATUS_WORDS),
    "cost": fraction,
    "metadata": struct(wire.Metadata, cost=fraction, usage=USAGE),
    "error": one("Task exceeded maximum retries (2)"),
}
LEGACY = {
    "startedAt": time,
    "endedAt": time,
    "endedReason": one(*REASONS),
    "recordingUrl": name,
    "type": one("inbound"),
}
TASK = st.fixed_dictionaries(
    {"task_id": name, "output": struct(wire.Output, **OUTPUT) | st.fixed_dictionaries(OUTPUT, optional=LEGACY)},
    optional={
        "_id": name,
        "run_id": name,
        "created": time,
        "status": words(vocabulary.STATUS_WORDS),
        "execution_type": words(vocabulary.EXECUTION_TYPE_WORDS),
        "retry_attempt": number,
        "failure_count": number,
        "last_failure_reason": one("Invalid number"),
        "scheduled_timestamp": time | one(1763732400, 1763732400000, 0, -1, 1.5e9),
        "last_status_change": time,
    },
)


def read(document: bytes) -> tuple[Any, Any]:
    """The facts by the short way, if it is one, and by the way that takes everything."""
    return usual.task(msgspec.Raw(document)), reading.task(msgspec.Raw(document))


def same(document: bytes) -> bool:
    """Whether both ways agree, to the last bit."""
    short, whole = read(document)
    return short is None or msgspec.msgpack.encode(short) == msgspec.msgpack.encode(whole)


@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(TASK)
def test_both_ways_find_the_same_facts(task: dict[str, Any]) -> None:
    assert same(msgspec.json.encode(task))


LONG = {"start_time": "2026-02-01T00:00:00", "end_time": "2026-02-03T00:00:00"}


@pytest.mark.parametrize(
    "output",
    [
        pytest.param({"start_time": TIMES[0], "end_time": TIMES[2]}, id="no duration"),
        pytest.param({"start_time": TIMES[2], "end_time": TIMES[0]}, id="an end before the start"),
        pytest.param(LONG, id="longer than any call"),
        pytest.param({"post_call_data": {"summary": {"status": "N/A"}, "outcome": "dropped"}}, id="the flat outcome"),
        pytest.param({"cost": None, "metadata": {"cost": 0.1}}, id="the cost beside the usage"),
        pytest.param(
            {"post_call_data": {"realtime_agent_evaluation": {"llm_latency": {"count": 3, "avg": 0.5}}}}, id="latency"
        ),
        pytest.param({"transcript": [{"role": "user", "content": " "}, {"role": "agent"}]}, id="a silent user"),
        pytest.param({"type": "inbound"}, id="the legacy type alone"),
        pytest.param({"recordingUrl": "https://cdn.example/1.wav"}, id="the legacy recording alone"),
        pytest.param({"endedReason": "voicemail"}, id="the legacy reason alone"),
        pytest.param({"costBreakdown": {"total": 0.2}}, id="the legacy cost alone"),
    ],
)
def test_both_ways_find_the_same_facts_of_a_call(output: dict[str, Any]) -> None:
    assert same(msgspec.json.encode({"task_id": "T1", "output": {"call_id": "C-019aa6a9", **output}}))


@pytest.mark.parametrize(
    "document",
    [
        b'{"task_id":"T1","task_id":"T2","retry_attempt":1,"retry_attempt":2}',
        b'{"task_id":"T1","retry_attempt":-0,"failure_count":1e2,"output":{"call_id":"C","cost":-0.0}}',
        b'{"task_id":"T1","output":{"call_id":"C","transcript":[{"content":"a","role":"user","content":"","role":"agent"}]}}',
        b'{"task_\\u0069d":"T\\ud83d\\ude00","output":{"call_id":"C","transcript":[{"role":"us\\u0065r","content":"\\u0020"}]}}',
        b'{"task_id":"T1","run_id":"\\ud800"}',
        b'{"task_id":"T1","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=["twice the same member", "odd zeros", "two roles", "escapes", "half a letter", "deep"],
)
def test_both_ways_find_the_same_facts_however_they_are_written(document: bytes) -> None:
    assert same(document)


@pytest.mark.parametrize(
    "name", ["Task", "Output", "PostCall", "Summary", "Evaluation", "Latency", "Metadata", "Usage"]
)
def test_both_ways_look_at_the_same_members(name: str) -> None:
    short, whole = getattr(usual, f"_{name}"), getattr(wire, name)
    assert sorted(short.__struct_encode_fields__) == sorted(whole.__struct_encode_fields__)


def test_both_ways_find_the_same_facts_in_all_that_the_simulator_writes() -> None:
    world = World(seed=3, now=NOW, agents=DEFAULT_PROFILES, history=30.0)
    written = [task for handle in world.handles for task in world.tasks(handle, page_size=0).documents]
    assert len(written) > 500
    assert all(map(same, written))
    # It is odder than life.
    assert sum(usual.task(msgspec.Raw(task)) is not None for task in written) > 0.6 * len(written)


def test_all_samples_but_the_odd_one_are_usual() -> None:
    lines = (Path(__file__).parents[1] / "data" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    unusual = [json.loads(line)["_about"] for line in lines if usual.task(msgspec.Raw(line.encode())) is None]
    assert unusual == ["failed for good, odd types all over"]
