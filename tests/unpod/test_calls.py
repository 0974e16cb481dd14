from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.tracking.tallies import amounts_of, billionths
from exporter.unpod import calls, reading, wire
from exporter.unpod.facts import Call, Latency, Task

Read = Callable[[Any], Task]
ReadCall = Callable[..., Call]

START, END = "2026-02-07T05:57:45Z", "2026-02-07T06:02:30.5Z"
STARTED = 1770443865.0
HUGE = pytest.param(10**400, id="more than a float can hold")


def output(read: Read, output: object) -> Task:
    return read({"task_id": "T1", "output": output})


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(None, id="null"),
        pytest.param({}, id="empty"),
        pytest.param({"error": "No Contact Number Found"}, id="an error"),
        pytest.param({"message": "queued"}, id="a message"),
        pytest.param({"scheduled_time": 1763734500}, id="a schedule"),
        pytest.param({"call_id": "", "call_status": None, "start_time": "NULL"}, id="empty words"),
        pytest.param({"call_end_reason": "Provider call dispatched successfully"}, id="a dispatch"),
        pytest.param({"duration": 12}, id="a duration alone"),
    ],
)
def test_an_output_that_tells_of_no_call_is_none(read: Read, raw: object) -> None:
    task = output(read, raw)
    assert (task.call, task.odd) == (None, ())


@pytest.mark.parametrize("raw", ["{}", '{"call_id": "C1"}', [], [1], 7, True])
def test_an_output_that_is_no_object_is_odd(read: Read, raw: object) -> None:
    task = output(read, raw)
    assert (task.call, task.odd) == (None, ("output",))


@pytest.mark.parametrize(
    ("field", "value", "over"),
    [
        ("call_id", "C1", False),
        ("start_time", START, False),
        ("end_time", END, True),
        ("call_status", "incall", False),
        ("call_status", "completed", True),
        ("call_end_reason", "no_answer", True),
        ("startedAt", START, False),
        ("endedAt", END, True),
        ("endedReason", "voicemail", True),
    ],
)
def test_one_sign_alone_tells_of_a_call(read: Read, field: str, value: str, over: bool) -> None:
    call = output(read, {field: value}).call
    assert call is not None
    assert call.over is over


@pytest.mark.parametrize("raw", [{"score": 1}, {}, 7, "abducted"])
def test_a_status_that_fits_nothing_still_tells_of_a_call(read: Read, raw: object) -> None:
    task = output(read, {"call_status": raw})
    assert task.call is not None
    assert (task.call.status, task.call.over, task.odd) == ("other", False, ("call_status",))


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(33, 33.0), (285, 285.0), (76.769, 76.769), (0, 0.0), ("0", 0.0), ("12.5", 12.5)],
    ids=["33", "285", "76.769", "0", "the string 0", "the string 12.5"],
)
def test_a_duration_is_as_told(read_call: ReadCall, raw: object, seconds: float) -> None:
    assert read_call(duration=raw, start_time=START, end_time=END).duration == seconds


@pytest.mark.parametrize("raw", ["NULL", None, "None", ""])
def test_a_duration_that_is_not_told_is_end_minus_start(read_call: ReadCall, raw: object) -> None:
    assert read_call(duration=raw, start_time=START, end_time=END).duration == 285.5
    assert read_call(start_time=START, end_time=END).duration == 285.5
    assert read_call(duration=raw, start_time=START).duration is None


def test_a_difference_of_times_has_no_binary_noise(read_call: ReadCall) -> None:
    call = read_call(start_time="2025-11-21T13:45:20.123Z", end_time="2025-11-21T13:46:36.892Z")
    assert call.duration == 76.769


@pytest.mark.parametrize("raw", [-1, "-1", True, {}, [], "long", 1e300, "1e400", 86400.5, 3e6, HUGE])
def test_a_duration_that_is_nonsense_is_unknown_and_odd(read_call: ReadCall, raw: object) -> None:
    assert read_call(duration=raw, odd=("duration",)).duration is None


