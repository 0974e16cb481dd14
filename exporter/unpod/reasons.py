"""Free words about why a call ended or a task failed, grouped by ordered tables of patterns.

The end reasons of the provider are an open set of several hundred codes: families, not codes, are listed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.unpod.values import absent, fold

NO_ENDS: Final = frozenset({"providercalldispatchedsuccessfully", "incall", "calldispatched", "outcall"})
"""Folded words, in ``call_end_reason`` or ``call_status``, of a call that goes on."""

_FAULT: Final = r"(?:pipeline-error-|call\.in-progress\.error-(?:vapifault-|providerfault-)?)"
_STT: Final = "deepgram|assembly-ai|gladia|speechmatics|talkscriber|soniox|azure-speech|whisper"
_TTS: Final = (
    "eleven-?labs|cartesia|play-?ht|rime|lmnt|smallest-ai|sarvam|neuphonic|hume|sesame|inworld|wellsaid|microsoft"
)
_LLM: Final = (
    "openai|azure-openai|anthropic|google|gemini|groq|together|mistral|deep-?seek|xai|grok|custom-llm|anyscale|baseten"
    "|cerebras|deepinfra|inflection|minimax|openrouter|perplexity|runpod|vapi-[0-9]|bedrock|vertex|cohere"
)

END_REASON_PATTERNS: Final = (
    ("customer_ended", r"customer-ended-(?:the-)?call.*|(?:caller|customer|user)-?hang-?up"),
    ("busy", r"(?:customer|user)-busy|busy|.*operator-busy"),
    ("no_answer", r"customer-did-not-answer|(?:customer-)?no-?answer"),
    ("start_error", r"customer-did-not-give-microphone-permission"),
    ("rejected", r".*rejected.*|.*declined.*|twilio-reported-customer-misdialed"),
    ("voicemail", r"voicemail.*"),
    ("assistant_ended", r"assistant-ended-call.*|assistant-said-end-call-phrase.*|call\.ending\.hook-executed-say"),
    ("transferred", r"assistant-forwarded-call.*|(?!assistant-request-).*transfer.*"),
    ("silence_timeout", r"silence-timed-?out|silence-timeout"),
    ("max_duration", r"(?:exceeded-)?max(?:imum)?-duration(?:-exceeded)?"),
    ("cancelled", r"manually-cancell?ed|(?:scheduled-)?call-deleted|cancell?ed"),
    (
        "rate_limited",
        r".*(?:rate-?limit|too-many-requests|quota|concurren|daily-limit).*|(?:.*[-.])?429(?:[-.].*)?",
    ),
    ("start_error", r"call\.start\..*|call-start-error.*|assistant-(?:request|not|join)-.*"),
    # The network's own word for a call that was completed is neither a fault nor tells who hung up.
    ("other", r"(?:call\.in-progress\.)?(?:twilio|sip|vonage)-completed(?:-call)?"),
    ("pipeline_error", r"call\.in-progress\.error-configfault-.*"),
    (
        "transport_error",
        r"phone-call-provider-.*|.*-transport-.*|(?:.*[-.])?sip-.*|twilio-.*|vonage-.*|call\.ringing\..*"
        r"|(?:.*-)?worker-(?:died|shutdown|not-available)|.*-did-not-receive-customer-audio",
    ),
    ("stt_error", rf"{_FAULT}.*(?:transcriber|-stt-).*"),
    ("tts_error", rf"{_FAULT}(?:.*(?:-voice|-tts-).*|(?:{_TTS}).*)"),
    ("stt_error", rf"{_FAULT}(?:{_STT}).*"),
    ("llm_error", rf"{_FAULT}(?:.*-llm-.*|(?:{_LLM}).*)"),
    ("pipeline_error", r"(?:pipeline-|call\.in-progress\.error).*"),
)
"""Group and pattern of a reason in lower case with ``-`` for space and ``_``: the first that matches whole decides."""

FAILURE_PATTERNS: Final = (
    ("max_retries", r"max(?:imum)?[ _](?:retries|failures|attempts)"),
    ("outgoing_disabled", r"(?:outgoing|outbound)[ _]calls?.*disabled"),
    ("concurrency_limit", r"concurren|rate[ _-]?limit|too many"),
    ("start_failed", r"^(?:failed|unable|could not) (?:to )?(?:start|create|initiate|dispatch|place)|start[ _]failed"),
    ("no_number", r"(?:no|missing|without) (?:[a-z]+ )?numbers?|number.*(?:missing|not (?:found|provided|configured))"),
    ("invalid_number", r"(?:invalid|malformed|wrong) .*number|number.*(?:invalid|not valid)"),
    ("credentials", r"credential|api[ _-]?key|unauthori[sz]ed|authenticat|permission denied"),
    ("no_answer", r"no[ _-]?answer|(?:not|n't)[ _-]answer|unanswered"),
    ("exception", r"exception|unexpected|error|traceback|processing failed|timed out|timeout"),
)
"""Group and pattern of a failure's free text in lower case: the first that occurs in it decides."""

