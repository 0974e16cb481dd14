"""What the client makes of complete answers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from exporter.unpod import reading, usual, wire
from exporter.unpod.answers import AgentList
from exporter.unpod.client import Client
from exporter.unpod.errors import (
    BadRequest,
    BadResponse,
    Forbidden,
    NoAccess,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnpodError,
)
from exporter.unpod.facts import Agent, Page, Task

HTML = "<html><body>Jane Example</body></html>"


def tasks(number: int) -> list[dict[str, Any]]:
    return [{"task_id": f"T{place}"} for place in range(number)]


async def ask(client: Client, page: int = 1, size: int = 20) -> Page:
    return await client.tasks("a", page=page, page_size=size)


def html(status: int) -> web.Response:
    return web.Response(text=HTML, content_type="text/html", status=status)


def answer(status: int, body: dict[str, Any]) -> web.Response:
    return web.json_response(body, status=status)


NO_ACCESS = {"status_code": 206, "message": "You Don't have Access to this Agent's Space", "data": {}}
FAILED = {"status_code": 206, "message": "Tasks Fetch Failed", "data": {"errors": "..."}, "errors": "..."}
THROTTLED = {"message": "Request was throttled. Expected available in 12 seconds.", "status_code": 429}


@pytest.mark.parametrize(
    ("response", "error", "status"),
    [
        pytest.param(lambda: answer(206, NO_ACCESS), NoAccess, 206, id="206 no access to the agent's space"),
        pytest.param(lambda: answer(206, FAILED), NoAccess, 206, id="206 business logic error"),
        pytest.param(lambda: answer(206, {"message": "m", "errors": "e"}), NoAccess, 206, id="206 without status_code"),
        pytest.param(lambda: answer(206, {"count": 0, "data": []}), NoAccess, 206, id="206 even with a list"),
        pytest.param(
            lambda: answer(400, {"status_code": 400, "message": "...", "data": {}}), BadRequest, 400, id="400 invalid"
        ),
        pytest.param(
            lambda: answer(401, {"message": "Invalid token.", "status_code": 401}),
            Unauthorized,
            401,
            id="401 bad token",
        ),
        pytest.param(lambda: answer(401, {"message": "m", "error": "e"}), Unauthorized, 401, id="401 in other words"),
        pytest.param(lambda: answer(403, {"message": "...", "status_code": 403}), Forbidden, 403, id="403 forbidden"),
        pytest.param(lambda: answer(404, {"message": "Agent not found"}), NotFound, 404, id="404 without status_code"),
        pytest.param(lambda: answer(429, THROTTLED), RateLimited, 429, id="429 throttled"),
        pytest.param(lambda: html(500), ServerError, 500, id="500 as HTML"),
        pytest.param(lambda: html(502), ServerError, 502, id="502 of a proxy"),
        pytest.param(lambda: html(503), ServerError, 503, id="503 of a proxy"),
        pytest.param(lambda: html(504), ServerError, 504, id="504 of a proxy"),
        pytest.param(lambda: html(520), ServerError, 520, id="520 of a proxy"),
        pytest.param(lambda: html(418), BadRequest, 418, id="another 4xx"),
        pytest.param(lambda: web.Response(status=204), BadResponse, 204, id="204 without a body"),
        pytest.param(lambda: answer(201, {"data": []}), BadResponse, 201, id="201 with a list"),
        pytest.param(lambda: html(200), BadResponse, 200, id="200 as HTML"),
        pytest.param(lambda: web.Response(body=b""), BadResponse, 200, id="200 without a body"),
        pytest.param(lambda: web.Response(body=b"[]"), BadResponse, 200, id="200 with a list alone"),
        pytest.param(lambda: answer(200, {"count": 0}), BadResponse, 200, id="200 without data"),
        pytest.param(lambda: answer(200, {"data": {}}), BadResponse, 200, id="200 with an object for data"),
        pytest.param(lambda: answer(200, {"data": None}), BadResponse, 200, id="200 with null for data"),
        pytest.param(lambda: answer(200, {**NO_ACCESS, "data": []}), NoAccess, 200, id="200 that says 206"),
        pytest.param(lambda: answer(200, {"status_code": 401, "data": []}), Unauthorized, 200, id="200 that says 401"),
        pytest.param(lambda: answer(200, {"status_code": "500", "data": []}), ServerError, 200, id="200 that says 500"),
        pytest.param(lambda: answer(200, {"status_code": 201, "data": []}), BadResponse, 200, id="200 that says 201"),
        pytest.param(
            lambda: answer(200, {"status_code": {}, "data": []}), BadResponse, 200, id="200 that says nonsense"
        ),
    ],
)
async def test_an_answer_that_is_no_success_is_its_error(
    client: Client, platform: Any, response: Callable[[], web.Response], error: type[UnpodError], status: int
) -> None:
    platform.answers(response)
    for request in (ask(client), client.agents()):
        with pytest.raises(UnpodError) as caught:
            await request
        assert type(caught.value) is error
        assert caught.value.status == status
        assert caught.value.__context__ is None or isinstance(caught.value, RateLimited)
        for word in ("Jane", "Space", "token.", "throttled", "Failed"):
            assert word not in str(caught.value)


@pytest.mark.parametrize("code", [200, "200", None])
async def test_a_body_may_repeat_that_it_is_a_success(client: Client, platform: Any, code: object) -> None:
    platform.answers(lambda: answer(200, {"status_code": code, "count": 0, "data": []}))
    assert (await ask(client)).received == 0


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://elsewhere.example/api?token=secret", "to https://elsewhere.example,"),
        ("/api/v2/platform/agents/a/tasks/", "within the same host"),
        ("http://[", "within the same host"),
        ("javascript://elsewhere.example/", "within the same host"),
        ("https://else\x85where.example/", "within the same host"),
        (None, "within the same host"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_and_tells_where_the_api_may_be(
    client: Client, platform: Any, status: int, location: str | None, told: str
) -> None:
    headers = {"Location": location} if location else {}
    platform.answers(lambda: web.Response(status=status, headers=headers))
    with pytest.raises(BadResponse, match="base URL") as caught:
        await ask(client)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(platform.seen) == 1


async def test_an_error_names_host_and_path_but_not_the_agent(client: Client, platform: Any) -> None:
    platform.answers(lambda: html(500))
    with pytest.raises(ServerError) as caught:
        await client.tasks("jane-example", page=1, page_size=5)
    host = platform.url.removeprefix("http://")
    assert str(caught.value).startswith(f"{host}/api/v2/platform/agents/*/tasks/ answered HTTP 500: ")
    assert "jane" not in str(caught.value)


async def test_a_page_holds_tasks_and_the_total(client: Client, platform: Any) -> None:
    platform.answers(lambda: platform.json(tasks(20), count=45))
    page = await ask(client)
    assert [task.id for task in page.tasks] == [f"T{place}" for place in range(20)]
    assert (page.total, page.received, page.unidentified, page.whole) == (45, 20, 0, False)
    assert page.bytes > 400


@pytest.mark.parametrize(
    ("page", "received", "count"),
    [
        pytest.param(1, 20, 20, id="one full page"),
        pytest.param(1, 7, 7, id="one short page"),
        pytest.param(1, 0, 0, id="no task at all"),
        pytest.param(3, 5, 45, id="the short last page"),
        pytest.param(4, 0, 45, id="a page past the end"),
        pytest.param(1, 20, "45", id="a count in a string"),
        pytest.param(1, 8, 7, id="a task that was created meanwhile"),
        pytest.param(1, 20, None, id="a full page without a count"),
        pytest.param(2, 3, None, id="a short page without a count"),
    ],
)
async def test_a_page_that_agrees_with_the_count_is_taken(
    client: Client, platform: Any, page: int, received: int, count: object
) -> None:
    platform.answers(lambda: platform.json(tasks(received), count=count))
    answered = await ask(client, page)
    assert (answered.received, answered.whole) == (received, False)
    assert answered.total == (None if count is None else int(str(count)))


@pytest.mark.parametrize(
    ("page", "received", "count"),
    [
        pytest.param(1, 19, 45, id="a first page with a task too few"),
        pytest.param(1, 0, 45, id="an empty first page"),
        pytest.param(3, 4, 45, id="a last page with a task too few"),
        pytest.param(1, 30, 45, id="more than asked for, but not all"),
    ],
)
async def test_a_page_with_fewer_tasks_than_the_count_says_is_an_error(
    client: Client, platform: Any, page: int, received: int, count: int
) -> None:
    platform.answers(lambda: platform.json(tasks(received), count=count))
    with pytest.raises(BadResponse, match=f"20 tasks .* page {page}, {received} arrived, and {count} exist; a smaller"):
        await ask(client, page)


@pytest.mark.parametrize("count", [45, 40, None], ids=["the true count", "an older count", "no count"])
@pytest.mark.parametrize("page", [1, 2])
async def test_a_server_that_ignores_paging_gives_the_whole_history(
    client: Client, platform: Any, page: int, count: int | None
) -> None:
    platform.answers(lambda: platform.json(tasks(45), count=count))
    answered = await ask(client, page)
    assert (answered.received, answered.whole) == (45, True)


@pytest.mark.parametrize("count", [-1, 1.5, True, {}, [], "many", "NULL", pytest.param(10**400, id="huge")])
async def test_a_count_that_is_no_number_contradicts_the_answer(client: Client, platform: Any, count: object) -> None:
    platform.answers(lambda: platform.json(tasks(1), count=count))
    with pytest.raises(BadResponse, match="count is no whole number"):
        await ask(client)


async def test_tasks_without_identity_are_counted_and_lose_nothing(client: Client, platform: Any) -> None:
    data = [{"task_id": "T1"}, {"status": "completed"}, None, "text", 7, [], {"_id": {"$oid": "a1"}}]
    platform.answers(lambda: platform.json(data))
    page = await ask(client)
    assert [task.id for task in page.tasks] == ["T1", "a1"]
    assert (page.received, page.unidentified) == (7, 5)


async def test_a_defect_in_reading_one_task_costs_that_task_alone(
    client: Client, platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(raw: Any) -> Task | None:
        if wire.task(raw).task_id == "T1":
            raise ZeroDivisionError
        return sound(raw)

    sound = reading.task
    monkeypatch.setattr(usual, "task", lambda raw: None)
    monkeypatch.setattr(reading, "task", defective)
    platform.answers(lambda: platform.json(tasks(3)))
    page = await ask(client)
    assert [task.id for task in page.tasks] == ["T0", "T2"]
    assert (page.received, page.unidentified) == (3, 1)


@pytest.mark.parametrize("poison", [b"\x01", b"\xff"])
async def test_a_page_that_a_strict_decoder_refuses_is_read(client: Client, platform: Any, poison: bytes) -> None:
    platform.body(b'{"count": 2, "data": [{"task_id": "T1", "x": "' + poison + b'"}, {"task_id": "T2"}]}')
    assert [task.id for task in (await ask(client)).tasks] == ["T1", "T2"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_may_be_compressed(client: Client, platform: Any, observed: Any, encoding: str) -> None:
    raw = json.dumps({"count": 300, "data": tasks(300)}).encode()
    squeezed = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    body = squeezed.compress(raw) + squeezed.flush()
    platform.body(body, headers={"Content-Encoding": encoding})
    page = await ask(client, size=300)
    assert (page.received, page.bytes) == (300, len(raw))
    assert observed.requests == [("tasks", "200", len(raw))]


async def test_the_agents_are_listed_once_each_and_without_those_that_have_no_handle(
    client: Client, platform: Any
) -> None:
    data = [
        {"handle": "sales", "name": "Sales", "type": "Voice", "state": "published", "purpose": "..."},
        {"handle": "", "name": "Nobody", "type": "Chat"},
        {"handle": None},
        {"handle": "sales", "name": "Sales again", "type": "Voice"},
        {"handle": "odd", "name": None, "type": "Hologram", "description": "..."},
        {"handle": "bare"},
        "text",
    ]
    platform.answers(lambda: platform.json(data))
    assert await client.agents() == AgentList(
        agents=(
            Agent(handle="sales", name="Sales", type="voice"),
            Agent(handle="odd", name="", type="other"),
            Agent(handle="bare", name="", type="unknown"),
        ),
        skipped=4,
    )


@pytest.mark.parametrize("kind", ["Voice", "Chat", "Tool", "Connector", "Data", "AI", "LLM", "Pilot", "Message"])
async def test_an_agent_has_a_type(client: Client, platform: Any, kind: str) -> None:
    platform.answers(lambda: platform.json([{"handle": "a", "type": kind}]))
    assert (await client.agents()).agents[0].type == kind.lower()


async def test_a_list_of_agents_with_fewer_than_the_count_says_is_an_error(client: Client, platform: Any) -> None:
    platform.answers(lambda: platform.json([{"handle": "a"}], count=2))
    with pytest.raises(BadResponse, match="1 agents arrived, and 2 exist"):
        await client.agents()