def test_an_end_before_the_start_gives_no_duration(read_call: ReadCall) -> None:
    assert read_call(start_time=END, end_time=START, odd=("duration",)).duration is None


@pytest.mark.parametrize(
    "raw",
    [
        "2026-02-07T05:57:45Z",
        "2026-02-07T05:57:45.000Z",
        "2026-02-07 05:57:45.000000",
        "2026-02-07 05:57:45",
        "2026-02-07T05:57:45",
    ],
)
def test_start_and_end_come_in_every_format(read_call: ReadCall, raw: str) -> None:
    call = read_call(start_time=raw, end_time=raw)
    assert (call.start, call.end) == (STARTED, STARTED)


@pytest.mark.parametrize("raw", ["NULL", "None", None])
def test_start_and_end_may_be_missing_in_words(read_call: ReadCall, raw: object) -> None:
    call = read_call(start_time=raw, end_time=raw)
    assert (call.start, call.end, call.over) == (None, None, False)


def test_times_that_are_nonsense_are_odd(read_call: ReadCall) -> None:
    call = read_call(start_time="soon", end_time={"at": 3}, odd=("end_time", "start_time"))
    assert (call.start, call.end, call.over) == (None, None, False)


STATUSES = {
    "connected": "connected",
    "ANSWERED": "connected",
    "notConnected": "not_connected",
    "not-connected": "not_connected",
    "missed": "not_connected",
    "REJECTED": "not_connected",
    "no_answer": "not_connected",
    "failed": "failed",
    "FAILED": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "completed": "completed",
    "success": "completed",
    "ended": "completed",
    "voicemail": "voicemail",
    "busy": "busy",
    "droped": "dropped",
    "dropped": "dropped",
    "unknown": "unknown",
    "incall": "unknown",
    "callDispatched": "unknown",
    "outcall": "unknown",
}


@pytest.mark.parametrize(("raw", "status"), STATUSES.items(), ids=STATUSES)
def test_a_call_status_becomes_its_word(read_call: ReadCall, raw: str, status: str) -> None:
    call = read_call(call_status=raw)
    assert call.status == status
    assert call.over is (status not in ("connected", "unknown"))


@pytest.mark.parametrize("raw", [None, "", "NULL"])
def test_an_absent_call_status_is_unknown(read_call: ReadCall, raw: object) -> None:
    assert read_call(call_status=raw).status == "unknown"
    assert read_call().status == "unknown"


@pytest.mark.parametrize("raw", [{"score": 1}, "abducted", 7, ["completed"]])
def test_a_call_status_that_fits_nothing_is_other_and_no_end(read_call: ReadCall, raw: object) -> None:
    call = read_call(call_status=raw, odd=("call_status",))
    assert (call.status, call.over) == ("other", False)


