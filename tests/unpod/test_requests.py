"""What the client sends, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.answers import Answer
from exporter.unpod.client import Client, FileToken, Settings, StaticToken, Urgency
from exporter.unpod.errors import BadRequest, ConnectionFailed, RateLimited, ServerError, Unauthorized
from exporter.unpod.transport import Received, Transport

Connect = Callable[..., Client]


async def test_tasks_are_asked_for_by_agent_page_and_size(client: Client, platform: Any) -> None:
    await client.tasks("sales-agent-v1", page=3, page_size=50)
    (request,) = platform.seen
    assert request.method == "GET"
    assert request.raw_path == "/api/v2/platform/agents/sales-agent-v1/tasks/?page=3&page_size=50"


async def test_the_list_of_agents_is_asked_for_without_a_query(client: Client, platform: Any) -> None:
    await client.agents()
    assert platform.seen[0].raw_path == "/api/v2/platform/agents/"


async def test_the_headers_are_those_of_the_api_and_of_no_browser(connect: Connect, platform: Any) -> None:
    async with connect(org_handle="acme", user_agent="unpod-exporter/1.2.3") as client:
        await client.agents()
    headers = {name: value for name, value in platform.seen[0].headers.items() if name != "Host"}
    assert headers == {
        "Authorization": "Token secret-token",
        "Org-Handle": "acme",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": "application/json",
        "Connection": "close",
        "User-Agent": "unpod-exporter/1.2.3",
    }


async def test_the_organisation_is_named_only_where_it_is_configured(client: Client, platform: Any) -> None:
    await client.tasks("a", page=1, page_size=1)
    assert "Org-Handle" not in platform.seen[0].headers


@pytest.mark.parametrize("prefix", ["/api/v2/platform", "api/v2/platform/"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_slashes_around_base_and_prefix_do_not_matter(
    connect: Connect, platform: Any, prefix: str, slash: str
) -> None:
    async with connect(base_url=f"{platform.url}/proxied{slash}", path_prefix=prefix) as client:
        await client.agents()
    assert platform.seen[0].raw_path == "/proxied/api/v2/platform/agents/"


async def test_a_prefix_may_be_empty(connect: Connect, platform: Any) -> None:
    async with connect(path_prefix="/") as client:
        await client.agents()
    assert platform.seen[0].raw_path == "/agents/"


@pytest.mark.parametrize(
    ("handle", "segment"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("100%", "100%25"),
        ("%2e", "%252e"),
        ("a?page=9#x", "a%3Fpage%3D9%23x"),
        ("प्रतिनिधि", "%E0%A4%AA%E0%A5%8D%E0%A4%B0%E0%A4%A4%E0%A4%BF%E0%A4%A8%E0%A4%BF%E0%A4%A7%E0%A4%BF"),
        ("a&b;c=d+e", "a%26b%3Bc%3Dd%2Be"),
    ],
)
async def test_a_handle_is_one_segment_of_the_path_whatever_it_holds(
    client: Client, platform: Any, handle: str, segment: str
) -> None:
    await client.tasks(handle, page=1, page_size=1)
    assert platform.seen[0].raw_path == f"/api/v2/platform/agents/{segment}/tasks/?page=1&page_size=1"


@given(st.text(st.characters(codec="utf-8"), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
async def test_any_handle_arrives_as_it_is(client: Client, platform: Any, handle: str) -> None:
    await client.tasks(handle, page=1, page_size=1)
    path = platform.seen[-1].raw_path.split("?")[0]
    *_, segment, tasks, nothing = path.split("/")
    assert (unquote(segment), tasks, nothing) == (handle, "tasks", "")


async def test_an_agent_without_a_handle_is_not_asked_for(client: Client, platform: Any) -> None:
    with pytest.raises(BadRequest):
        await client.tasks("", page=1, page_size=1)
    assert platform.seen == []


@pytest.mark.parametrize(("page", "size"), [(0, 20), (1, 0), (-1, 20)])
async def test_a_page_that_the_platform_takes_for_something_else_is_never_asked_for(
    client: Client, platform: Any, page: int, size: int
) -> None:
    with pytest.raises(ValueError, match="from 1"):
        await client.tasks("a", page=page, page_size=size)
    assert platform.seen == []


async def test_a_token_that_changed_is_used_from_the_next_request_on(
    connect: Connect, platform: Any, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    async with connect(FileToken(path)) as client:
        await client.agents()
        path.write_text("the second\n".replace("the ", ""))
        await client.agents()
    assert [request.headers["Authorization"] for request in platform.seen] == ["Token first", "Token second"]


async def test_without_a_token_nothing_is_sent(connect: Connect, platform: Any, tmp_path: Path, observed: Any) -> None:
    async with connect(FileToken(tmp_path / "gone")) as client:
        with pytest.raises(Unauthorized):
            await client.agents()
    assert platform.seen == []
    assert observed.requests == []


@pytest.mark.parametrize(
    "base",
    ["unpod.ai", "ftp://unpod.ai", "https://", "https://user:word@unpod.ai", "https://unpod.ai?x=1", "http://[", ""],
)
def test_a_base_url_that_could_not_work_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(Settings(base_url=base), StaticToken("t"))


@pytest.mark.parametrize("setting", ["org_handle", "user_agent"])
def test_a_header_with_a_line_break_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="header"):
        Client(Settings(**{setting: "a\r\nX-Evil: 1"}), StaticToken("t"))


async def test_only_so_many_requests_are_under_way_at_once(connect: Connect, platform: Any) -> None:
    platform.gate = asyncio.Event()
    async with connect(max_concurrent_requests=2) as client, asyncio.TaskGroup() as group:
        for _ in range(6):
            group.create_task(client.tasks("a", page=1, page_size=1))
        await platform.arrivals.acquire()
        await platform.arrivals.acquire()
        for _ in range(100):  # turns of the loop, in which a third could arrive
            await asyncio.sleep(0)
        assert platform.under_way == 2
        platform.gate.set()
    assert platform.most_under_way == 2
    assert len(platform.seen) == 6


async def test_requests_are_paced_and_the_wait_is_told(connect: Connect, clock: Any, observed: Any) -> None:
    began = clock.now
    async with connect(requests_per_minute=6) as client:
        for _ in range(8):
            await client.agents()
    assert clock.now - began == pytest.approx(70, abs=1e-6), "one at once, then one every 10 seconds"
    assert sum(observed.waits) == pytest.approx(70, abs=1e-6)
    assert sum(observed.seconds) == 0


async def test_waiting_for_another_request_to_end_is_no_wait_for_the_pace(
    connect: Connect, platform: Any, clock: Any, observed: Any
) -> None:
    platform.gate = asyncio.Event()
    async with connect(max_concurrent_requests=1) as client, asyncio.TaskGroup() as group:
        group.create_task(client.agents())
        group.create_task(client.agents())
        await platform.arrivals.acquire()
        clock.now += 30
        platform.gate.set()
    assert observed.waits == [0, 0]
    assert observed.seconds == [30, 0]


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        pytest.param("12", 12, id="seconds"),
        pytest.param("0.5", 0.5, id="a part of a second"),
        pytest.param("0", 0, id="zero"),
        pytest.param("-7", 0, id="a negative number"),
        pytest.param("Mon, 02 Feb 2026 02:41:10 GMT", 70, id="an HTTP date"),
        pytest.param("Mon, 02 Feb 2026 02:40:10 -0000", 10, id="an HTTP date without a zone"),
        pytest.param("Mon, 02 Feb 2026 00:00:00 GMT", 0, id="an HTTP date in the past"),
        pytest.param("86000", 86000, id="nearly a day"),
        pytest.param("999999", 86400, id="more than a day"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 86400, id="an HTTP date far away"),
    ],
)
async def test_too_many_requests_pause_all_requests(
    client: Client, platform: Any, clock: Any, observed: Any, header: str, pause: float
) -> None:
    assert clock.now == 1_770_000_000, "Mon, 02 Feb 2026 02:40:00 GMT"
    platform.answers(lambda: platform.json([], 429, {"Retry-After": header}))
    with pytest.raises(RateLimited) as caught:
        await client.tasks("one", page=1, page_size=1)
    assert caught.value.retry_after == pause
    platform.answers(lambda: platform.json([]))
    began = clock.now
    await client.tasks("another", page=1, page_size=1)
    assert clock.now - began == pytest.approx(pause)
    assert sum(observed.waits) == pytest.approx(pause)


@pytest.mark.parametrize("header", [None, "", "soon", "nan", "1e9", "12, 13", "١٢", "Mon, 99 Feb 2026 02:40:00 GMT"])
async def test_too_many_requests_without_a_usable_time_pause_for_ten_seconds(
    client: Client, platform: Any, clock: Any, header: str | None
) -> None:
    headers = {} if header is None else {"Retry-After": header}
    platform.answers(lambda: platform.json([], 429, headers))
    with pytest.raises(RateLimited) as caught:
        await client.agents()
    assert caught.value.retry_after is None
    platform.answers(lambda: platform.json([]))
    began = clock.now
    await client.agents()
    assert clock.now - began == 10


async def test_the_observer_is_told_of_every_request(client: Client, platform: Any, observed: Any) -> None:
    await client.agents()
    platform.body(b'{"data": []}')
    await client.tasks("a", page=1, page_size=1)
    platform.answers(lambda: platform.json([], 429, {"Retry-After": "0"}))
    with pytest.raises(RateLimited):
        await client.agents()
    (agents, *others) = observed.requests
    assert agents[:2] == ("agents", "200")
    assert others == [("tasks", "200", 12), ("agents", "429", 0)]
    assert len(observed.waits) == 3


async def test_a_client_that_is_not_open_says_so(connect: Connect) -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await connect().agents()


async def test_too_many_requests_without_a_time_pause_ever_longer_until_something_is_answered(
    client: Client, platform: Any, clock: Any
) -> None:
    async def pause() -> float:
        """For how long the next request is held back, which is answered with 429 again."""
        began = clock.now
        with pytest.raises(RateLimited):
            await client.agents()
        return float(clock.now - began)

    platform.answers(lambda: platform.json([], 429))
    assert [await pause() for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    platform.answers(lambda: platform.json([]))
    await client.agents()
    platform.answers(lambda: platform.json([], 429))
    assert [await pause() for _ in range(2)] == [0, 10]


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "gaps"),
    [
        pytest.param("100", "0", "30", [30, 30], id="nothing left, seconds"),
        pytest.param("100", "0", "1770000030", [30, 0], id="nothing left, Unix time"),
        pytest.param("100", "0", "1770000030500", [30.5, 0], id="nothing left, Unix time in milliseconds"),
        pytest.param(None, "0", "30", [30, 30], id="no limit told"),
        pytest.param("100", "4", "60", [15, 15], id="little left is spread"),
        pytest.param("100", "99", "60", [0.6, 0.6], id="plenty left"),
        pytest.param("100", "0", "86400", [3600, 3600], id="bounded: asked again in an hour"),
        pytest.param("100", "0", "0", [0, 0], id="over already"),
        pytest.param("100", "0", "1760000000", [0, 0], id="in the past"),
        pytest.param("100", "0", "soon", [0, 0], id="no time"),
        pytest.param("100", "0", "-5", [0, 0], id="a negative time"),
        pytest.param("100", "0", None, [0, 0], id="no reset"),
        pytest.param("100", "many", "30", [0, 0], id="no number"),
        pytest.param("100", "101", "30", [0, 0], id="more than the limit"),
        pytest.param("100", "٣", "30", [0, 0], id="digits of another script"),
    ],
)
async def test_the_quota_that_the_server_tells_is_kept(
    client: Client, platform: Any, clock: Any, limit: str | None, remaining: str, reset: str | None, gaps: list[float]
) -> None:
    told = {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": remaining, "X-RateLimit-Reset": reset}
    headers = {name: value for name, value in told.items() if value is not None}
    platform.answers(lambda: platform.json([], 200, headers))
    begun = []
    for _ in range(3):
        await client.agents()
        begun.append(clock.now)
    assert [after - before for before, after in pairwise(begun)] == pytest.approx(gaps, abs=0.01)


async def test_the_quota_of_a_failed_answer_is_kept_too(client: Client, platform: Any, clock: Any) -> None:
    platform.answers(lambda: platform.json([], 500, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}))
    began = clock.now
    for _ in range(2):
        with pytest.raises(ServerError):
            await client.tasks("a", page=1, page_size=1)
    assert clock.now - began == pytest.approx(30)


async def test_what_is_urgent_is_asked_first(connect: Connect, platform: Any, clock: Any) -> None:
    async with connect(requests_per_minute=1, max_concurrent_requests=1) as client, asyncio.TaskGroup() as group:
        for agent, urgency in [("first", Urgency.SWEEP), ("s", Urgency.SWEEP), ("h", Urgency.HISTORY)]:
            group.create_task(client.tasks(agent, page=1, page_size=1, urgency=urgency))
            await asyncio.sleep(0)
        group.create_task(client.agents())
    assert [request.raw_path.split("/")[5] for request in platform.seen] == ["first", "", "h", "s"]


async def test_other_settings_hold_for_the_next_request(client: Client, platform: Any) -> None:
    await client.agents()
    base = str(platform.seen[0].url.origin())
    await client.change(Settings(base_url=base, path_prefix="/v3", org_handle="other"), StaticToken("another"))
    await client.agents()
    request = platform.seen[1]
    assert request.raw_path == "/v3/agents/"
    assert (request.headers["Org-Handle"], request.headers["Authorization"]) == ("other", "Token another")
    assert client.usage().begun == 2


async def test_settings_that_could_not_work_change_nothing(client: Client, platform: Any, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for wrong, error in (
        (Settings(base_url="nowhere"), ValueError),
        (Settings(org_handle="a\nb"), ValueError),
        (Settings(ca_file=str(tmp_path / "ca.pem")), ConnectionFailed),
    ):
        with pytest.raises(error):
            await client.change(wrong, StaticToken("another"))
    await client.agents()
    assert platform.seen[0].headers["Authorization"] == "Token secret-token"


async def test_what_was_refused_with_the_token_before_is_asked_with_another(connect: Connect, platform: Any) -> None:
    async with connect() as client:
        platform.reply = lambda request: platform.json({"message": "no"}, status=401)
        for agent in ("a", "b"):
            with pytest.raises(Unauthorized):
                await client.tasks(agent, page=1, page_size=1)
        base = str(platform.seen[0].url.origin())
        seen = len(platform.seen)
        await client.change(Settings(base_url=base), StaticToken("another"))
        platform.reply = lambda request: platform.json([])
        await client.agents()
        assert len(platform.seen) == seen + 1


async def test_a_request_that_the_server_drops_is_not_sent_again_behind_the_back_of_the_pace(
    client: Client, platform: Any
) -> None:
    await client.agents()

    def drop(request: Any) -> Any:
        request.transport.close()
        return platform.json([])

    platform.reply = drop
    with pytest.raises(ConnectionFailed):
        await client.agents()
    assert len(platform.seen) == 2


@given(st.lists(st.integers(0, 300_000), min_size=2, max_size=6))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_answers_that_are_written_over_those_before_are_read_as_they_are(
    client: Client, platform: Any, sizes: list[int]
) -> None:
    """Longer or shorter ones, and several at once."""
    for size in sizes:
        platform.reply = lambda _, size=size: platform.json([{"task_id": f"T{size}", "name": "x" * size}])
        pages = await asyncio.gather(*(client.tasks("a", page=1, page_size=20) for _ in range(2)))
        assert [task.id for page in pages for task in page.tasks] == [f"T{size}"] * 2
        assert {page.bytes for page in pages} == {
            len(platform.json([{"task_id": f"T{size}", "name": "x" * size}]).body)
        }


async def test_an_answer_takes_the_memory_of_one_before_unless_somebody_still_holds_a_part_of_it(platform: Any) -> None:
    transport = Transport(Settings(base_url=platform.url))
    await transport.open()

    async def answer(data: str) -> Answer:
        platform.reply = lambda _: platform.json([data])
        return await transport.get("a", {}, "secret-token", Received())

    first = await answer("x" * 50_000)
    transport.reuse(first)
    second = await answer("y" * 40_000)
    assert second.body is first.body
    part = memoryview(second.body)
    transport.reuse(second)
    third = await answer("z" * 50_000)
    assert third.body is not second.body
    assert b"y" * 40_000 in part.tobytes()
    assert b"z" * 50_000 in third.body
    large = await answer("x" * 5_000_000)
    transport.reuse(large)
    assert (await answer("y")).body is not large.body, "nobody holds on to as much for small ones"
    await transport.close()
