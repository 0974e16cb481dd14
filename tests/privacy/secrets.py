"""People who must not be found again: recognisable private data, answers that are full of it, and a search for it."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import quote, quote_plus

from aiohttp import web

from tests.service.running import PATIENCE

NAME: Final = "Zubaida Quintrell"
HINDI_NAME: Final = "ज़ुबैदा"
EMAIL: Final = "zubaida.q@privat.example"
PHONE: Final = "+919876501234"
SAID: Final = "my cat Mittens knows"
HINDI_SAID: Final = "यह गोपनीय है"
USER_TOKEN: Final = "utok-5f1e9c77"
API_TOKEN: Final = "s3cr3t-4p1-t0k3n"
RECORDING: Final = "https://recordings.privat.example/zq-1.mp3"
OWN_NUMBER: Final = "+912240001111"
IDS: Final = ("T11f0878d43cd8a99e069zz", "R11f0878d43cd8a99e069zz", "CALL-zz-77812", "675272289779974401")
SECRETS: Final = (
    *NAME.split(),
    NAME,
    HINDI_NAME,
    EMAIL,
    "privat.example",
    PHONE,
    PHONE[1:],
    PHONE[3:],
    SAID,
    "mittens",
    HINDI_SAID,
    USER_TOKEN,
    API_TOKEN,
    RECORDING,
    *IDS,
)
EVERYTHING: Final = f'{NAME} {HINDI_NAME} <{EMAIL}> {PHONE} "{SAID}" {HINDI_SAID} {USER_TOKEN} {RECORDING}'

Task = dict[str, Any]


def person(task_id: str = IDS[0], **changes: Any) -> Task:
    """A task as the platform has it: a call with everything that somebody would not like to see elsewhere."""
    task = {
        "_id": "697debb84c27faa892bfa0cc",
        "thread_id": IDS[3],
        "user": NAME,
        "user_org_id": PHONE,
        "user_info": {"email": EMAIL, "full_name": NAME, "user_token": USER_TOKEN},
        "task_id": task_id,
        "run_id": IDS[1],
        "task": {"objective": f"Call {NAME} at {PHONE}"},
        "input": {"name": HINDI_NAME, "contact_number": PHONE, "email": EMAIL, NAME: NAME},
        "assignee": NAME,
        "status": "completed",
        "execution_type": "call",
        "ref_id": EMAIL,
        "failure_count": 0,
        "last_failure_reason": None,
        "retry_attempt": 1,
        "last_status_change": "2026-02-07T06:02:35Z",
        "scheduled_timestamp": 1_770_000_000,
        "created": "2026-02-07T05:57:00",
        "attachments": [{"name": NAME, "url": RECORDING}],
        "output": call(),
    }
    return {**task, **changes}


def call(**changes: Any) -> dict[str, Any]:
    """What the output tells of a call."""
    output = {
        "call_id": IDS[2],
        "call_end_reason": "customer-ended-call",
        "start_time": "2026-02-07T05:57:45Z",
        "end_time": "2026-02-07T06:02:30Z",
        "customer": NAME,
        "contact_number": PHONE,
        "assistant_number": OWN_NUMBER,
        "call_summary": EVERYTHING,
        "duration": 285,
        "cost": 0.12,
        "recording_url": RECORDING,
        "transcript": [{"role": "agent", "content": EVERYTHING}, {"role": "user", "content": f"{SAID} {HINDI_SAID}"}],
        "post_call_data": {"summary": {"status": "Interested", "summary": EVERYTHING}, "sentiment": "positive"},
        "call_type": "outbound",
        "call_status": "completed",
        "notes": EVERYTHING,
        "message": EVERYTHING,
    }
    return {**output, **changes}


_WORDS: Final = (NAME, EMAIL, PHONE, SAID, HINDI_SAID, EVERYTHING)
TASKS: Final[tuple[Task, ...]] = (
    person(),
    person("T-open", status="pending", output={}, scheduled_timestamp=None),
    person("T-talking", status="in_progress", output=call(call_status="incall", end_time=None, duration=None)),
    person("T-stub", output={"call_status": "completed", "data": EVERYTHING}),
    person("T-failed", status="failed", last_failure_reason=f"Exception: {EVERYTHING}", output={"error": EVERYTHING}),
    person("T-line", output=call(call_id="2", transcript=f"User: {EVERYTHING}\nAI: {SAID}")),
    *(person(f"{word} {place}", run_id=word, output=call(call_id=word)) for place, word in enumerate(_WORDS)),
    *({key: word if key != "task_id" else f"T-{word}" for key in person()} for word in _WORDS),
    *(
        person(f"T-out-{place}", output=dict.fromkeys((*call(), "startedAt", "endedReason", "type", "metadata"), word))
        for place, word in enumerate(_WORDS)
    ),
    *(
        person(f"T-deep-{place}", output={key: [{NAME: {EMAIL: PHONE}}] for key in call()}, status={NAME: EMAIL})
        for place in range(2)
    ),
    *(person(f"T-reason-{place}", output=call(call_end_reason=f"{word} hung up")) for place, word in enumerate(_WORDS)),
)
AGENTS: Final = (
    {"handle": "sales", "name": "Sales", "type": "Voice", "state": "published", "purpose": EVERYTHING},
    {"handle": "broken", "name": "Broken", "type": EVERYTHING, "description": EVERYTHING, "owner": EMAIL},
    {"handle": "", "name": NAME, "type": "Voice"},
)

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def envelope(data: object, **changes: object) -> bytes:
    """An answer as JSON."""
    count = {"count": len(data)} if isinstance(data, list | tuple) else {}
    return json.dumps({**count, "status_code": 200, "message": EVERYTHING, "data": data, **changes}).encode()


WHOLE: Final = envelope(TASKS)


def said(body: bytes | str, status: int = 200, **options: Any) -> Reply:
    """A reply that is always the same."""

    async def reply(_: web.Request) -> web.StreamResponse:
        raw = body if isinstance(body, bytes) else body.encode()
        return web.Response(body=raw, status=status, **options)

    return reply


async def _hangs_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def _breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(WHOLE))})
    await response.prepare(request)
    await response.write(WHOLE[: len(WHOLE) // 2])
    return await _hangs_up(request)


async def _dawdles(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(WHOLE))})
    await response.prepare(request)
    await response.write(WHOLE[: len(WHOLE) // 2])
    # Longer than the client waits; it is cancelled when the platform closes.
    await asyncio.sleep(PATIENCE)
    return response


_PACKED: Final = {"Content-Encoding": "gzip"}
FAILURES: Final[Mapping[str, Reply]] = {
    **{f"HTTP {status}": said(WHOLE, status) for status in (206, 400, 401, 403, 404, 418, 500, 502, 503)},
    "206 without data": said(envelope({}, status_code=206), 206),
    "206 with errors": said(envelope({"errors": EVERYTHING}, errors=EVERYTHING, status_code=206), 206),
    "an error inside": said(envelope(TASKS, status_code=500)),
    "a status in words": said(envelope(TASKS, status_code=NAME)),
    "a count in words": said(envelope(TASKS, count=EMAIL)),
    "a wrong count": said(envelope(TASKS, count=1)),
    "an object in place of a list": said(envelope({NAME: EVERYTHING})),
    "text in place of a list": said(envelope(EVERYTHING)),
    "a page for people": said(f"<html><title>{NAME}</title>{EVERYTHING}</html>", content_type="text/html"),
    "an error page": said(f"<html>{EVERYTHING}</html>", 500, content_type="text/html", reason=NAME),
    "half of the text": said(WHOLE[: len(WHOLE) // 2]),
    "half of the text, packed": said(gzip.compress(WHOLE)[:-200], headers=_PACKED),
    "not packed at all": said(WHOLE, headers=_PACKED),
    "a redirect": said("", 302, headers={"Location": f"/login?user={EMAIL}&token={API_TOKEN}"}),
    "throttled": said(WHOLE, 429, headers={"Retry-After": "0", "X-User": EMAIL}, reason=NAME),
    "throttled in words": said(WHOLE, 429, headers={"Retry-After": "0", "X-RateLimit-Reset": EMAIL}),
    "a name for a length": said(WHOLE, 500, headers={"X-Request-Id": PHONE, "Server": NAME}),
    "hung up": _hangs_up,
    "broken off": _breaks_off,
    "dawdling": _dawdles,
}
"""Answers that are no data, each of them full of private data."""
ODDITIES: Final[Mapping[str, Reply]] = {
    "as it should be": said(WHOLE),
    "not a number": said(WHOLE.replace(b'"cost": 0.12', b'"cost": NaN')),
    "a control character": said(WHOLE.replace(b"knows", b"kn\x01ows my cat Mittens knows")),
    "half a character": said(WHOLE.replace(b"knows", b"knows \\ud83d")),
    "no UTF-8": said(WHOLE.replace(b"knows", b"knows \xff\xfe")),
    "items that are none": said(envelope([EVERYTHING, None, {NAME: EVERYTHING}, 7, *TASKS])),
}
"""Answers that are read, in one way or another."""
TOO_MUCH: Final = said(b" " * 2**21 + WHOLE)


def forms(secret: str) -> Iterable[bytes]:
    """How a secret might be written: plain, escaped, encoded; texts in lower case."""
    for text in {secret, secret.replace(" ", "-"), secret.replace(" ", "_"), secret.replace(" ", "")}:
        written = {text, quote(text), quote_plus(text), json.dumps(text)[1:-1], escape(text), repr(text)[1:-1]}
        written.add(text.encode("unicode_escape").decode())
        written.add(text.encode().hex())
        yield from (one.lower().encode() for one in written)
        yield text.lower().encode("utf-16-le")


def encoded(secret: str) -> Iterable[bytes]:
    """How a secret looks inside of base64, wherever it begins."""
    for before in range(3):
        packed = base64.b64encode(b"\0" * before + secret.encode())
        # The first and the last letters depend on what stands beside the secret.
        inner = packed[(before * 8 + 5) // 6 : len(packed) - 4]
        yield from (inner, inner.replace(b"+", b"-").replace(b"/", b"_"))


FORMS: Final = tuple((secret, tuple(set(forms(secret))), tuple(set(encoded(secret)))) for secret in SECRETS)


def found(places: Mapping[str, str | bytes], but: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Which secret was found where."""
    hits = []
    for place, content in places.items():
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        lower = raw.lower()
        hits += [
            (secret, place)
            for secret, plain, packed in FORMS
            if secret not in but and (any(one in lower for one in plain) or any(one in raw for one in packed))
        ]
    return hits
