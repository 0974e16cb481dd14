"""Ten thousand requests of somebody who means harm, against an exporter that is scraped meanwhile."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Final

import pytest

from tests.certificates import Authority
from tests.service.running import PATIENCE, SALES, TOKEN, Process, exporting, platform, until
from tests.service.test_access import HASH, TLS, web_config

REQUESTS: Final = 10_000
AT_ONCE: Final = 50
KEY: Final = "a-key-that-must-not-show"
GROWTH: Final = 12 * 2**20
"""Bytes that the process may hold more after a second flood than after a first one."""
RIGHT: Final = base64.b64encode(b"alice:secret").decode()
LOGIN: Final = f"Authorization: Basic {RIGHT}\r\n".encode()

Attack = tuple[str, bytes]


def guesses(random: Random) -> Iterator[Attack]:
    """Passwords, right in shape and wrong in everything else."""
    while True:
        user = random.choice(["alice", "bob", "root", "", "a" * 200, "alice\0"])
        word = random.choice(
            [b"", b"secret\0", random.randbytes(20), b"x" * 3000, b"password%d" % random.randrange(40)]
        )
        guess = base64.b64encode(user.encode() + b":" + word)
        yield "a guess", b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Basic " + guess + b"\r\n\r\n"
        odd = random.choice(
            [b"Basic", b"Basic =", b"Bearer x", b"Basic " + random.randbytes(9).hex().encode(), b"Digest a"]
        )
        yield "an odd header", b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + odd + b"\r\n\r\n"


PATHS: Final = (
    *("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc", "//metrics", "/./metrics", "/metrics/.."),
    *("/agents/../../config", "/agents/%2e%2e", "/api/agents/%ff%fe", "/api/agents/" + "a" * 4000, "/%c0%ae%c0%ae/"),
    *("http://elsewhere/metrics", "/metrics?agent=" + "a" * 5000, "/metrics?agent=%00&agent=%ff", "/config;x", "/%"),
    *("/-/reload?x=../..", "/\\..\\..", "/metrics#x", "/?sort=<script>", "/agents/<script>alert(1)</script>", "/%00"),
    *("/*", "/%zz"),
)


def paths(random: Random) -> Iterator[Attack]:
    """Paths that lead elsewhere, with a password and without."""
    for path in cycle(PATHS):
        login = LOGIN if random.random() < 0.5 else b""
        method = random.choice([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"PROPFIND", b"CONNECT"])
        yield "a path", method + b" " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + login + b"\r\n"


SMUGGLING: Final = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\nGET ",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 27\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 9000,
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    b"GET / HTTP/1.1\nHost: a\n\nGET /metrics HTTP/1.1\n\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\0Y: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAAA\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nExpect: " + b"a" * 500 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" + b"\0" * 18,
)


def smuggled(random: Random) -> Iterator[Attack]:
    """Requests that two readers would take for different ones; each may be followed by another."""
    for shape in cycle(SMUGGLING):
        yield "smuggling", shape + random.choice([b"", b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 40])


def large(random: Random) -> Iterator[Attack]:
    """Heads and bodies that have no end."""
    while True:
        yield "a long line", b"GET /" + b"a" * random.randrange(9000, 60_000) + b" HTTP/1.1\r\n\r\n"
        yield "a long header", b"GET / HTTP/1.1\r\nX: " + b"a" * random.randrange(9000, 200_000) + b"\r\n\r\n"
        many = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(random.randrange(200, 9000)))
        yield "many headers", b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n"
        yield "a body", b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + b"a" * 100_000


def noise(random: Random) -> Iterator[Attack]:
    """No HTTP at all, nor TLS, or the beginnings of them."""
    whole = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n" + LOGIN + b"\r\n"
    while True:
        yield "noise", random.randbytes(random.randrange(1, 400))
        yield "a piece", whole[: random.randrange(len(whole))]
        at = random.randrange(len(whole))
        yield "a flaw", whole[:at] + random.randbytes(1) + whole[at + 1 :]
        yield "a hello", b"\x16\x03\x01" + random.randbytes(2) + b"\x01" + random.randbytes(random.randrange(300))
        yield "nothing", b""


def attacks(seed: int, number: int) -> Iterator[Attack]:
    random = Random(seed)
    kinds = [make(random) for make in (guesses, paths, smuggled, noise, guesses, paths, noise, large)]
    return islice((next(kind) for kind in cycle(kinds)), number)


class Crowd:
    """Attacks an exporter, and keeps what it answered."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context
        self.done: Counter[str] = Counter()
        self.statuses: Counter[bytes] = Counter()
        self.leaks: list[bytes] = []
        self._number = 0

    async def attack(self, wanted: Iterator[Attack]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work(wanted))

    async def _work(self, wanted: Iterator[Attack]) -> None:
        for kind, sent in wanted:
            self._number += 1
            # Where TLS is wanted, every fourth speaks it not.
            context = None if self._number % 4 == 0 else self._context
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError):
                await self._one(sent, context)
            self.done[kind] += 1

    async def _one(self, sent: bytes, context: ssl.SSLContext | None) -> None:
        reader, writer = await asyncio.open_connection(
            *self._address, ssl=context, server_hostname="localhost" if context is not None else None
        )
        try:
            writer.write(sent)
            async with asyncio.timeout(0.15):
                answer = b""
                while len(answer) < 500_000 and (data := await reader.read(65536)):
                    answer += data
                    self._look(sent, answer)
        finally:
            writer.transport.abort()

    def _look(self, sent: bytes, answer: bytes) -> None:
        self.statuses[answer[9:12] if answer.startswith(b"HTTP/1.1 ") else b"---"] += 1
        if LOGIN not in sent and b"unpod_" in answer:
            self.leaks.append(sent)
        for secret in (TOKEN, KEY, HASH, RIGHT):
            if secret.encode() in answer:
                self.leaks.append(sent)


