"""Which path answers what, over real HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient
from yarl import URL

from exporter.web.pages import AgentDetail, AgentStatus, Pages, PollStatus, Status
from exporter.web.server import create_app

NOW = 1_763_733_000.0
STATUS = Status(
    version="1.2.3",
    started=NOW - 7200,
    now=NOW,
    agents=(
        AgentStatus(
            handle="support",
            state="failing",
            up=False,
            last_poll=NOW - 12,
            last_success=NOW - 3700,
            tasks=1_234_567,
            calls=890,
            history_ratio=0.999,
            last_error="401: the token is missing, wrong or revoked",
        ),
        AgentStatus(handle="sales", name="Sales", state="up", up=True, last_poll=NOW - 90_000, tasks=0, calls=0),
        AgentStatus(handle="new", state="waiting for its first poll"),
    ),
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "unpod-exporter",
}


class Answer(msgspec.Struct, frozen=True):
    body: bytes
    content_type: str = "text/plain; version=0.0.4; charset=utf-8"
    content_encoding: str | None = None
    status: int = 200


def echo(accept: str | None, accept_encoding: str | None, agents: Sequence[str]) -> Answer:
    """Metrics that tell what was asked for."""
    return Answer(f"{accept}|{accept_encoding}|{','.join(agents)}".encode())


def pages(**changes: object) -> Pages:
    usual = Pages(metrics=echo, ready=lambda: None, status=lambda: STATUS, agent=detail)
    return msgspec.structs.replace(usual, **changes)


def detail(handle: str) -> AgentDetail | None:
    """Of an agent that exists, whatever its name, unless it is called nobody."""
    if handle in ("", "nobody"):
        return None
    poll = PollStatus(at=NOW - 12, seconds=0.25, pages=2, tasks=40, news={"calls": 3})
    return AgentDetail(now=NOW, version="1.2.3", agent=AgentStatus(handle=handle, state="up", up=True), polls=(poll,))


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    return await aiohttp_client(create_app(pages()))


class TestMetrics:
    async def test_the_request_headers_and_the_agents_are_handed_on(self, client: TestClient) -> None:
        url = "/metrics?agent=sales&agent=a%20%26b&other=1"
        answer = await client.get(url, headers={"Accept": "text/plain", "Accept-Encoding": "br"})
        assert await answer.text() == "text/plain|br|sales,a &b"

    async def test_absent_headers_are_handed_on_as_absent(self, client: TestClient) -> None:
        answer = await client.get("/metrics", skip_auto_headers=["Accept", "Accept-Encoding"])
        assert await answer.text() == "None|None|"

    async def test_the_content_type_is_left_as_it_is(self, client: TestClient) -> None:
        answer = await client.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["Vary"] == "Accept, Accept-Encoding"
        assert "Content-Encoding" not in answer.headers

    async def test_a_packed_answer_says_so(self, aiohttp_client: AiohttpClient) -> None:
        packed = Answer(b"\x1f\x8b", content_encoding="gzip")
        client = await aiohttp_client(create_app(pages(metrics=lambda *_: packed)), auto_decompress=False)
        answer = await client.get("/metrics")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert await answer.read() == b"\x1f\x8b"

    async def test_what_is_not_found_is_answered_so(self, aiohttp_client: AiohttpClient) -> None:
        unknown = Answer(b"no agent 'x' is known here\n", "text/plain; charset=utf-8", status=404)
        client = await aiohttp_client(create_app(pages(metrics=lambda *_: unknown)))
        answer = await client.get("/metrics?agent=x")
        assert (answer.status, await answer.text()) == (404, "no agent 'x' is known here\n")

    async def test_another_path_can_be_chosen(self, aiohttp_client: AiohttpClient) -> None:
        client = await aiohttp_client(create_app(pages(telemetry_path="/probe/unpod")))
        assert (await client.get("/probe/unpod")).status == 200
        assert (await client.get("/metrics")).status == 404
        assert 'href="probe/unpod"' in await (await client.get("/")).text()

    async def test_at_the_root_the_metrics_take_the_place_of_the_status_page(
        self, aiohttp_client: AiohttpClient
    ) -> None:
        client = await aiohttp_client(create_app(pages(telemetry_path="/")))
        assert (await (await client.get("/")).text()).count("|") == 2

    @pytest.mark.parametrize(
        "path", ["", "metrics", "/{x}", "/a b", "/-/ready", "/api/agents", "/api/agents/x", "/metrics?x"]
    )
    def test_a_path_that_cannot_be_is_refused(self, path: str) -> None:
        with pytest.raises(ValueError, match="write for example /metrics"):
            create_app(pages(telemetry_path=path))


class TestHealth:
    async def test_healthy_while_the_process_works(self, client: TestClient) -> None:
        answer = await client.get("/-/healthy")
        assert (answer.status, await answer.text()) == (200, "healthy\n")

    async def test_ready(self, client: TestClient) -> None:
        answer = await client.get("/-/ready")
        assert (answer.status, await answer.text()) == (200, "ready\n")

    async def test_not_ready_with_the_reason(self, aiohttp_client: AiohttpClient) -> None:
        reasons = ["2 of 3 agents wait for their first poll", None]
        client = await aiohttp_client(create_app(pages(ready=lambda: reasons.pop(0))))
        answer = await client.get("/-/ready")
        assert (answer.status, await answer.text()) == (503, "2 of 3 agents wait for their first poll\n")
        assert (await client.get("/-/ready")).status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/api/agents"])
class TestEveryPage:
    async def test_head_has_the_headers_of_get(self, client: TestClient, path: str) -> None:
        got, head = await client.get(path), await client.head(path)
        assert head.status == got.status == 200
        assert await head.read() == b""
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.headers["Content-Length"] == got.headers["Content-Length"]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
    async def test_other_methods_are_not_allowed(self, client: TestClient, path: str, method: str) -> None:
        answer = await client.request(method, path)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET,HEAD"

    async def test_browsers_are_told_to_be_careful(self, client: TestClient, path: str) -> None:
        answer = await client.get(path)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/", "/-/reload", "/api/agents/nobody", "/api/agents/", "/..%2f"])
async def test_other_paths_are_not_found_with_the_same_headers(client: TestClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status == 404
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


async def test_agents_as_json(client: TestClient) -> None:
    answer = await client.get("/api/agents")
    assert answer.content_type == "application/json"
    told = await answer.json()
    assert (told["version"], told["now"]) == ("1.2.3", NOW)
    assert (
        told["agents"][0].items()
        >= {
            "handle": "support",
            "name": "",
            "state": "failing",
            "up": False,
            "last_poll": NOW - 12,
            "last_success": NOW - 3700,
            "tasks": 1_234_567,
            "calls": 890,
            "history_ratio": 0.999,
            "last_error": "401: the token is missing, wrong or revoked",
        }.items()
    )
    assert told["agents"][2]["last_poll"] is None


ODD = [
    "support",
    "back office/mail",
    "a%2Fb",
    "50%",
    "ünïcödé 🤖",
    "<script>",
    "..",
    ".",
    "a?b#c&d=e",
    "\\",
    "a\nb",
    "a+b",
]


@pytest.mark.parametrize("handle", ODD)
async def test_one_agent_as_json_whatever_characters_its_handle_has(client: TestClient, handle: str) -> None:
    path = "/api/agents/" + (quote(handle, safe="") if handle.strip(".") else f"?handle={handle}")
    answer = await client.get(URL(path, encoded=True))
    assert answer.content_type == "application/json"
    told = await answer.json()
    assert (told["agent"]["handle"], told["agent"]["up"]) == (handle, True)
    assert told["polls"][0]["news"] == {"calls": 3}
