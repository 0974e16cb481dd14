"""Every connection has its time and its size; where there are too many, the useless ones make room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from exporter.web.access import Access, Policy, Tls
from exporter.web.connections import Limits
from exporter.web.listen import Address, serve
from exporter.web.passwords import Passwords
from tests.certificates import Authority, Files
from tests.service.running import until

PATIENT = Limits()
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = 60.0
"""Seconds after which what should happen never will."""


class Stand:
    """A server whose policy can be changed, and what it has refused."""

    def __init__(self) -> None:
        self.policy = Policy()
        self.refused: list[str] = []
        self.held = asyncio.Event()
        """Set: slow requests are answered."""
        self.asked = asyncio.Event()
        """A slow request has come."""
        self.address = Address(None, 0)
        self.passwords = Passwords()

    def app(self) -> tuple[web.Application, Access]:
        async def page(request: web.Request) -> web.Response:
            if request.path == "/slow":
                self.asked.set()
                await self.held.wait()
            if request.path == "/broken":
                raise KeyError("a piece of what was asked")
            return web.Response(body=b"x" * int(request.query.get("size", "5")))

        access = Access(
            lambda: self.policy, self.passwords, lambda reason, peer: self.refused.append(reason), elapsed=lambda: 0.0
        )
        app = web.Application(middlewares=[access.middleware])
        app.add_routes([web.get(path, page) for path in ("/", "/slow", "/broken")])
        return app, access


class Line:
    """A connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> bytes:
        """One whole answer."""
        async with asyncio.timeout(LONG):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head + await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """All that comes until the server ends it."""
        found = b""
        async with asyncio.timeout(LONG):
            try:
                while data := await self._reader.read(65536):
                    found += data
            except (ConnectionError, ssl.SSLError):
                pass
        return found

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def standing(limits: Limits = PATIENT) -> AsyncIterator[Stand]:
    stand = Stand()
    app, access = stand.app()
    async with serve(app, [Address("127.0.0.1", 0)], access=access, limits=limits) as (stand.address,):
        try:
            yield stand
        finally:
            stand.held.set()


@asynccontextmanager
async def line(stand: Stand, context: ssl.SSLContext | None = None, **options: int) -> AsyncIterator[Line]:
    name = "localhost" if context is not None else None
    host, port = stand.address
    opened = await asyncio.open_connection(host, port, ssl=context, server_hostname=name, **options)
    made = Line(*opened)
    try:
        yield made
    finally:
        made.close()


async def test_a_request_that_does_not_come_to_its_end_is_cut_off() -> None:
    async with standing(Limits(head=0.05)) as stand:
        for begin in (b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n"):
            async with line(stand) as slow:
                slow.send(begin)
                assert await slow.rest() == b""
        assert stand.refused == ["a request that did not come to its end"] * 3


@pytest.mark.parametrize("version", [b"0.9", b"2.0"])
async def test_another_version_of_http_is_not_answered_as_if_it_were_spoken(version: bytes) -> None:
    async with standing() as stand, line(stand) as other:
        other.send(b"GET / HTTP/" + version + b"\r\nHost: a\r\n\r\n")
        assert await other.rest() == b""
        assert stand.refused == ["another version of HTTP"]


async def test_one_that_comes_byte_by_byte_has_no_more_time_than_another() -> None:
    async with standing(Limits(head=0.05)) as stand, line(stand) as slow:

        async def trickle() -> None:
            while True:
                slow.send(b"a")
                await asyncio.sleep(0.01)

        slow.send(b"GET / HTTP/1.1\r\nX: ")
        trickling = asyncio.create_task(trickle())
        assert await slow.rest() == b""
        trickling.cancel()


async def test_a_further_request_has_its_own_time_and_none_at_all_is_no_hurry() -> None:
    async with standing(Limits(head=0.1, answer=0.05, idle=3600.0)) as stand, line(stand) as kept:
        for _ in range(3):
            kept.send(REQUEST)
            assert (await kept.answer()).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.15)
        kept.send(b"GET /")
        assert await kept.rest() == b""
        assert stand.refused == ["a request that did not come to its end"]