_MACHINE_CODE: Final = re.compile(r"[a-z][a-z0-9._-]{0,99}")
_JOINED: Final = re.compile(r"[a-z0-9][._-]+[a-z0-9]")
"""What free words do not have: a single one that is no known code may be a name."""
_PRIVATE: Final = re.compile(r"[0-9]{5}|(?:[0-9][._-]?){7}|[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{16}")
"""What may stand in a code and is somebody's: a phone number, an id."""
_PHRASES: Final = {"customerendedthecall": "customer-ended-the-call"}
"""Folded phrases of the platform itself, whose text is no secret, and the code they are shown as."""
_LONGEST: Final = 300
"""Characters of a reason that are looked at."""


def _compiled(patterns: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<g{place}>{pattern})" for place, (_, pattern) in enumerate(patterns)), re.DOTALL)


_END_REASON: Final = _compiled(END_REASON_PATTERNS)
_FAILURE: Final = tuple((group, re.compile(pattern, re.DOTALL)) for group, pattern in FAILURE_PATTERNS)
_SPACES: Final = re.compile(r"[\s_]+")


class EndReason(NamedTuple):
    group: str = "unknown"
    """Of ``vocabulary.END_REASONS``."""
    code: str = "unknown"
    """The raw reason as a slug that is safe to show, else ``other``."""
    ends: bool = False
    """Whether it tells that the call has ended."""
    odd: bool = False
    """Whether it fits nothing known."""


def end_reason(raw: object) -> EndReason:
    """What a raw ``call_end_reason`` says."""
    if absent(raw):
        return EndReason()
    if not isinstance(raw, str):
        return EndReason("other", "other", odd=True)
    return _end_reason(raw[:_LONGEST])


@lru_cache(maxsize=512)
def _end_reason(told: str) -> EndReason:
    folded = fold(told)
    if folded in NO_ENDS:
        return EndReason()
    written = told.strip().lower()
    match = _END_REASON.fullmatch(_SPACES.sub("-", written))
    if match is None or match.lastgroup is None:
        return EndReason("other", _code(written) if _JOINED.search(written) else "other", ends=True, odd=True)
    code = _PHRASES.get(folded) or _code(written)
    return EndReason(END_REASON_PATTERNS[int(match.lastgroup[1:])][0], code, ends=True)


def _code(written: str) -> str:
    return written if _MACHINE_CODE.fullmatch(written) and not _PRIVATE.search(written) else "other"


def failure_reason(raw: object) -> str:
    """The group, of ``vocabulary.FAILURE_REASONS``, of a failure's free text, which itself is not kept."""
    if not isinstance(raw, str):
        return "other"
    written = raw[:_LONGEST].lower()
    return next((group for group, pattern in _FAILURE if pattern.search(written)), "other")
