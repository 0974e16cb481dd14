from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.reasons import END_REASON_PATTERNS, FAILURE_PATTERNS, end_reason, failure_reason
from exporter.unpod.vocabulary import END_REASONS, FAILURE_REASONS

CODES = {
    "customer_ended": "customer-ended-call customer-ended-call-during-transfer "
    "customer-ended-call-before-warm-transfer caller_hangup",
    "busy": "customer-busy call.forwarding.operator-busy",
    "no_answer": "customer-did-not-answer no_answer no-answer",
    "rejected": "vonage-rejected twilio-reported-customer-misdialed call-rejected customer-declined-call",
    "voicemail": "voicemail",
    "assistant_ended": "assistant-ended-call assistant-ended-call-with-hangup-task "
    "assistant-ended-call-after-message-spoken assistant-said-end-call-phrase call.ending.hook-executed-say",
    "transferred": "assistant-forwarded-call call.ending.hook-executed-transfer call.ringing.hook-executed-transfer",
    "silence_timeout": "silence-timed-out",
    "max_duration": "exceeded-max-duration",
    "start_error": "call.start.error-get-assistant call.start.error-vapifault-get-org call.start.error-get-transport "
    "call.start.error-subscription-frozen call-start-error-neither-assistant-nor-server-set assistant-request-failed "
    "assistant-request-returned-error assistant-request-returned-forwarding-phone-number assistant-not-found "
    "assistant-not-valid assistant-join-timed-out customer-did-not-give-microphone-permission",
    "rate_limited": "call.start.error-subscription-concurrency-limit-reached pipeline-error-openai-429-exceeded-quota "
    "call.in-progress.error-vapifault-openai-429-rate-limit-reached pipeline-error-eleven-labs-quota-exceeded "
    "call.in-progress.error-vapifault-soniox-transcriber-rate-limited "
    "call.start.error-vapi-number-outbound-daily-limit "
    "pipeline-error-eleven-labs-blocked-concurrent-requests-and-requested-upgrade",
    "pipeline_error": "pipeline-error-tavus-video-failed "
    "call.in-progress.error-vapifault-chat-pipeline-failed-to-start "
    "call.in-progress.error-pipeline-ws-model-connection-failed "
    "call.in-progress.error-configfault-transport-unsupported-for-model pipeline-error-somebody-new-failed",
    "transport_error": "phone-call-provider-closed-websocket phone-call-provider-bypass-enabled-but-no-call-received "
    "call.in-progress.error-vapifault-transport-never-connected worker-shutdown twilio-failed-to-connect-call "
    "call.in-progress.error-vapifault-worker-died call.in-progress.error-vapifault-worker-not-available "
    "call.in-progress.error-sip-outbound-call-failed-to-connect vonage-disconnected vonage-failed-to-connect-call "
    "call.in-progress.error-providerfault-outbound-sip-503-service-unavailable "
    "call.ringing.sip-inbound-caller-hungup-before-call-connect call.ringing.error-sip-inbound-call-failed-to-connect",
    "llm_error": "call.in-progress.error-pipeline-no-available-llm-model pipeline-error-openai-401-incorrect-api-key "
    "call.in-progress.error-vapifault-openai-401-account-not-in-organization pipeline-error-vapi-500-server-error",
    "tts_error": "pipeline-error-eleven-labs-voice-not-found pipeline-error-eleven-labs-invalid-api-key "
    "pipeline-error-playht-out-of-credits call.in-progress.error-vapifault-playht-request-timed-out "
    "pipeline-error-cartesia-socket-hang-up call.in-progress.error-providerfault-cartesia-503-server-error",
    "stt_error": "pipeline-error-deepgram-returning-401-invalid-credentials "
    "pipeline-error-deepgram-returning-econnreset "
    "call.in-progress.error-vapifault-assembly-ai-returning-400-insufficent-funds "
    "pipeline-error-deepgram-transcriber-api-key-missing pipeline-error-soniox-transcriber-auth-failed",
    "cancelled": "manually-canceled call-deleted scheduled-call-deleted",
}
PREFIXES = ("pipeline-error-", "call.in-progress.error-vapifault-", "call.in-progress.error-providerfault-")
FAMILIES = (
    (
        "llm_error",
        "openai azure-openai anthropic anthropic-bedrock anthropic-vertex google groq together-ai mistral deep-seek "
        "xai custom-llm anyscale baseten cerebras deepinfra inflection-ai minimax openrouter perplexity-ai runpod vapi",
        "llm-failed 400-bad-request-validation-failed 401-unauthorized 403-model-access-denied 500-server-error "
        "503-server-overloaded-error",
    ),
    (
        "tts_error",
        "openai cartesia deepgram eleven-labs playht lmnt azure rime-ai smallest-ai vapi neuphonic hume sesame inworld "
        "minimax wellsaid xai microsoft custom sarvam",
        "voice-failed",
    ),
    (
        "stt_error",
        "deepgram gladia speechmatics assembly-ai talkscriber azure-speech eleven-labs google openai soniox xai "
        "cartesia custom vapi",
        "transcriber-failed",
    ),
    ("rate_limited", "openai anthropic google groq playht vapi", "429-exceeded-quota"),
)
LISTED = [(group, code) for group, codes in CODES.items() for code in codes.split()]
COMBINED = [
    (group, f"{prefix}{provider}-{fault}")
    for group, providers, faults in FAMILIES
    for prefix, provider, fault in product(PREFIXES, providers.split(), faults.split())
]