@pytest.mark.parametrize(
    ("raw", "direction"),
    [
        ("outbound", "outbound"),
        ("inbound", "inbound"),
        ("outboundPhoneCall", "outbound"),
        ("inboundPhoneCall", "inbound"),
        ("sdk", "other"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_call_type_becomes_a_direction(read_call: ReadCall, raw: object, direction: str) -> None:
    assert read_call(call_type=raw).direction == direction


def test_a_call_type_that_fits_nothing_is_other_and_odd(read_call: ReadCall) -> None:
    assert read_call(call_type="sideways", odd=("call_type",)).direction == "other"


def test_an_end_reason_that_fits_nothing_is_other_and_odd(read_call: ReadCall) -> None:
    call = read_call(call_end_reason="aliens.landed", odd=("call_end_reason",))
    assert (call.end_reason, call.code, call.over) == ("other", "aliens.landed", True)


@pytest.mark.parametrize(
    ("raw", "recorded"), [("https://cdn.example/1.mp3", True), ("", False), (None, False), ("NULL", False), (7, False)]
)
def test_a_recording_is_a_url(read_call: ReadCall, raw: object, recorded: bool) -> None:
    assert read_call(recording_url=raw).recorded is recorded


@pytest.mark.parametrize(
    ("output", "cost"),
    [
        pytest.param({"cost": 0.139}, 0.139, id="in the output"),
        pytest.param({"metadata": {"cost": 0.139}}, 0.139, id="in the metadata"),
        pytest.param({"cost": 0.139, "metadata": {"cost": 0.139}}, 0.139, id="in both, never added"),
        pytest.param({"cost": None, "metadata": {"cost": "0.5"}}, 0.5, id="as a string"),
        pytest.param({"costBreakdown": {"stt": 0.1, "total": 0.3}}, 0.3, id="as a breakdown"),
        pytest.param({"metadata": {}}, 0.0, id="nowhere"),
        pytest.param({"metadata": "{}"}, 0.0, id="in metadata that are text"),
    ],
)
def test_the_cost_is_told_once(read_call: ReadCall, output: dict[str, Any], cost: float) -> None:
    assert read_call(**output).cost == cost


@pytest.mark.parametrize("raw", [-0.1, True, "free", {}, 1000.5, 1e9, HUGE])
def test_a_cost_that_is_nonsense_is_odd_and_nothing(read_call: ReadCall, raw: object) -> None:
    assert read_call(cost=raw, odd=("cost",)).cost == 0.0


def test_usage_is_told_in_the_metadata(read_call: ReadCall) -> None:
    usage = {
        "llm_prompt_tokens": 1200,
        "llm_completion_tokens": "340",
        "tts_characters_count": 910.0,
        "stt_audio_duration": 61.5,
    }
    call = read_call(metadata={"usage": usage})
    told = (call.prompt_tokens, call.completion_tokens, call.tts_characters, call.stt_seconds)
    assert told == (1200, 340, 910, 61.5)


@pytest.mark.parametrize("raw", [{}, None, "", []])
def test_usage_may_be_empty(read_call: ReadCall, raw: object) -> None:
    assert read_call(metadata={"usage": raw}).prompt_tokens == 0


def test_usage_that_is_nonsense_is_odd(read_call: ReadCall) -> None:
    usage = {"llm_prompt_tokens": 1.5, "stt_audio_duration": -1}
    call = read_call(metadata={"usage": usage}, odd=("usage",))
    assert (call.prompt_tokens, call.stt_seconds) == (0, 0.0)


@pytest.mark.parametrize(
    ("field", "fits", "nonsense"),
    [
        ("llm_prompt_tokens", 10**9, 10**9 + 1),
        ("llm_completion_tokens", 10**9, 10**9 + 1),
        ("tts_characters_count", 10**9, 10**9 + 1),
        ("stt_audio_duration", 86400, 86400.5),
    ],
)
def test_usage_beyond_any_call_is_odd_and_nothing(
    read_call: ReadCall, field: str, fits: float, nonsense: float
) -> None:
    nothing = amounts_of(read_call())
    assert amounts_of(read_call(metadata={"usage": {field: fits}})) != nothing
    assert amounts_of(read_call(metadata={"usage": {field: nonsense}}, odd=("usage",))) == nothing


@pytest.mark.parametrize(
    ("raw", "number"),
    [
        ("+911234567890", "+911234567890"),
        ("0000000000", "0000000000"),
        ("+91 (123) 456-7890", "+911234567890"),
        (911234567890, "911234567890"),
        ("+91 CALL ME", ""),
        ("1234", ""),
        ("1" * 16, ""),
        ("sip:agent@example.com", ""),
        ("١٢٣٤٥٦٧", ""),
        (None, ""),
        ({}, ""),
    ],
)
def test_the_own_number_is_digits_or_nothing(read_call: ReadCall, raw: object, number: str) -> None:
    assert read_call(assistant_number=raw).number == number


OUTCOMES = {
    "Interested": "interested",
    "Call Back": "call_back",
    "Not Interested": "not_interested",
    "Send Details": "send_details",
    "Not Connected": "not_connected",
    "Abandoned": "abandoned",
    "Dropped": "dropped",
}


@pytest.mark.parametrize(("raw", "outcome"), OUTCOMES.items(), ids=OUTCOMES)
def test_the_outcome_is_the_status_of_the_summary(read_call: ReadCall, raw: str, outcome: str) -> None:
    after = {"summary": {"status": raw}, "outcome": "interested", "profile_summary": {"outcome": "Connected"}}
    assert read_call(post_call_data=after).outcome == outcome


@pytest.mark.parametrize("summary", ["They talked.", None, {}, {"status": "N/A"}, {"status": None}, []])
def test_the_documented_flat_outcome_is_taken_where_the_summary_has_none(read_call: ReadCall, summary: object) -> None:
    after = {"summary": summary, "outcome": "interested", "sentiment": "positive"}
    assert read_call(post_call_data=after).outcome == "interested"


def test_the_outcome_of_the_profile_is_not_the_outcome(read_call: ReadCall) -> None:
    assert read_call(post_call_data={"profile_summary": {"outcome": "Connected"}}).outcome is None


@pytest.mark.parametrize("raw", ["Somewhat Interested", 7, ["x"]])
def test_an_outcome_that_the_llm_made_up_is_other_and_odd(read_call: ReadCall, raw: object) -> None:
    assert read_call(post_call_data={"summary": {"status": raw}}, odd=("outcome",)).outcome == "other"


@pytest.mark.parametrize(
    ("raw", "sentiment"), [("positive", "positive"), ("Neutral", "neutral"), ("NEGATIVE", "negative"), (None, None)]
)
def test_a_sentiment_becomes_its_word(read_call: ReadCall, raw: object, sentiment: object) -> None:
    assert read_call(post_call_data={"sentiment": raw}).sentiment == sentiment


def test_a_sentiment_that_fits_nothing_is_other_and_odd(read_call: ReadCall) -> None:
    assert read_call(post_call_data={"sentiment": "mixed"}, odd=("sentiment",)).sentiment == "other"


def test_post_call_data_may_be_text_of_json(read_call: ReadCall) -> None:
    after = json.dumps({"summary": {"status": "Call Back"}, "sentiment": "neutral"})
    call = read_call(post_call_data=after)
    assert (call.outcome, call.sentiment) == ("call_back", "neutral")


@pytest.mark.parametrize("raw", [None, "", "text", "[]", "{", "[" * 5000, [], [{"outcome": "interested"}], 7, True])
def test_post_call_data_may_be_anything(read_call: ReadCall, raw: object) -> None:
    call = read_call(post_call_data=raw)
    assert (call.outcome, call.sentiment, call.latency) == (None, None, None)


def test_the_evaluation_tells_how_long_the_llm_took(read_call: ReadCall) -> None:
    latency = {"count": 4, "avg": 0.75, "min": 0.5, "max": 1.5, "p95": 1.4}
    after = {"realtime_agent_evaluation": {"llm_latency": latency}}
    assert read_call(post_call_data=after).latency == Latency(4, 3.0)


@pytest.mark.parametrize("latency", [None, {}, {"count": 0, "avg": 0}, {"count": 3}, {"avg": 1.0}, "fast", []])
def test_an_evaluation_may_tell_nothing(read_call: ReadCall, latency: object) -> None:
    assert read_call(post_call_data={"realtime_agent_evaluation": {"llm_latency": latency}}).latency is None


@pytest.mark.parametrize(
    "latency",
    [
        {"count": -1, "avg": 1},
        {"count": 2, "avg": -1},
        {"count": 1.5, "avg": 1},
        {"count": 10**6 + 1, "avg": 1e-6},
        {"count": 1, "avg": 3601},
        {"count": 10**6, "avg": 1},
    ],
)
def test_a_latency_that_is_nonsense_is_odd(read_call: ReadCall, latency: object) -> None:
    after = {"realtime_agent_evaluation": {"llm_latency": latency}}
    assert read_call(post_call_data=after, odd=("llm_latency",)).latency is None


QUANTITIES = st.integers(-1, 10**13) | st.floats(0, 1e13) | st.integers(0, 10**13).map(str) | st.integers()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[QUANTITIES] * 8))
def test_no_call_has_an_amount_that_sums_could_not_hold(told: tuple[object, ...]) -> None:
    cost, prompt, completion, characters, heard, duration, count, average = told
    usage = wire.Usage(prompt, completion, characters, heard)
    latency = wire.Latency(count, average)
    raw = wire.Output(
        call_id="C1",
        duration=duration,
        cost=cost,
        metadata=wire.Metadata(usage=usage),
        post_call_data=wire.PostCall(realtime_agent_evaluation=wire.Evaluation(latency)),
    )
    shown = calls.call(raw, set())
    assert shown is not None
    amounts = msgspec.structs.astuple(amounts_of(shown))
    assert all(0 <= amount < 2**53 for amount in (*amounts, billionths(shown.duration or 0.0)))


@pytest.mark.parametrize("summary", ["They talked.", "", None, {"turn_count": 2}])
def test_the_words_of_a_summary_do_not_matter(read_call: ReadCall, summary: object) -> None:
    assert read_call(call_summary=summary) == read_call()


@pytest.mark.parametrize("evaluator", ["8", "80%", "Good", '{"score": 5}', {"score": 5}])
def test_the_success_evaluator_does_not_matter(read_call: ReadCall, evaluator: object) -> None:
    assert read_call(post_call_data={"success_evaluator": evaluator}) == read_call()


def test_a_legacy_object_has_other_names(read: Read) -> None:
    legacy = {
        "startedAt": START,
        "endedAt": END,
        "endedReason": "customer-ended-call",
        "recordingUrl": "https://cdn.example/1.wav",
        "summary": "They talked.",
        "type": "inboundPhoneCall",
        "costBreakdown": {"stt": 0.1, "llm": 0.1, "tts": 0.1, "vapi": 0.1, "total": 0.4},
        "transcript": "AI: hello\nUser: yes",
    }
    call = output(read, legacy).call
    assert call is not None
    assert (call.start, call.duration, call.over) == (STARTED, 285.5, True)
    assert (call.end_reason, call.code, call.direction) == ("customer_ended", "customer-ended-call", "inbound")
    assert (call.recorded, call.cost, call.silent) == (True, 0.4, False)


@pytest.mark.parametrize(("identity", "bits"), [(None, 63), ("C1", 32)])
def test_the_digest_changes_with_the_call_and_not_with_its_spelling(
    read_call: ReadCall, identity: str | None, bits: int
) -> None:
    told = {"call_id": identity, "start_time": START, "end_time": END, "call_status": "completed"}
    same = {**told, "start_time": "2026-02-07 05:57:45", "call_summary": "enriched"}
    assert read_call(**told).digest == read_call(**same).digest
    others = [{**told, "end_time": START}, {**told, "call_status": "busy"}, {**told, "call_end_reason": "voicemail"}]
    digests = {read_call(**other).digest for other in [told, *others, {**told, "duration": 7}]}
    assert len(digests) == 5
    assert all(0 < digest < 2**bits for digest in digests)


def test_the_digest_is_the_same_in_every_process() -> None:
    document = {"task_id": "T1", "output": {"call_status": "busy", "start_time": START, "call_end_reason": {"a": 1}}}
    body = json.dumps({"data": [document]})
    script = (
        "import sys; from exporter.unpod import reading, wire;"
        "print(reading.task(wire.tasks(sys.argv[1].encode()).data[0]).call.digest)"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script, body], capture_output=True, check=True)
    page = wire.tasks(body.encode())
    assert page is not None
    task = reading.task(page.data[0])
    assert task is not None
    assert task.call is not None
    assert task.call.digest == int(elsewhere.stdout)
