"""What the platform answers when it does not answer with data, and who may ask."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from yarl import URL

from exporter.simulator.profiles import DEFAULT_PROFILES, Profile

AGENTS = "/api/v2/platform/agents/"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Authorization": "Token wrong"}, {"message": "Invalid token.", "status_code": 401}),
        (
            {"Authorization": "Bearer demo-token"},
            {"message": "Authentication credentials were not provided.", "error": "not_authenticated"},
        ),
        ({}, {"message": "Authentication credentials were not provided.", "error": "not_authenticated"}),
    ],
    ids=["wrong token", "bearer", "none"],
)
@pytest.mark.parametrize("path", [AGENTS, AGENTS + "small/tasks/"])
async def test_only_the_right_token_of_the_right_scheme_is_let_in(
    visitor: Any, path: str, headers: dict[str, str], body: object
) -> None:
    answer = await visitor.ask(path, headers=headers)
    assert (answer.status, answer.json) == (401, body)


async def test_the_agents_list_needs_an_organisation_and_the_tasks_do_not(visitor: Any) -> None:
    token = {"Authorization": "Token demo-token"}
    answer = await visitor.ask(AGENTS, headers=token)
    assert (answer.status, answer.json["status_code"], answer.json["data"]) == (400, 400, {})
    assert (await visitor.ask(AGENTS + "small/tasks/", headers=token)).status == 200
    assert (await visitor.ask(AGENTS + "small/tasks/", headers=token | {"Org-Handle": "another"})).status == 200


async def test_an_unknown_organisation_is_not_found(visitor: Any) -> None:
    answer = await visitor.ask(AGENTS, headers={"Authorization": "Token demo-token", "Org-Handle": "another"})
    assert answer.status == 404


async def test_an_unknown_agent_is_404_without_status_code_and_data(visitor: Any) -> None:
    answer = await visitor.tasks(handle="nobody")
    assert (answer.status, answer.json) == (404, {"message": "Agent not found"})


async def test_an_agent_may_be_listed_and_still_deny_its_tasks_with_206(make_world: Any, open_platform: Any) -> None:
    async with open_platform(make_world(Profile(handle="shut", no_access=True))) as visitor:
        listed = (await visitor.ask(AGENTS)).json["data"]
        assert "shut" in {agent["handle"] for agent in listed}
        answer = await visitor.tasks(handle="shut")
        text = "You Don't have Access to this Agent's Space"
        assert (answer.status, answer.json) == (206, {"status_code": 206, "message": text, "data": {}})
        assert visitor.served == []


async def test_without_the_trailing_slash_the_answer_is_a_redirect_that_keeps_the_query(visitor: Any) -> None:
    answer = await visitor.ask(AGENTS + "small/tasks?page=2&page_size=5")
    assert (answer.status, answer.headers["Location"]) == (301, AGENTS + "small/tasks/?page=2&page_size=5")
    answer = await visitor.ask(AGENTS.rstrip("/"))
    assert (answer.status, answer.headers["Location"]) == (301, AGENTS)


@pytest.mark.parametrize("handle", ["back office/mail", "50% off?", "वसूली", "a+b&c=d", "#1", "..x"])
async def test_a_handle_may_hold_any_characters(make_world: Any, open_platform: Any, handle: str) -> None:
    async with open_platform(make_world(Profile(handle=handle, tasks_per_hour=30.0))) as visitor:
        visitor.url = URL(f"{visitor.url}{AGENTS}{quote(handle, safe='')}/tasks/", encoded=True)
        async with visitor._session.get(visitor.url, headers={"Authorization": "Token demo-token"}) as answer:
            assert answer.status == 200
            assert (await answer.json())["count"] > 0


async def test_the_list_holds_an_empty_and_a_duplicate_handle_and_no_unpublished_agent(
    make_world: Any, open_platform: Any
) -> None:
    hidden = Profile(handle="hidden", state="draft")
    async with open_platform(make_world(*DEFAULT_PROFILES, hidden)) as visitor:
        answer = (await visitor.ask(AGENTS)).json
        handles = [agent["handle"] for agent in answer["data"]]
        assert "" in handles
        assert len(handles) > len(set(handles))
        assert "hidden" not in handles
        assert {agent["state"] for agent in answer["data"]} == {"published"}
        assert {"handle", "name", "type", "state", "purpose"} <= set(answer["data"][0])
        assert (await visitor.tasks(handle="hidden")).status == 200
        orders = {tuple(agent["handle"] for agent in (await visitor.ask(AGENTS)).json["data"]) for _ in range(5)}
        assert len(orders) > 1


async def test_a_world_without_odd_entries_lists_each_agent_once(make_world: Any, open_platform: Any) -> None:
    async with open_platform(make_world(odd_listing=False), org=None) as visitor:
        answer = await visitor.ask(AGENTS, headers={"Authorization": "Token demo-token", "Org-Handle": "any"})
        assert [agent["handle"] for agent in answer.json["data"]] == ["small"]


async def test_a_poisoned_document_crashes_every_page_that_holds_it_and_no_other(visitor: Any) -> None:
    ids = (await visitor.tasks("?page_size=0")).ids
    visitor.world.poison("small", ids[13])
    for query in ("?page=2&page_size=10", "?page_size=0", "", "?page=14&page_size=1"):
        answer = await visitor.tasks(query)
        assert answer.status == 500
        assert b"<html>" in answer.body
    assert (await visitor.tasks("?page=1&page_size=10")).ids == ids[:10]
    assert (await visitor.tasks("?page=15&page_size=1")).ids == [ids[14]]
    visitor.world.cure("small", ids[13])
    assert (await visitor.tasks("?page=2&page_size=10")).ids == ids[10:20]


async def test_other_methods_and_paths_are_refused(visitor: Any) -> None:
    assert (await visitor.ask(AGENTS + "small/tasks/", method="POST")).status == 405
    answer = await visitor.ask("/api/v1/elsewhere/")
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_each_successful_tasks_answer_is_told_with_its_tasks_and_time(visitor: Any) -> None:
    visitor.now += 5.0
    ids = (await visitor.tasks("?page_size=3")).ids
    await visitor.ask(AGENTS)
    assert [(handle, list(served), now) for handle, served, now in visitor.served] == [("small", ids, visitor.now)]


async def test_a_proxy_may_compress_where_the_client_accepts_it(make_world: Any, open_platform: Any) -> None:
    async with open_platform(make_world(), gzip=True) as visitor:
        plain = await visitor.ask(
            AGENTS + "small/tasks/",
            headers={"Authorization": "Token demo-token", "Accept-Encoding": "identity"},
        )
        packed = await visitor.tasks()
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.body == plain.body


async def test_the_truth_is_readable_and_can_be_read_on(visitor: Any) -> None:
    whole = (await visitor.ask("/_truth")).json
    assert whole["next"] == len(whole["events"]) == len(visitor.world.truth)
    assert {event["event"] for event in whole["events"]} >= {"created", "changed", "attempted", "ended", "shown"}
    visitor.now += 600.0
    rest = (await visitor.ask(f"/_truth?since={whole['next']}")).json
    assert rest["events"] == json.loads(msgspec.json.encode(visitor.world.truth[whole["next"] :]))
    assert rest["now"] == visitor.now
    assert (await visitor.ask("/_truth?since=x")).status == 400


async def test_every_request_lets_the_world_advance_and_never_back(visitor: Any) -> None:
    visitor.now += 900.0
    later = (await visitor.tasks("?page_size=0")).json["count"]
    visitor.now -= 900.0
    assert (await visitor.tasks("?page_size=0")).json["count"] == later
    assert visitor.world.now == visitor.now + 900.0
