"""Bytes of strangers on the sockets of the running server: it answers or ends each connection, and scrapes go on."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NamedTuple
from urllib.parse import quote

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exporter.exposition import catalog as catalogs
from exporter.exposition.render import Board
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.tracking.report import Gauge, Report
from exporter.web.access import Access, Policy
from exporter.web.connections import Limits
from exporter.web.listen import Address, serve
from exporter.web.pages import AgentDetail, Pages
from exporter.web.passwords import Passwords
from exporter.web.server import create_app
from tests.web.made import NOW, detail, failing, fine, status

LIMITS: Final = Limits(head=0.2, answer=0.3, idle=0.1)
LONG: Final = 60.0
"""Seconds after which a connection that should have ended never will."""
HOSTILE: Final = "<fuzz>'\"&"
"""What stands in names, in errors and in what is asked: markup, wherever it is not escaped."""
MARK: Final = b"<fuzz>"
ESCAPED: Final = b"&lt;fuzz&gt;&#39;&#34;&amp;"
ECHOES: Final = tuple(
    path + quote(HOSTILE, safe="").encode()
    for path in (b"/?find=", b"/agents/", b"/agents/?handle=", b"/agents/unknown", b"/?show=failing&find=")
)
"""Pages that repeat what was asked."""
INJECTED: Final = b"X-Injected"

METHODS = st.sampled_from([*b"GET HEAD POST PUT OPTIONS CONNECT TRACE PRI get".split(), b"G\x00T"])
PIECES = st.sampled_from(
    [
        *b"%3Cfuzz%3E %22%3E%3Cfuzz%3E %0d%0aX-Injected:%201 %00 % %zz .. %2e%2e%2f // # ? & %ff \\ [ @ :".split(),
        *(MARK, b"\r\n" + INJECTED + b": 1", b"\x00", b"\xff\xfe", b" ", b"a" * 9000),
    ]
)
PATHS = st.sampled_from(
    [
        *b"/ /metrics /metrics?agent= /metrics?agent=sales&agent= /agents/ /agents/sales /agents/?handle= /?q=".split(),
        *b"/api/agents /api/agents/ /config /-/ready /-/reload http://[::1 http://a:99999999/ elsewhere:443 *".split(),
        *(b"", *ECHOES),
    ]
)
TARGETS = st.builds(lambda path, pieces: path + b"".join(pieces), PATHS, st.lists(PIECES, max_size=3))
VERSIONS = st.sampled_from([*[b" HTTP/1.1"] * 4, b" HTTP/1.0", b" HTTP/2.0", b" HTTP/0.9", b" HTTP/", b""])
NAMES = st.sampled_from(
    [
        *b"Host Accept Accept-Encoding Content-Length Transfer-Encoding Connection Expect Upgrade Cookie Range".split(),
        *b"Authorization Content-Encoding Content-Type Sec-Fetch-Site X-Forwarded-For Sec-WebSocket-Key".split(),
        *(b"", b" Host", b"A B", b"\x00", b"\xff", b"n" * 9000),
    ]
)
VALUES = st.binary(max_size=12) | st.sampled_from(
    [
        *b"a close keep-alive h2c websocket chunked gzip,chunked xchunked 100-continue 200-ok".split(),
        *b"0 5 +5 -1 0x5 5,5 18446744073709551616".split(),
        *b"text/plain;version=0.0.4;q=nan application/openmetrics-text;q= gzip;q= ,;,=".split(),
        *(b"9" * 400, b"*/*;q=" + b"9" * 400, b"Basic " + b"A" * 2000, b"v" * 9000, MARK),
        *(b"a\r\n folded", b"a\r\n\tfolded: " + MARK, b"a\x00b", b"a\rb", b"a\nb"),
    ]
)
ENDS = st.sampled_from([*[b"\r\n"] * 8, b"\n", b"\r", b"\r\n\r\n", b""])
HEADERS = st.builds(lambda name, value, end: name + b": " + value + end, NAMES, VALUES, ENDS)
SIZES = st.sampled_from([b"0", b"5", b"5;a=b", b"5 ", b"-5", b"+5", b"0x5", b"f" * 17, b"", b"5;" + b"e" * 9000])
CHUNKS = st.builds(
    lambda size, data, end: size + b"\r\n" + data + end, SIZES, st.sampled_from([b"", b"hello", MARK]), ENDS
)
BODIES = st.binary(max_size=20) | st.lists(CHUNKS, max_size=4).map(b"".join)
REQUESTS = st.builds(
    lambda method, target, version, headers, end, body: b"".join(
        (method, b" ", target, version, b"\r\nHost: a\r\n", *headers, end, body)
    ),
    *(METHODS, TARGETS, VERSIONS, st.lists(HEADERS, max_size=5), ENDS, BODIES),
)
GOOD: Final = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
HELLO: Final = bytes.fromhex("16030100c8010000c40303") + bytes(range(200))
"""How TLS begins."""
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How HTTP/2 begins."""
MANY: Final = (
    GOOD * 300,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
    b"GET /?" + b"a=b&" * 3000 + b" HTTP/1.1\r\n\r\n",
)
STREAMS = st.one_of(
    REQUESTS,
    REQUESTS.map(lambda request: request[: len(request) // 2]),
    st.lists(REQUESTS | st.just(GOOD), min_size=2, max_size=5).map(b"".join),
    st.binary(max_size=300),
    st.sampled_from([HELLO, PREFACE, b"\r\n" * 50, b"\x00" * 300, *MANY]),
)


class Answer(NamedTuple):
    """One of the answers of a connection."""

    status: int
    head: bytes
    body: bytes


def answers(received: bytes) -> Iterator[Answer]:
    for found in re.split(rb"(?=HTTP/1\.[01] \d{3} )", received)[1:]:
        head, _, body = found.partition(b"\r\n\r\n")
        yield Answer(int(head[9:12]), head, body)


class Defects(logging.Handler):
    """Keeps what anybody logs that tells of a defect."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged meanwhile that tells of a defect."""
    defects = Defects()
    logging.getLogger().addHandler(defects)
    try:
        yield defects.told
    finally:
        logging.getLogger().removeHandler(defects)


@asynccontextmanager
async def served(told: list[str]) -> AsyncIterator[Address]:
    """The server with agents of hostile names, one of which fails; what it tells of connections goes to ``told``."""
    families = catalogs.families(catalogs.Settings())
    board = Board(families)
    board.publish(Report(agent="sales", families={"agent_up": Gauge({(): 1})}, fresh_until=NOW))
    telemetry = Telemetry(families, version="1", started=NOW)
    scrape = Scrape(board, telemetry, clock=lambda: NOW, timer=lambda: 0.0)

    # So many that there is a field to find some by, which repeats what is looked for.
    crew = {handle: fine(handle, name=HOSTILE) for handle in ("sales", *(f"agent-{number}" for number in range(20)))}
    crew[HOSTILE] = failing(HOSTILE, name=HOSTILE, last_error=HOSTILE)

    def agent(handle: str) -> AgentDetail | None:
        return detail(crew[handle]) if handle in crew else None

    pages = Pages(
        metrics=scrape,
        ready=lambda: None,
        status=lambda: status(*crew.values(), notice=HOSTILE, platform=HOSTILE),
        agent=agent,
        config=lambda: "token: <secret>\n",
    )
    access = Access(Policy, Passwords(), lambda reason, _: told.append(reason), elapsed=lambda: 0.0)
    async with serve(create_app(pages, access), [Address("127.0.0.1", 0)], access=access, limits=LIMITS) as (address,):
        yield address


async def exchanged(address: Address, data: bytes) -> bytes:
    """All that comes back for it, until the server ends the connection."""
    reader, writer = await asyncio.open_connection(*address)
    received = b""
    try:
        async with asyncio.timeout(LONG):
            writer.write(data)
            while part := await reader.read(65_536):
                received += part
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return received


async def tried(streams: list[bytes], told: list[str]) -> tuple[list[bytes], bytes]:
    """What comes back for each of them, all at once, and for a scrape after them."""
    async with served(told) as address:
        received = await asyncio.gather(*(exchanged(address, stream) for stream in streams))
        return received, await exchanged(address, GOOD)


def gets(*targets: bytes) -> list[bytes]:
    return [b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" for target in targets]


def test_pages_repeat_what_was_asked_and_who_is_polled_without_the_markup_in_it() -> None:
    received, _ = asyncio.run(tried(gets(b"/", *ECHOES), []))
    for back in received:
        (page,) = answers(back)
        assert b"text/html" in page.head
        assert ESCAPED in page.body
        assert MARK not in page.body


@given(st.lists(STREAMS, min_size=20, max_size=20))
@example([HELLO, PREFACE, GOOD, *MANY, *gets(*ECHOES)])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_the_server_answers_or_ends_it_and_answers_a_scrape(streams: list[bytes]) -> None:
    told: list[str] = []
    with logged() as defects:
        received, scraped = asyncio.run(tried(streams, told))
    assert scraped.startswith(b"HTTP/1.1 200 ")
    assert b"unpod_agent_up{" in scraped
    assert defects + [reason for reason in told if "defect" in reason] == []
    for stream, back in zip(streams, received, strict=True):
        assert not back or back.startswith(b"HTTP/1."), stream
        for answer in answers(back):
            assert answer.status < 500, stream
            assert MARK not in answer.head, stream
            assert INJECTED not in answer.head, stream
            assert b"text/html" not in answer.head or MARK not in answer.body, stream
            assert answer.status == 100 or b"nosniff" in answer.head, stream
