"""A scripted platform on loopback, a clock that stands still until it is told, and tasks read by both decoders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from exporter.unpod import reading, usual, wire
from exporter.unpod.client import Client, Settings, StaticToken
from exporter.unpod.facts import Call, Task


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_770_000_000.0
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Observed:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, int]] = []
        self.seconds: list[float] = []
        self.waits: list[float] = []

    def request(self, endpoint: str, code: str, seconds: float, received: int) -> None:
        self.requests.append((endpoint, code, received))
        self.seconds.append(seconds)

    def waited(self, seconds: float) -> None:
        self.waits.append(seconds)


class Platform:
    """Answers every request with what ``reply`` makes of it, and remembers the requests."""

    def __init__(self) -> None:
        self.seen: list[web.BaseRequest] = []
        self.reply: Callable[[web.BaseRequest], web.StreamResponse] = lambda _: self.json([])
        self.hang = False
        self.under_way = 0
        self.most_under_way = 0
        self.gate: asyncio.Event | None = None
        self.arrivals = asyncio.Semaphore(0)
        self.url = ""

    @staticmethod
    def json(data: Any, status: int = 200, headers: dict[str, str] | None = None, **members: Any) -> web.Response:
        body = {"count": len(data), "status_code": status, "message": "Success", "data": data, **members}
        return web.json_response(body, status=status, headers=headers)

    def answers(self, response: Callable[[], web.StreamResponse]) -> None:
        self.reply = lambda _: response()

    def body(self, raw: bytes, **more: Any) -> None:
        """Answers 200 with exactly these bytes."""
        self.answers(lambda: web.Response(body=raw, content_type="application/json", **more))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        self.arrivals.release()
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.hang:
                await asyncio.Event().wait()
            return self.reply(request)
        finally:
            self.under_way -= 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    scripted = Platform()
    async with RawTestServer(scripted.handle) as server:
        scripted.url = str(server.make_url("")).rstrip("/")
        yield scripted


Connect = Callable[..., Client]


@pytest.fixture
def connect(platform: Platform, clock: Clock, observed: Observed) -> Connect:
    """Builds a client of the scripted platform; keyword arguments change its settings."""

    def build(token: Any = None, **settings: Any) -> Client:
        chosen = Settings(**{"base_url": platform.url, "requests_per_minute": 100_000, **settings})
        return Client(
            chosen,
            token or StaticToken("secret-token"),
            observer=observed,
            clock=clock.time,
            monotonic=clock.time,
            sleep=clock.sleep,
        )

    return build


@pytest.fixture
async def client(connect: Connect) -> AsyncIterator[Client]:
    async with connect() as opened:
        yield opened


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers that send exactly some bytes and then close, or reset, the connection; gives their URL."""
    servers = []

    async def start(answer: bytes, *, reset: bool = False) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if reset:
                writer.transport.abort()
            else:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


Read = Callable[[Any], Task]


@pytest.fixture(params=["fast", "thorough", "tolerant"])
def read(request: pytest.FixtureRequest) -> Read:
    """The facts of one task as they come out of a page: as they nearly always do, as they do where the task is unusual,
    and by the tolerant decoder."""

    def one(task: Any) -> Task:
        body = json.dumps({"count": 1, "status_code": 200, "message": "#", "data": [task]}).encode()
        # A raw control character in a member that nobody reads is what the fast decoder refuses.
        body = body.replace(b'"#"', b'"\x01"') if request.param == "tolerant" else body
        page = wire.tasks(body)
        assert page is not None
        (entry,) = page.data
        facts = (None if request.param == "thorough" else usual.task(entry)) or reading.task(entry)
        assert facts is not None
        return facts

    return one


@pytest.fixture
def read_call(read: Read) -> Callable[..., Call]:
    """The call of a task whose output has a ``call_id`` and these fields; it has no odd field unless told."""

    def one(*, odd: tuple[str, ...] = (), **output: Any) -> Call:
        facts = read({"task_id": "T1", "status": "completed", "output": {"call_id": "C1", **output}})
        assert facts.odd == odd
        assert facts.call is not None
        return facts.call

    return one
