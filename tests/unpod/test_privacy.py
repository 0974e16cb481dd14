"""Nothing of a person leaves an answer: not in facts, not in errors."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from exporter.unpod.client import Client
from exporter.unpod.errors import UnpodError

Connect = Callable[..., Client]

NAME, EMAIL, PHONE, WORDS, USER_TOKEN = (
    "Ramesh Privatkar",
    "ramesh@private.example",
    "9876501234",
    "mothers maiden",
    "UTOK",
)
SECRETS = (
    "Ramesh",
    "Privatkar",
    EMAIL,
    "private.example",
    PHONE,
    "98765",
    "maiden",
    USER_TOKEN,
    "secret-token",
    "cdn.",
)

TASK: dict[str, Any] = {
    "_id": "697debb84c27faa892bfa0cc",
    "thread_id": "675272289779974401",
    "user": "101",
    "user_info": {"email": EMAIL, "full_name": NAME, "user_token": USER_TOKEN},
    "task_id": "T1",
    "run_id": "R1",
    "task": {"objective": f"Call {NAME}"},
    "input": {"name": NAME, "contact_number": PHONE},
    "assignee": "space-agent-1",
    "status": f"completed by {NAME}",
    "execution_type": f"call {PHONE}",
    "ref_id": "doc-1",
    "failure_count": PHONE,
    "last_failure_reason": f"no answer from {NAME} {PHONE}",
    "retry_attempt": EMAIL,
    "last_status_change": NAME,
    "scheduled_timestamp": EMAIL,
    "created": NAME,
    "output": {
        "call_id": "C1",
        "call_end_reason": f"{NAME} {EMAIL} hung up",
        "start_time": NAME,
        "end_time": EMAIL,
        "customer": NAME,
        "contact_number": PHONE,
        "assistant_number": f"call {NAME}",
        "call_summary": f"{NAME} said {WORDS}",
        "duration": NAME,
        "recording_url": f"https://cdn.private.example/{PHONE}.mp3",
        "transcript": [{"role": NAME, "content": WORDS}, {"role": "user", "content": WORDS}],
        "post_call_data": {"summary": {"status": f"{NAME} agreed"}, "sentiment": NAME, "outcome": EMAIL},
        "call_type": NAME,
        "call_status": EMAIL,
        "cost": PHONE + "x",
        "error": f"{NAME}: {WORDS}",
        "notes": WORDS,
        "metadata": {"usage": {"llm_prompt_tokens": NAME}},
    },
}
BODY = json.dumps({"count": 1, "status_code": 200, "message": NAME, "data": [TASK]}).encode()


def assert_clean(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


@pytest.mark.parametrize("poison", [b"", b'"x":"\x01",'], ids=["fast", "tolerant"])
async def test_facts_hold_nothing_of_a_person(client: Client, platform: Any, poison: bytes) -> None:
    platform.body(b"{" + poison + BODY[1:])
    page = await client.tasks("a", page=1, page_size=20)
    assert page.tasks[0].call is not None
    assert len(page.tasks[0].odd) > 10, "every field was full of it"
    assert_clean(repr(page))


@pytest.mark.parametrize(
    "reply",
    [
        *[
            lambda status=status: web.Response(body=BODY, status=status)
            for status in (206, 400, 401, 404, 429, 500, 502)
        ],
        lambda: web.Response(body=BODY[:-20]),
        lambda: web.Response(body=BODY.replace(b'"count": 1', b'"count": 9')),
        lambda: web.Response(body=BODY.replace(b'"count": 1', b'"count": "' + NAME.encode() + b'"')),
        lambda: web.Response(body=BODY.replace(b'"status_code": 200', b'"status_code": "' + EMAIL.encode() + b'"')),
        lambda: web.Response(body=BODY.replace(b'"data": [', b'"data": {"x": [').replace(b"]}", b"]}}")),
        lambda: web.Response(status=301, headers={"Location": f"/x?user={EMAIL}&token=secret-token"}, reason=NAME),
        lambda: web.Response(status=500, reason=NAME, headers={"X-User": EMAIL, "Retry-After": NAME}),
    ],
)
async def test_errors_hold_nothing_of_a_person_and_no_token(
    client: Client, platform: Any, reply: Callable[[], web.Response]
) -> None:
    platform.answers(reply)
    with pytest.raises(UnpodError) as caught:
        await client.tasks(NAME, page=1, page_size=20)
    error = caught.value
    assert_clean(f"{error}{error!r}{error.args}{vars(error)}")
    # As a log would show it, but without lines of source, which are those of this test.
    chain = traceback.TracebackException.from_exception(error, lookup_lines=False)
    assert_clean("".join(chain.format_exception_only()))
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_errors_of_broken_answers_hold_nothing_of_a_person(connect: Connect, raw_server: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    for answer in (
        NAME.encode() + b"\r\n\r\n",
        head + NAME.encode() + b"\r\n\r\n",
        head + f"Content-Length: {EMAIL}\r\n\r\n".encode(),
        head + b"Transfer-Encoding: chunked\r\n\r\n" + BODY,
        head + b"Content-Length: 99999\r\n\r\n" + BODY,
        head + b"Content-Encoding: gzip\r\n\r\n" + BODY,
    ):
        async with connect(base_url=await raw_server(answer)) as client:
            with pytest.raises(UnpodError) as caught:
                await client.tasks(NAME, page=1, page_size=20)
        assert_clean(f"{caught.value}{caught.value!r}{vars(caught.value)}")
        assert caught.value.__context__ is None


def test_a_client_and_its_settings_show_no_token(connect: Connect) -> None:
    client = connect()
    assert_clean(f"{client!r}{vars(client)}")
