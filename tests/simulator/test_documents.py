"""A day of default traffic holds every shape and every odd value that the API is known for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

Task = dict[str, Any]
Holds = Callable[[Task], bool]
_GONE = object()


def output(task: Task) -> Task:
    return task.get("output") or {}


def told(name: str) -> Callable[[Task], Any]:
    return lambda task: output(task).get(name, _GONE)


def post_call(task: Task) -> Task:
    found = output(task).get("post_call_data")
    return found if isinstance(found, dict) else {}


def summary(task: Task) -> Task:
    found = post_call(task).get("summary")
    return found if isinstance(found, dict) else {}


def messages(task: Task) -> list[Task]:
    found = output(task).get("transcript")
    return found if isinstance(found, list) else []


def is_(get: Callable[[Task], Any], value: Any) -> Holds:
    return lambda task: type(get(task)) is type(value) and get(task) == value


def like(get: Callable[[Task], Any], pattern: str) -> Holds:
    return lambda task: isinstance(get(task), str) and re.fullmatch(pattern, get(task), re.DOTALL) is not None


def of(get: Callable[[Task], Any], kind: type) -> Holds:
    return lambda task: type(get(task)) is kind


def field(name: str) -> Callable[[Task], Any]:
    return lambda task: task.get(name, _GONE)


def gone(get: Callable[[Task], Any]) -> Holds:
    return lambda task: get(task) is _GONE


def ends(code: str) -> Holds:
    return lambda task: code in (told("call_end_reason")(task), told("endedReason")(task))


_TIMES = {
    "Zulu seconds": r"\d{4}-\d\d-\d\dT[\d:]{8}Z",
    "Zulu milliseconds": r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z",
    "SQL microseconds": r"\d{4}-\d\d-\d\d [\d:]{8}\.\d{6}",
    "SQL seconds": r"\d{4}-\d\d-\d\d [\d:]{8}",
    "naive": r"\d{4}-\d\d-\d\dT[\d:]{8}",
    "naive microseconds": r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{6}",
    "NULL": "NULL",
    "None": "None",
}
_STATUSES = [
    "connected",
    "notConnected",
    "failed",
    "cancelled",
    "completed",
    "voicemail",
    "incall",
    "busy",
    "droped",
    "callDispatched",
    "outcall",
    "not-connected",
    "unknown",
    "missed",
    "ended",
    "success",
    "ANSWERED",
    "FAILED",
    "REJECTED",
]
_CODES = [
    "Customer Ended The Call",
    "Provider call dispatched successfully",
    "caller_hangup",
    "no_answer",
    "customer-ended-call",
    "customer-busy",
    "customer-did-not-answer",
    "customer-did-not-give-microphone-permission",
    "twilio-reported-customer-misdialed",
    "voicemail",
    "assistant-ended-call",
    "assistant-said-end-call-phrase",
    "assistant-forwarded-call",
    "silence-timed-out",
    "exceeded-max-duration",
    "call.start.error-get-customer",
    "assistant-request-returned-error",
    "assistant-not-found",
    "pipeline-error-openai-llm-failed",
    "pipeline-error-eleven-labs-voice-failed",
    "pipeline-error-deepgram-transcriber-failed",
    "worker-shutdown",
    "manually-canceled",
    "call.in-progress.error-providerfault-openai-llm-failed",
    "phone-call-provider-closed-websocket",
    "vonage-disconnected",
    "vapifault-transport-never-connected",
    "call.in-progress.error-sip-outbound-call-failed-to-connect",
    "call-deleted",
    "twilio-failed-to-connect-call",
    "call.ringing.hook-executed-say",
    "vapifault-worker-died",
    "call-start-error-neither-assistant-nor-server-set",
    "pipeline-error-openai-429-exceeded-quota",
    "call.in-progress.error-warm-transfer-max-duration",
    "call.in-progress.error-vapifault-cartesia-voice-failed",
]

ROWS: dict[str, Holds] = {
    "created with a fraction": like(field("created"), r".*T\d\d:\d\d:\d\d\.\d{6}"),
    "created absent": gone(field("created")),
    "modified absent": gone(field("modified")),
    **{f"status {word}": is_(field("status"), word) for word in ("pending", "scheduled", "processing", "in_progress")},
    **{f"status {word}": is_(field("status"), word) for word in ("hold", "completed", "failed")},
    **{
        f"execution_type {word}": is_(field("execution_type"), word)
        for word in ("call", "email", "answer", "sdk_call", "space_call", "email_classification", "dealer", None)
    },
    "execution_type absent": gone(field("execution_type")),
    "execution_type unheard of": is_(field("execution_type"), "carrier_pigeon"),
    "failure_count raised": lambda task: field("failure_count")(task) in (1, 2, 3),
    "failure_count absent": gone(field("failure_count")),
    "retry_attempt raised": lambda task: field("retry_attempt")(task) in (1, 2, 3),
    "retry_attempt as a string": of(field("retry_attempt"), str),
    "retry_attempt absent": gone(field("retry_attempt")),
    "last_failure_reason outlives success": lambda task: (
        task["status"] == "completed" and isinstance(task.get("last_failure_reason"), str)
    ),
    "last_failure_reason null": is_(field("last_failure_reason"), None),
    "last_failure_reason absent": gone(field("last_failure_reason")),
    "last_status_change naive": like(field("last_status_change"), r".*\.\d{6}"),
    "last_status_change Zulu": like(field("last_status_change"), r".*Z"),
    "last_status_change null": is_(field("last_status_change"), None),
    "scheduled_timestamp an integer": of(field("scheduled_timestamp"), int),
    "scheduled_timestamp digits": like(field("scheduled_timestamp"), r"\d{10}"),
    "scheduled_timestamp a date": like(field("scheduled_timestamp"), r"\d{4}-.*Z"),
    "scheduled_timestamp null": is_(field("scheduled_timestamp"), None),
    "scheduled_timestamp absent": gone(field("scheduled_timestamp")),
    "scheduled_timestamp after the run": lambda task: (
        task["status"] == "completed" and isinstance(task.get("scheduled_timestamp"), int)
    ),
    **{f"provider {word}": is_(field("provider"), word) for word in ("vapi", "livekit", "pipecat", "NA", None)},
    "input a string": of(field("input"), str),
    "input an object": of(field("input"), dict),
    "thread_id null": is_(field("thread_id"), None),
    "output empty": is_(field("output"), {}),
    "output null": is_(field("output"), None),
    "output absent": gone(field("output")),
    "output with an error alone": lambda task: set(output(task)) == {"error"},
    "output with a message": of(told("message"), str),
    "output with a schedule alone": lambda task: (
        set(output(task))
        == {
            "scheduled_time",
            "followup_count",
            "referenced_task",
        }
    ),
    "output a stub": is_(told("data"), "call completed evaluated data will be available soon"),
    "output with a call status alone": lambda task: set(output(task)) == {"call_status"},
    "output of the failed attempt while its retry waits": lambda task: (
        task["status"] in ("scheduled", "pending") and task.get("retry_attempt") == 1 and "call_status" in output(task)
    ),
    "duration whole": lambda task: of(told("duration"), int)(task) and output(task)["duration"] > 0,
    "duration with a fraction": of(told("duration"), float),
    "duration zero": lambda task: is_(told("duration"), 0)(task) and task["status"] == "completed",
    "duration zero as a string": is_(told("duration"), "0"),
    "duration a numeric string": like(told("duration"), "[1-9][0-9]*"),
    "duration NULL": is_(told("duration"), "NULL"),
    "duration null": is_(told("duration"), None),
    "duration absent, start and end told": lambda task: "duration" not in output(task) and "end_time" in output(task),
    **{f"start_time {name}": like(told("start_time"), pattern) for name, pattern in _TIMES.items()},
    **{f"end_time {name}": like(told("end_time"), pattern) for name, pattern in _TIMES.items()},
    "start_time null": is_(told("start_time"), None),
    "end_time null": is_(told("end_time"), None),
    "start_time absent": lambda task: bool(output(task).get("call_id")) and "start_time" not in output(task),
    **{f"call_status {word}": is_(told("call_status"), word) for word in _STATUSES},
    "call_status null": is_(told("call_status"), None),
    "call_status absent": lambda task: bool(output(task).get("call_id")) and "call_status" not in output(task),
    "call_status an object": of(told("call_status"), dict),
    "call_status unheard of": is_(told("call_status"), "on-the-line"),
    **{
        f"call_type {word!r}": is_(told("call_type"), word)
        for word in ("outbound", "inbound", "outboundPhoneCall", "sdk", "")
    },
    "call_type 'inboundPhoneCall'": lambda task: "inboundPhoneCall" in (told("call_type")(task), told("type")(task)),
    "call_type absent": lambda task: bool(output(task).get("call_id")) and "call_type" not in output(task),
    **{f"ends by {code}": ends(code) for code in _CODES},
    "call_end_reason null": is_(told("call_end_reason"), None),
    "call_end_reason in words": like(told("call_end_reason"), "The agent hung up after .*"),
    "call_end_reason of tomorrow": ends("some-reason-of-tomorrow"),
    "call_id empty with a start": lambda task: is_(told("call_id"), "")(task) and of(told("start_time"), str)(task),
    **{
        f"a message of {role}": (lambda wanted: lambda task: any(m["role"] == wanted for m in messages(task)))(role)
        for role in ("user", "assistant", "agent", "customer", "tool")
    },
    "a message of white space": lambda task: any(message["content"] == " " for message in messages(task)),
    "transcript in lines of Agent and Customer": like(told("transcript"), "(Agent|Customer): .*\n.*"),
    "transcript in lines of AI and User": like(told("transcript"), "(AI|User): .*\n.*"),
    "transcript a plain string": is_(told("transcript"), "hello and goodbye"),
    "transcript empty": is_(told("transcript"), []),
    "transcript null": is_(told("transcript"), None),
    "transcript absent": lambda task: "call_summary" in output(task) and "transcript" not in output(task),
    "call_summary an object": of(told("call_summary"), dict),
    "call_summary empty": is_(told("call_summary"), ""),
    "call_summary null": is_(told("call_summary"), None),
    "recording_url told": like(told("recording_url"), "https://.*"),
    "recording_url empty": is_(told("recording_url"), ""),
    "recording_url null": is_(told("recording_url"), None),
    "assistant_number formatted": like(told("assistant_number"), r"\+\d+ .*"),
    "assistant_number null": is_(told("assistant_number"), None),
    "cost in both places": lambda task: (
        output(task).get("cost", 0) > 0 and output(task)["metadata"].get("cost") == output(task)["cost"]
    ),
    "cost in metadata alone": lambda task: (
        "cost" not in output(task) and (output(task).get("metadata") or {}).get("cost", 0) > 0
    ),
    "cost of a legacy object": lambda task: "total" in output(task).get("costBreakdown", {}),
    "usage told": lambda task: "llm_prompt_tokens" in (output(task).get("metadata") or {}).get("usage", {}),
    "usage empty": lambda task: (output(task).get("metadata") or {}).get("usage", _GONE) == {},
    "legacy names": lambda task: (
        {"startedAt", "endedAt", "endedReason", "recordingUrl", "summary", "type"} <= set(output(task))
    ),
    "post_call_data flat": lambda task: "sentiment" in post_call(task) and "outcome" in post_call(task),
    **{
        f"sentiment {word}": (lambda wanted: lambda task: post_call(task).get("sentiment") == wanted)(word)
        for word in ("positive", "neutral", "negative", "mixed")
    },
    **{
        f"outcome {word}": (lambda wanted: lambda task: summary(task).get("status") == wanted)(word)
        for word in (
            [
                "Interested",
                "Call Back",
                "Not Interested",
                "Send Details",
                "Not Connected",
                "Abandoned",
                "Dropped",
                "Maybe after Diwali",
            ]
        )
    },
    "outcome without a status": lambda task: bool(summary(task)) and "status" not in summary(task),
    **{
        f"success_evaluator {value!r}": (
            lambda wanted: lambda task: post_call(task).get("success_evaluator") == wanted
        )(value)
        for value in ("8", "80%", "Good", {"score": 5}, '{"score": 5, "reason": "polite"}')
    },
    "post_call_data empty": is_(told("post_call_data"), {}),
    "post_call_data null": is_(told("post_call_data"), None),
    "post_call_data a string": of(told("post_call_data"), str),
    "post_call_data a list": of(told("post_call_data"), list),
    "llm_latency": lambda task: "llm_latency" in (post_call(task).get("realtime_agent_evaluation") or {}),
    "quality_metrics": lambda task: "quality_metrics" in (post_call(task).get("call_evaluation") or {}),
    "a user token": lambda task: "user_token" in task["user_info"],
    "only documented fields": lambda task: "provider" not in task and "user_token" not in task["user_info"],
}


@pytest.mark.parametrize("row", ROWS)
def test_a_day_of_traffic_holds(row: str, day_of_documents: list[tuple[bytes, Task]]) -> None:
    assert any(ROWS[row](task) for _, task in day_of_documents)


def test_hindi_is_written_raw_in_some_documents_and_escaped_in_others(
    day_of_documents: list[tuple[bytes, Task]],
) -> None:
    raw = [body for body, _ in day_of_documents if "नमस्ते".encode() in body]
    escaped = [body for body, _ in day_of_documents if b"\\u0928\\u092e\\u0938" in body]
    assert min(len(raw), len(escaped)) > 50
    assert all(body.isascii() for body in escaped)


def test_some_documents_are_hundreds_of_kilobytes_and_most_are_small(
    day_of_documents: list[tuple[bytes, Task]],
) -> None:
    sizes = sorted(len(body) for body, _ in day_of_documents)
    assert sizes[-1] > 60_000
    assert sizes[len(sizes) // 2] < 10_000


def test_private_data_is_in_every_place_that_has_it(day_of_documents: list[tuple[bytes, Task]]) -> None:
    number, mail = re.compile(r"\+91\d{10}"), re.compile(r"[a-z.]+\d+@")
    found = {
        "user_info.email": lambda task: mail.match(task["user_info"]["email"]),
        "user_info.user_token": lambda task: task["user_info"].get("user_token", "").startswith("ut-"),
        "input": lambda task: number.search(json.dumps(task["input"])),
        "output.contact_number": lambda task: number.match(output(task).get("contact_number", "")),
        "output.transcript": lambda task: number.search(str(output(task).get("transcript"))),
        "output.recording_url": lambda task: re.search(r"91\d{10}", str(output(task).get("recording_url"))),
        "output.post_call_data": lambda task: number.search(str(output(task).get("post_call_data"))),
        "output.error": lambda task: "Asha Verma" in str(output(task).get("error")),
        "output.message": lambda task: mail.search(str(output(task).get("message"))),
        "last_failure_reason": lambda task: "Asha Verma" in str(task.get("last_failure_reason")),
        "output.call_end_reason": lambda task: "Mr Rao" in str(output(task).get("call_end_reason")),
    }
    missing = [place for place, holds in found.items() if not any(holds(task) for _, task in day_of_documents)]
    assert missing == []
