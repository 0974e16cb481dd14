"""The platform's raw words beside what each of them means: the simulator's own dictionary.

Written out row by row, so that nothing here is derived by the rules that it serves to test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from exporter.simulator.tables import Table

ABSENT: Final = msgspec.UNSET
"""As a raw value: the field is left out of the document."""

CONNECTED: Final = "connected"
UNANSWERED: Final = "unanswered"
BROKEN: Final = "broken"


class Word(msgspec.Struct, frozen=True, gc=False):
    """A raw value and the bounded word that it means."""

    raw: object
    word: str


class Reason(msgspec.Struct, frozen=True, gc=False):
    """A raw ``call_end_reason``, its group, and its code as a slug."""

    raw: str | None
    group: str
    code: str


class Failure(msgspec.Struct, frozen=True, gc=False):
    """A failure text and its group."""

    text: str
    group: str


def _code(raw: str, group: str) -> Reason:
    return Reason(raw, group, raw)


NO_REASON: Final = Reason(None, "unknown", "unknown")
DISPATCHED: Final = Reason("Provider call dispatched successfully", "unknown", "unknown")

VAPI_REASONS: Final[Mapping[str, Table[Reason]]] = {
    CONNECTED: Table(
        (40, _code("customer-ended-call", "customer_ended")),
        (14, _code("assistant-ended-call", "assistant_ended")),
        (4, _code("assistant-ended-call-after-message-spoken", "assistant_ended")),
        (6, _code("assistant-said-end-call-phrase", "assistant_ended")),
        (4, _code("assistant-forwarded-call", "transferred")),
        (2, _code("call.in-progress.error-warm-transfer-max-duration", "transferred")),
        (6, _code("silence-timed-out", "silence_timeout")),
        (3, _code("exceeded-max-duration", "max_duration")),
        (2, _code("some-reason-of-tomorrow", "other")),
    ),
    UNANSWERED: Table(
        (40, _code("customer-did-not-answer", "no_answer")),
        (16, _code("customer-busy", "busy")),
        (16, _code("voicemail", "voicemail")),
        (4, _code("twilio-reported-customer-misdialed", "rejected")),
        (3, _code("customer-did-not-give-microphone-permission", "start_error")),
        (3, _code("manually-canceled", "cancelled")),
        (3, _code("call-deleted", "cancelled")),
    ),
    BROKEN: Table(
        (3, _code("call.start.error-get-customer", "start_error")),
        (2, _code("call-start-error-neither-assistant-nor-server-set", "start_error")),
        (2, _code("assistant-request-returned-error", "start_error")),
        (2, _code("assistant-not-found", "start_error")),
        (4, _code("pipeline-error-openai-llm-failed", "llm_error")),
        (4, _code("call.in-progress.error-providerfault-openai-llm-failed", "llm_error")),
        (3, _code("call.in-progress.error-vapifault-anthropic-401-unauthorized", "llm_error")),
        (3, _code("pipeline-error-eleven-labs-voice-failed", "tts_error")),
        (3, _code("call.in-progress.error-vapifault-cartesia-voice-failed", "tts_error")),
        (3, _code("pipeline-error-deepgram-transcriber-failed", "stt_error")),
        (3, _code("call.in-progress.error-providerfault-gladia-transcriber-failed", "stt_error")),
        (3, _code("pipeline-error-first-message-failed", "pipeline_error")),
        (2, _code("call.in-progress.error-vapifault-get-org", "pipeline_error")),
        (3, _code("phone-call-provider-closed-websocket", "transport_error")),
        (2, _code("vapifault-transport-never-connected", "transport_error")),
        (3, _code("call.in-progress.error-sip-outbound-call-failed-to-connect", "transport_error")),
        (3, _code("twilio-failed-to-connect-call", "transport_error")),
        (2, _code("vonage-disconnected", "transport_error")),
        (2, _code("call.ringing.hook-executed-say", "transport_error")),
        (2, _code("vapifault-worker-died", "transport_error")),
        (2, _code("worker-shutdown", "transport_error")),
        (3, _code("pipeline-error-openai-429-exceeded-quota", "rate_limited")),
        (3, _code("call.start.error-subscription-concurrency-limit-reached", "rate_limited")),
    ),
}
NATIVE_REASONS: Final[Mapping[str, Table[Reason]]] = {
    CONNECTED: Table(
        (30, NO_REASON),
        (30, Reason("Customer Ended The Call", "customer_ended", "customer-ended-the-call")),
        (2, Reason("The agent hung up after 3 attempts to reach Mr Rao", "other", "other")),
    ),
    UNANSWERED: Table((30, NO_REASON), (10, _code("no_answer", "no_answer"))),
    BROKEN: Table(
        (20, NO_REASON),
        (6, _code("worker-shutdown", "transport_error")),
        (4, _code("pipecat-worker-died", "transport_error")),
    ),
}
DOCUMENTED_REASONS: Final[Mapping[str, Table[Reason]]] = {
    CONNECTED: Table((30, _code("caller_hangup", "customer_ended")), (2, NO_REASON)),
    UNANSWERED: Table((30, _code("no_answer", "no_answer")), (2, NO_REASON)),
    BROKEN: Table((1, NO_REASON)),
}

CALL_STATUSES: Final[Mapping[str, Table[Word]]] = {
    CONNECTED: Table(
        (50, Word("completed", "completed")),
        (30, Word("connected", "connected")),
        (4, Word("success", "completed")),
        (4, Word("ANSWERED", "connected")),
        (4, Word("ended", "completed")),
        (2, Word("droped", "dropped")),
        (1.5, Word("outcall", "unknown")),
        (1.5, Word("unknown", "unknown")),
        (1.5, Word(None, "unknown")),
        (1.5, Word(ABSENT, "unknown")),
        (1.5, Word({"score": 1}, "other")),
        (1, Word("on-the-line", "other")),
    ),
    UNANSWERED: Table(
        (40, Word("notConnected", "not_connected")),
        (30, Word("not-connected", "not_connected")),
        (6, Word("missed", "not_connected")),
        (3, Word("REJECTED", "not_connected")),
        (2, Word("unknown", "unknown")),
        (1, Word(None, "unknown")),
    ),
    BROKEN: Table(
        (30, Word("failed", "failed")),
        (12, Word("FAILED", "failed")),
        (4, Word("droped", "dropped")),
        (2, Word("dropped", "dropped")),
    ),
}
CALL_STATUSES_OF_REASON: Final[Mapping[str, Table[Word]]] = {
    "busy": Table((1, Word("busy", "busy"))),
    "voicemail": Table((1, Word("voicemail", "voicemail"))),
    "rejected": Table((1, Word("REJECTED", "not_connected"))),
    "cancelled": Table((1, Word("cancelled", "cancelled"))),
}
STUB_STATUSES: Final[Mapping[str, Word]] = {
    CONNECTED: Word("completed", "completed"),
    UNANSWERED: Word("notConnected", "not_connected"),
    BROKEN: Word("failed", "failed"),
}
DISPATCH_STATUSES: Final = ("incall", "callDispatched", "outcall")

DIRECTIONS: Final[Mapping[tuple[str, bool], Table[Word]]] = {
    ("plain", False): Table(
        (60, Word("outbound", "outbound")), (1.5, Word("", "unknown")), (1.5, Word(ABSENT, "unknown"))
    ),
    ("plain", True): Table((1, Word("inbound", "inbound"))),
    ("phone", False): Table((60, Word("outboundPhoneCall", "outbound")), (1, Word("", "unknown"))),
    ("phone", True): Table((1, Word("inboundPhoneCall", "inbound"))),
    ("sdk", False): Table((1, Word("sdk", "other"))),
    ("sdk", True): Table((1, Word("sdk", "other"))),
}

OUTCOMES: Final[Mapping[str, Table[Word]]] = {
    CONNECTED: Table(
        (30, Word("Interested", "interested")),
        (20, Word("Call Back", "call_back")),
        (30, Word("Not Interested", "not_interested")),
        (10, Word("Send Details", "send_details")),
        (4, Word("Abandoned", "abandoned")),
        (3, Word("Dropped", "dropped")),
        (3, Word("Maybe after Diwali", "other")),
    ),
    UNANSWERED: Table((1, Word("Not Connected", "not_connected"))),
    BROKEN: Table((3, Word("Dropped", "dropped")), (1, Word("Not Connected", "not_connected"))),
}
FLAT_OUTCOMES: Final[Mapping[str, Table[Word]]] = {
    CONNECTED: Table(
        (30, Word("interested", "interested")),
        (10, Word("call_back", "call_back")),
        (20, Word("not_interested", "not_interested")),
        (3, Word("undecided", "other")),
        (3, Word(None, "")),
    ),
    UNANSWERED: Table((1, Word("not_connected", "not_connected"))),
    BROKEN: Table((1, Word("dropped", "dropped"))),
}
SENTIMENTS: Final = Table(
    (30, Word("positive", "positive")),
    (20, Word("neutral", "neutral")),
    (10, Word("negative", "negative")),
    (3, Word("mixed", "other")),
    (3, Word(None, "")),
)

UNSTARTED: Final = Table(
    (6, Failure("No Contact Number Found", "no_number")),
    (5, Failure("Invalid phone number: +91 98110 0", "invalid_number")),
    (3, Failure("Outgoing calls are disabled via configuration.", "outgoing_disabled")),
    (2, Failure("Invalid credentials", "credentials")),
    (3, Failure("Concurrency limit reached", "concurrency_limit")),
    (3, Failure("Failed to start call", "start_failed")),
    (3, Failure("Exception: KeyError('contact_number')", "exception")),
    (2, Failure("The moon was not in the right phase for Asha Verma", "other")),
)
NOT_ANSWERED: Final = Failure("Customer did not answer", "no_answer")


def out_of_retries(attempts: int) -> Failure:
    """What a task fails with after its last retry."""
    return Failure(f"Task exceeded maximum retries ({attempts})", "max_retries")
