"""What the client makes of answers that do not arrive as they should."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import traceback
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.client import Client
from exporter.unpod.errors import BadResponse, ConnectionFailed, Timeout, TooLarge, UnpodError

Connect = Callable[..., Client]
Raw = Callable[..., Awaitable[str]]

BODY = json.dumps(
    {"count": 3, "data": [{"task_id": f"T{n}", "words": "Jane Example " * 50} for n in range(3)]}
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def failure(client: Client) -> UnpodError:
    with pytest.raises(UnpodError) as caught:
        await client.tasks("a", page=1, page_size=20)
    assert "Jane" not in str(caught.value)
    assert caught.value.__context__ is None
    return caught.value


async def against(connect: Connect, raw_server: Raw, answer: bytes, **more: Any) -> UnpodError:
    async with connect(base_url=await raw_server(answer, **more)) as client:
        return await failure(client)


SQUEEZED = gzip.compress(BODY)
LENGTH = b"Content-Length: %d\r\n\r\n"
GZIP = b"Content-Encoding: gzip\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(HEAD + LENGTH % len(BODY) + BODY[:500], ConnectionFailed, id="short of its Content-Length"),
        pytest.param(HEAD + CHUNKED + chunked(BODY)[:500], ConnectionFailed, id="chunked, without its last chunk"),
        pytest.param(HEAD + b"\r\n" + BODY[:500], BadResponse, id="plain, closed in the middle"),
        pytest.param(HEAD + LENGTH % 500 + BODY[:500], BadResponse, id="plain, with the length of a part"),
        pytest.param(
            HEAD + GZIP + LENGTH % 60 + SQUEEZED[:60], BadResponse, id="gzip, truncated by whoever compressed it"
        ),
        pytest.param(
            HEAD + GZIP + CHUNKED + chunked(SQUEEZED[:60]), BadResponse, id="gzip in chunks, truncated likewise"
        ),
        pytest.param(
            HEAD + GZIP + LENGTH % 500 + b"\x1f\x8b\x08\x00" + b"x" * 496, BadResponse, id="gzip that is rubbish"
        ),
        pytest.param(HEAD + GZIP + LENGTH % len(BODY) + BODY, BadResponse, id="gzip that is none"),
        pytest.param(b"", ConnectionFailed, id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", BadResponse, id="another protocol"),
        pytest.param(HEAD[:30], ConnectionFailed, id="half a head"),
    ],
)
async def test_a_broken_answer_is_a_typed_error(
    connect: Connect, raw_server: Raw, answer: bytes, error: type[UnpodError]
) -> None:
    assert type(await against(connect, raw_server, answer)) is error


async def test_the_same_answers_unbroken_are_pages(connect: Connect, raw_server: Raw) -> None:
    for answer in (
        HEAD + LENGTH % len(BODY) + BODY,
        HEAD + CHUNKED + chunked(BODY),
        HEAD + GZIP + CHUNKED + chunked(SQUEEZED),
        HEAD + b"\r\n" + BODY,
    ):
        async with connect(base_url=await raw_server(answer)) as client:
            assert (await client.tasks("a", page=1, page_size=20)).received == 3


async def test_a_connection_reset_in_the_middle_is_a_lost_connection(connect: Connect, raw_server: Raw) -> None:
    error = await against(connect, raw_server, HEAD + LENGTH % len(BODY) + BODY[:500], reset=True)
    assert type(error) is ConnectionFailed


async def test_a_port_where_nobody_listens_is_a_failed_connection(connect: Connect, observed: Any) -> None:
    async with connect(base_url="http://127.0.0.1:1") as client:
        error = await failure(client)
    assert type(error) is ConnectionFailed
    assert "cannot connect (Connection refused)" in str(error)
    assert observed.requests == [("tasks", "connection", 0)]


async def test_a_host_without_an_address_is_a_failed_connection(connect: Connect) -> None:
    async with connect(base_url="http://nobody.invalid") as client:
        error = await failure(client)
    assert type(error) is ConnectionFailed
    assert "cannot be resolved" in str(error)


async def test_a_server_without_tls_is_a_failed_connection(connect: Connect, platform: Any) -> None:
    async with connect(base_url=platform.url.replace("http:", "https:")) as client:
        error = await failure(client)
    assert type(error) is ConnectionFailed
    assert "TLS" in str(error)


async def test_a_proxy_that_is_away_is_a_failed_connection(connect: Connect) -> None:
    async with connect(proxy_url="http://user:s3cret@127.0.0.1:1") as client:
        error = await failure(client)
    assert type(error) is ConnectionFailed
    assert "the proxy cannot be reached" in str(error)
    assert "s3cret" not in str(error)


async def test_requests_go_through_a_proxy(connect: Connect, platform: Any) -> None:
    async with connect(base_url="http://unpod.invalid", proxy_url=platform.url) as client:
        await client.agents()
    assert platform.seen[0].headers["Host"] == "unpod.invalid"


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_ca_file_that_cannot_be_used_is_named(connect: Connect, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConnectionFailed, match=r"the CA file .*ca.pem cannot be used"):
        async with connect(ca_file=str(path)):
            pass


async def test_an_answer_that_never_comes_is_a_timeout(connect: Connect, platform: Any, observed: Any) -> None:
    platform.hang = True
    async with connect(timeout=0.05) as client:
        error = await failure(client)
    assert type(error) is Timeout
    assert "within 0.05 s" in str(error)
    assert observed.requests == [("tasks", "timeout", 0)]


async def test_an_answer_that_stops_in_the_middle_is_a_timeout(connect: Connect, observed: Any) -> None:
    async def stall(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(BODY[:500])
        await asyncio.Event().wait()
        return response

    async with RawTestServer(stall) as server, connect(base_url=str(server.make_url("")), timeout=0.1) as client:
        assert type(await failure(client)) is Timeout
    assert observed.requests == [("tasks", "timeout", 500)]


async def test_an_answer_that_says_it_is_too_large_is_not_read(connect: Connect, platform: Any, observed: Any) -> None:
    platform.body(BODY)
    async with connect(max_response_bytes=len(BODY) - 1) as client:
        error = await failure(client)
    assert type(error) is TooLarge
    assert observed.requests == [("tasks", "too_large", 0)]


async def test_an_answer_of_exactly_the_limit_is_read(connect: Connect, platform: Any) -> None:
    platform.body(BODY)
    async with connect(max_response_bytes=len(BODY)) as client:
        assert (await client.tasks("a", page=1, page_size=20)).bytes == len(BODY)


async def test_an_answer_that_grows_too_large_is_abandoned(connect: Connect, raw_server: Raw) -> None:
    error = await against_limit(connect, raw_server, HEAD + CHUNKED + chunked(BODY), limit=300)
    assert type(error) is TooLarge


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + CHUNKED + chunked(BODY),
        HEAD + LENGTH % len(BODY) + BODY[:400],
        HEAD + CHUNKED + chunked(BODY)[:400],
    ],
    ids=["too large", "truncated", "chunk cut"],
)
async def test_what_is_raised_holds_on_to_nothing_that_was_received(
    connect: Connect, raw_server: Raw, answer: bytes
) -> None:
    """Nor to itself: the garbage collector is at rest for long once an exporter has settled."""
    async with connect(base_url=await raw_server(answer), max_response_bytes=1000) as client:
        gc.collect()
        gc.disable()
        try:
            held, raised = await held_by_failure(client)
            assert held == []
            assert raised() is None
        finally:
            gc.enable()


async def held_by_failure(client: Client) -> tuple[list[int], weakref.ref[UnpodError]]:
    """Of which sizes the pieces of an answer are that an error holds on to, and the error, if it is still there."""
    try:
        await client.tasks("a", page=1, page_size=20)
    except UnpodError as error:
        # Without this very frame, which holds the error as well.
        frames = list(traceback.walk_tb(error.__traceback__))[1:]
        found = [
            len(value)
            for frame, _ in frames
            for value in frame.f_locals.values()
            if isinstance(value, bytes | bytearray) and value
        ]
        return found, weakref.ref(error)
    raise AssertionError("it has succeeded")


async def test_a_decompression_bomb_is_measured_by_what_it_becomes(
    connect: Connect, raw_server: Raw, observed: Any
) -> None:
    bomb = gzip.compress(b'{"data": ["' + b"0" * 20_000_000 + b'"]}')
    assert len(bomb) < 30_000
    error = await against_limit(connect, raw_server, HEAD + GZIP + LENGTH % len(bomb) + bomb, limit=100_000)
    assert type(error) is TooLarge
    assert observed.requests[0][2] < 20_000_000, "it was abandoned before all of it was unpacked"


async def against_limit(connect: Connect, raw_server: Raw, answer: bytes, *, limit: int) -> UnpodError:
    async with connect(base_url=await raw_server(answer), max_response_bytes=limit) as client:
        return await failure(client)


async def test_after_any_failure_the_client_goes_on(connect: Connect, platform: Any) -> None:
    async with connect(max_response_bytes=200) as client:
        platform.body(BODY)
        await failure(client)
        platform.body(b"{")
        await failure(client)
        platform.answers(lambda: platform.json([{"task_id": "T1"}]))
        assert (await client.tasks("a", page=1, page_size=20)).received == 1


@given(
    st.binary(max_size=300), st.sampled_from([b"", HEAD + b"\r\n", HEAD + CHUNKED, HEAD + GZIP + b"\r\n", b"HTTP/1.1 "])
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
async def test_no_bytes_of_a_server_raise_anything_else(
    connect: Connect, raw_server: Raw, noise: bytes, head: bytes
) -> None:
    async with connect(base_url=await raw_server(head + noise), timeout=5) as client:
        with pytest.raises(UnpodError):
            await client.tasks("a", page=1, page_size=20)