def resident(process: Process) -> int:
    """Bytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def descriptors(process: Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


async def slowly(address: tuple[str, int], number: int) -> list[asyncio.StreamWriter]:
    """Connections that send a piece of a request, and no more."""
    opened = []
    for _ in range(number):
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        opened.append(writer)
    return opened


@pytest.mark.parametrize("encrypted", [False, True], ids=["in the clear", "over TLS"])
async def test_ten_thousand_hostile_requests_crash_nothing_leak_nothing_and_stop_no_scrape(
    tmp_path: Path, encrypted: bool
) -> None:
    authority = Authority(tmp_path)
    authority.issue("localhost", file="server")
    sections = {"tls_server_config": TLS} if encrypted else {}
    path = web_config(tmp_path, basic_auth_users={"alice": HASH}, **sections)
    context = ssl.create_default_context(cafile=str(authority.cert)) if encrypted else None
    async with (
        platform(SALES) as made,
        exporting(tmp_path, made.settings(polling={"interval": "5s"}), "--web.config.file", str(path)) as process,
    ):
        host, port = (await process.url()).removeprefix("http://").split(":")
        address = (host, int(port))

        async def scraped() -> bool:
            return await scrape(address, context)

        await until(scraped)
        crowd = Crowd(address, context)
        ended = asyncio.Event()
        scraping = asyncio.create_task(scrapes(address, context, ended))
        silent = await slowly(address, 200)

        # The first flood warms up what is kept for good: caches, the pool of the allocator.
        await crowd.attack(attacks(1, REQUESTS // 4))
        held, open_files = resident(process), descriptors(process)
        await crowd.attack(attacks(2, REQUESTS // 4))

        ended.set()
        good, bad = await scraping
        for writer in silent:
            writer.transport.abort()
        assert sum(crowd.done.values()) == REQUESTS // 2
        assert len(crowd.done) >= 12
        assert crowd.leaks == []
        assert good > 20
        assert bad <= good // 50, "hardly a scrape was kept out"
        assert resident(process) - held < GROWTH
        assert descriptors(process) <= open_files + 8
        await until(scraped)
        for secret in (TOKEN, KEY, HASH, "secret", RIGHT):
            assert secret not in process.err
        assert "Traceback" not in process.err
        assert "defect" not in process.err
        refused = process.events("refused")
        assert 3 < len(refused) < 100, "told, and not flooded"
        assert (await process.stop()).code == 0


async def scrape(address: tuple[str, int], context: ssl.SSLContext | None) -> bool:
    """Whether a scrape with the right password is answered in time."""
    name = "localhost" if context is not None else None
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=name)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + LOGIN + b"\r\n")
        answer = await reader.read()
        writer.transport.abort()
    return answer.startswith(b"HTTP/1.1 200") and b"unpod_agent_up" in answer


async def scrapes(address: tuple[str, int], context: ssl.SSLContext | None, ended: asyncio.Event) -> tuple[int, int]:
    """Scrapes, one after the other, until it is told to end; how many went well, and how many did not."""
    good = bad = 0
    while not ended.is_set():
        try:
            went = await scrape(address, context)
        except (OSError, TimeoutError):
            went = False
        good, bad = good + went, bad + (not went)
        await asyncio.sleep(0.05)
    return good, bad