@pytest.mark.parametrize(("group", "code"), LISTED, ids=[code for _, code in LISTED])
def test_a_code_of_the_provider_falls_into_its_group_and_is_shown(group: str, code: str) -> None:
    reason = end_reason(code)
    assert (reason.group, reason.code, reason.ends, reason.odd) == (group, code, True, False)


def test_every_fault_of_every_provider_falls_into_its_group() -> None:
    assert len(COMBINED) > 400
    assert [(code, end_reason(code).group) for group, code in COMBINED if end_reason(code).group != group] == []


@pytest.mark.parametrize("code", ["vonage-completed", "call.in-progress.twilio-completed-call"])
def test_a_call_that_the_network_completed_is_no_fault_and_nothing_odd(code: str) -> None:
    assert end_reason(code) == ("other", code, True, False)


def test_a_known_code_is_known_in_any_case() -> None:
    assert end_reason("Customer-Ended-Call") == ("customer_ended", "customer-ended-call", True, False)


def test_customer_ended_the_call_is_a_phrase_of_the_platform() -> None:
    assert end_reason("Customer Ended The Call") == ("customer_ended", "customer-ended-the-call", True, False)


@pytest.mark.parametrize("word", ["Provider call dispatched successfully", "incall", "callDispatched", "outcall"])
def test_a_dispatched_call_has_not_ended(word: str) -> None:
    assert end_reason(word) == ("unknown", "unknown", False, False)


@pytest.mark.parametrize("word", [None, "", "NULL", "None", "NA"])
def test_no_reason_is_unknown(word: object) -> None:
    assert end_reason(word) == ("unknown", "unknown", False, False)


@pytest.mark.parametrize("code", ["aliens.landed", "aliens-landed", "aliens_landed", "e-2"])
def test_a_code_that_nobody_knows_is_shown_but_grouped_as_other(code: str) -> None:
    assert end_reason(code) == ("other", code, True, True)


@pytest.mark.parametrize("word", ["voicemail", "busy", "canceled"])
def test_a_single_word_is_shown_if_it_is_known(word: str) -> None:
    assert end_reason(word).code == word


@pytest.mark.parametrize("raw", [{}, {"code": "voicemail"}, [], 7, True])
def test_a_reason_that_is_no_word_is_other_and_ends_nothing(raw: object) -> None:
    assert end_reason(raw) == ("other", "other", False, True)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("the customer Jane Example hung up", id="free text"),
        pytest.param("Jane", id="a name"),
        pytest.param("jane.", id="a name and a full stop"),
        pytest.param("jane__", id="a name and a line"),
        pytest.param("jane@example.com", id="an e-mail address"),
        pytest.param("hangup-9876543210", id="a phone number"),
        pytest.param("hangup-987-654-3210", id="a phone number in groups"),
        pytest.param("call-019aa6a9-809f-7ddb-b110-7a16167cb632", id="a UUID"),
        pytest.param("call-a0b1c2d3e4f5a6b7c8d9e0f1", id="an ObjectId"),
        pytest.param("x" * 101, id="something endless"),
        pytest.param("fünf", id="letters beyond ASCII"),
    ],
)
def test_what_may_be_private_is_not_shown_as_a_code(raw: str) -> None:
    assert end_reason(raw).code == "other"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.from_regex(r"[A-Za-z._@ -]*[0-9-]*", fullmatch=True))
def test_every_text_has_a_group_and_a_code_that_is_safe(raw: str) -> None:
    reason = end_reason(raw)
    assert reason.group in END_REASONS
    assert len(reason.code) <= 100
    assert not set(reason.code) - set("abcdefghijklmnopqrstuvwxyz0123456789._-")


def test_the_tables_name_groups_of_the_vocabulary_only() -> None:
    assert {group for group, _ in END_REASON_PATTERNS} <= set(END_REASONS)
    assert {group for group, _ in FAILURE_PATTERNS} | {"other"} == set(FAILURE_REASONS)
    assert {group for group, _ in END_REASON_PATTERNS} == set(END_REASONS) - {"unknown"}


FAILURES = {
    "No Contact Number Found": "no_number",
    "No telephony numbers configured.": "no_number",
    "Invalid phone number format.": "invalid_number",
    "Outgoing calls disabled via configuration.": "outgoing_disabled",
    "Outgoing calls are disabled via configuration.": "outgoing_disabled",
    "Missing VAPI credentials.": "credentials",
    "VAPI channel concurrency limit reached, retry later.": "concurrency_limit",
    "over concurrency limit": "concurrency_limit",
    'Failed to start VAPI call: {"message":"customer.number is invalid"}': "start_failed",
    "Task exceeded maximum retries (2)": "max_retries",
    "Task exceeded max retries (3)": "max_retries",
    "max_retries_exceeded": "max_retries",
    "Task exceeded maximum failures (2)": "max_retries",
    "The customer did not answer": "no_answer",
    "no-answer": "no_answer",
    "Task processing failed: 'NoneType' object has no attribute 'get'": "exception",
    "Unexpected error during call execution: timeout": "exception",
    "The moon was full": "other",
}


@pytest.mark.parametrize(("text", "group"), FAILURES.items(), ids=FAILURES)
def test_the_reason_of_a_failure_is_grouped(text: str, group: str) -> None:
    assert failure_reason(text) == group


@pytest.mark.parametrize("raw", [None, {}, 3, ["x"]])
def test_a_failure_without_words_has_another_reason(raw: object) -> None:
    assert failure_reason(raw) == "other"