async def test_a_connection_of_no_use_ends_in_silence() -> None:
    async with standing(Limits(answer=0.02, idle=0.02)) as stand, line(stand) as kept:
        kept.send(REQUEST)
        assert (await kept.rest()).endswith(b"xxxxx")
        assert stand.refused == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_an_answer_that_is_not_taken_is_given_up(tmp_path: Path, encrypted: bool) -> None:
    authority = Authority(tmp_path)
    async with standing(Limits(answer=0.1, idle=3600.0)) as stand:
        if encrypted:
            stand.policy = Policy(tls=tls(authority.issue("localhost", file="server"), b"1"))
        context = trusting(authority) if encrypted else None
        async with line(stand, context, limit=1024) as lazy:
            lazy.send(b"GET /?size=100000000 HTTP/1.1\r\nHost: a\r\n\r\n")

            async def told() -> list[str]:
                return stand.refused

            await until(told)
            assert stand.refused == ["an answer that was not taken"]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %b\r\n" % (n, b"a" * 4000) for n in range(40)), "head"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", "HTTP"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", "HTTP"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic c2VjcmV0\0\r\n\r\n", "HTTP"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\0" * 150, "HTTP"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP"),
        (b"GET / HTTP/9.9\r\n\r\n", "HTTP"),
        (b"\r\n\r\n\r\n secret \r\n\r\n", "HTTP"),
    ],
    ids=[
        "many headers",
        "a long path",
        "a long header",
        "a NUL",
        "TLS",
        "two lengths",
        "other two",
        "version",
        "blank",
    ],
)
async def test_what_is_no_request_is_answered_without_a_word_of_it(
    caplog: pytest.LogCaptureFixture, sent: bytes, reason: str
) -> None:
    async with standing() as stand, line(stand) as odd:
        odd.send(sent)
        answer = await odd.rest()
        assert answer.split(b" ")[1] in (b"400", b"431")
        assert b"aaaa" not in answer
        assert b"c2VjcmV0" not in answer
        assert b"secret" not in answer
        (told,) = stand.refused
        assert reason in told
        assert caplog.text == ""


async def test_a_body_is_not_waited_for() -> None:
    async with standing() as stand, line(stand) as large:
        large.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"a" * 1000)
        assert (await large.rest()).startswith(b"HTTP/1.1 413")
        assert stand.refused == ["a body that is too large"]


async def test_a_defect_is_told_by_its_place_and_answered_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    async with standing() as stand, line(stand) as asks:
        asks.send(b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await asks.rest()
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"a piece" not in answer
        (told,) = stand.refused
        assert told.startswith("a defect of the exporter: KeyError < test_connections.py:")
        assert caplog.text == ""


async def test_where_there_are_too_many_those_that_have_asked_nothing_make_room() -> None:
    async with standing(Limits(connections=4)) as stand:
        async with line(stand) as useful, line(stand) as first, line(stand) as second, line(stand) as third:
            useful.send(REQUEST)
            await useful.answer()
            for one in (first, second, third):
                one.send(b"GET /slowly")
            async with line(stand) as fourth:
                fourth.send(REQUEST)
                assert (await fourth.answer()).startswith(b"HTTP/1.1 200")
            assert await first.rest() == b""
            useful.send(REQUEST)
            assert (await useful.answer()).startswith(b"HTTP/1.1 200")
        assert stand.refused == ["too many connections"]


async def test_an_answer_under_way_makes_no_room() -> None:
    async with standing(Limits(connections=1)) as stand, line(stand) as served:
        served.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await stand.asked.wait()
        async with line(stand) as other:
            other.send(REQUEST)
            assert await other.rest() == b""
        stand.held.set()
        assert (await served.answer()).startswith(b"HTTP/1.1 200")


def tls(files: Files, identity: bytes) -> Tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return Tls(context, identity)


def trusting(*authorities: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for authority in authorities:
        context.load_verify_locations(authority.cert)
    return context


class TestTls:
    async def test_a_handshake_that_does_not_come_to_its_end_is_cut_off(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        async with standing(Limits(handshake=0.05)) as stand:
            stand.policy = Policy(tls=tls(authority.issue("localhost", file="server"), b"1"))
            async with line(stand) as silent:
                assert await silent.rest() == b""
            async with line(stand) as plain:
                plain.send(REQUEST)
                await plain.rest()
            assert stand.refused == ["no TLS: the handshake was given up", "no TLS: plain HTTP where TLS is wanted"]
            async with line(stand, trusting(authority)) as good:
                good.send(REQUEST)
                assert (await good.answer()).endswith(b"xxxxx")

    async def test_who_was_let_in_by_other_rules_is_out_once_they_have_changed(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        files = authority.issue("localhost", file="server")
        async with standing() as stand:
            stand.policy = Policy(tls=tls(files, b"old"))
            context = trusting(authority)
            async with line(stand, context) as idle, line(stand, context) as busy, line(stand, context) as late:
                for one in (idle, late):
                    one.send(REQUEST)
                    await one.answer()
                busy.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                await stand.asked.wait()
                stand.policy = Policy(tls=tls(files, b"new"))
                late.send(REQUEST)
                assert await late.rest() == b"", "it is not answered by the old rules"
                assert await idle.rest() == b""
                stand.held.set()
                assert b"200" in await busy.rest(), "what was under way is answered, and then it ends"
            async with line(stand, context) as fresh:
                fresh.send(REQUEST)
                assert (await fresh.answer()).endswith(b"xxxxx")

    async def test_encryption_may_be_switched_on_and_off(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        encrypted = Policy(tls=tls(authority.issue("localhost", file="server"), b"1"))
        async with standing() as stand:
            for policy, context in ((Policy(), None), (encrypted, trusting(authority)), (Policy(), None)):
                stand.policy = policy
                async with line(stand, context) as one:
                    one.send(REQUEST)
                    assert (await one.answer()).endswith(b"xxxxx")
