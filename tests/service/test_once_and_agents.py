"""The commands that ask once and end: `once` and `agents`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter import console
from exporter.simulator.world import World
from exporter.survey import Readable
from exporter.unpod.facts import Agent
from tests.service.running import (
    SALES,
    START,
    SUPPORT,
    Platform,
    counts_of,
    logfmt,
    platform,
    ran,
    samples,
    total,
    written,
)

CLOSED = msgspec.structs.replace(SUPPORT, handle="closed", no_access=True)


async def once(folder: Path, made: Platform, *flags: str, **sections: Any) -> Any:
    written(folder, made.settings(**sections))
    return await ran(folder, "once", "--state.path", "state.db", *flags)


async def test_once_prints_the_metrics_and_tells_what_happened_beside_them(tmp_path: Path) -> None:
    async with platform() as made:
        told = await once(tmp_path, made)
        tasks = {handle: made.world.tasks(handle).count for handle in made.world.handles}
    assert told.code == 0
    shown = samples(told.out)
    assert total(shown, "unpod_tasks_created_total") == sum(tasks.values())
    events = [logfmt(line) for line in told.err.splitlines()]
    read = {event["agent"]: int(event["new"]) for event in events if event["msg"] == "history read"}
    assert read == tasks


async def test_once_goes_on_from_the_state_and_counts_nothing_twice(tmp_path: Path) -> None:
    async with platform() as made:
        first, second = [samples((await once(tmp_path, made)).out) for _ in range(2)]
        for family in ("unpod_tasks_created_total", "unpod_calls_total", "unpod_task_transitions_total"):
            assert counts_of(first, family) == counts_of(second, family) != {}


async def test_once_prints_what_it_has_and_fails_when_a_poll_failed(tmp_path: Path) -> None:
    async with platform() as made:
        made.fails("bad_gateway", agent=SALES.handle)
        told = await once(tmp_path, made)
    assert told.code == 1
    shown = samples(told.out)
    assert shown[f'unpod_agent_up{{agent="{SALES.handle}"}}'] == 0
    assert shown[f'unpod_agent_poll_failures_total{{agent="{SALES.handle}",reason="server_error"}}'] == 1
    assert shown[f'unpod_agent_up{{agent="{SUPPORT.handle}"}}'] == 1
    (failed,) = [event for event in map(logfmt, told.err.splitlines()) if event["msg"] == "poll failed"]
    assert (failed["level"], failed["agent"], failed["reason"]) == ("warn", SALES.handle, "server_error")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"UNPOD_API_TOKEN": "wrong"}, "answered HTTP 401: the API token is missing, wrong or revoked"),
        ({"UNPOD_BASE_URL": "http://127.0.0.1:1"}, "cannot connect (Connection refused)"),
        ({"UNPOD_ORG_HANDLE": ""}, "answered HTTP 400"),
        ({"UNPOD_ORG_HANDLE": "strangers"}, "answered HTTP 404"),
    ],
    ids=["a bad token", "no platform", "no organisation", "another organisation"],
)
async def test_a_platform_that_refuses_is_one_readable_line(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    async with platform(SALES) as made:
        settings = {**made.environ(), **environ}
        agents = await ran(tmp_path, "agents", environ=settings)
        polled = await ran(tmp_path, "once", "--state.path", "memory", "--log.level", "warn", environ=settings)
    assert (agents.code, agents.out) == (1, "")
    assert said in agents.complaint
    assert polled.code == 1
    assert said in logfmt(polled.complaint)["error"]
    assert not counts_of(samples(polled.out), "unpod_agent_up")


async def test_once_without_the_list_of_agents_polls_whom_it_knows_and_fails(tmp_path: Path) -> None:
    async with platform() as made:
        await once(tmp_path, made, agents=None)
        made.clock.now += 3600
        made.fails("bad_gateway", endpoint="agents")
        told = await once(tmp_path, made, agents=None)
        shown = samples(told.out)
        assert total(shown, "unpod_tasks_created_total") == sum(
            made.world.tasks(handle).count for handle in made.world.handles
        )
    assert told.code == 1
    assert shown[f'unpod_agent_info{{agent="{SALES.handle}",name="{SALES.name}",agent_type="voice"}}'] == 1
    assert [event["msg"] for event in map(logfmt, told.err.splitlines()) if event["level"] == "warn"] == [
        "list of agents not read"
    ]


async def test_once_with_all_agents_named_does_not_need_the_list(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        made.fails("bad_gateway", endpoint="agents")
        assert (await once(tmp_path, made)).code == 0


async def test_types_that_are_not_wanted_any_more_are_shown_no_more_though_the_state_knows_them(tmp_path: Path) -> None:
    talks, writes = (msgspec.structs.replace(SALES, handle=name, kind=name) for name in ("Voice", "Chat"))
    async with platform(talks, writes) as made:
        everybody = samples((await once(tmp_path, made, agents=None)).out)
        talkers = samples((await once(tmp_path, made, agents=None, discovery={"types": [" VO-ice"]})).out)
        again = samples((await once(tmp_path, made, agents=None)).out)
    shown = [counts_of(one, "unpod_tasks_created_total").keys() for one in (everybody, talkers, again)]
    assert [{key.split('"')[1] for key in keys} for keys in shown] == [{"Voice", "Chat"}, {"Voice"}, {"Voice", "Chat"}]


async def test_agents_are_listed_with_what_can_be_read_of_them(tmp_path: Path) -> None:
    async with platform(SALES, SUPPORT, CLOSED) as made:
        told = await ran(tmp_path, "agents", environ=made.environ())
        counts = {handle: made.world.tasks(handle).count for handle in made.world.handles}
    assert (told.code, told.err) == (0, "")
    header, closed, sales, support = told.out.splitlines()
    assert header.split() == ["HANDLE", "NAME", "TYPE", "TASKS", "READABLE"]
    assert closed.split()[0] == "closed"
    assert "HTTP 206" in closed[header.index("READABLE") :]
    for line, profile in ((sales, SALES), (support, SUPPORT)):
        assert line.split("  ")[0] == profile.handle
        assert line[header.index("NAME") :].startswith(profile.name)
        assert line[header.index("TASKS") :].split() == [str(counts[profile.handle]), "yes"]


async def test_agents_are_listed_for_machines_too(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        told = await ran(tmp_path, "agents", "--format", "json", environ=made.environ())
        count = made.world.tasks(SALES.handle).count
    assert (told.code, told.err) == (0, "")
    closed, sales = json.loads(told.out)
    usual = {"type": "voice", "readable": True, "reason": None, "error": None}
    assert sales == {"handle": SALES.handle, "name": SALES.name, "tasks": count, **usual}
    assert (closed["handle"], closed["readable"], closed["tasks"], closed["reason"]) == (
        "closed",
        False,
        None,
        "no_access",
    )
    assert "HTTP 206" in closed["error"]


async def test_once_polls_those_alone_that_are_named(tmp_path: Path) -> None:
    async with platform() as made:
        named = {"handle": SALES.handle, "labels": {"team": "sales"}}
        told = await once(tmp_path, made, "--agent", SALES.handle, agents=[named, SUPPORT.handle])
        shown = samples(told.out)
        assert told.code == 0
        assert {key.split('"')[1] for key in counts_of(shown, "unpod_agent_polls_total")} == {SALES.handle}
        assert any('team="sales"' in key for key in counts_of(shown, "unpod_agent_info")), "its settings stay"
        both = await once(tmp_path, made, "--agent", SALES.handle, "--agent", SUPPORT.handle, agents=None)
        assert {key.split('"')[1] for key in counts_of(samples(both.out), "unpod_agent_polls_total")} == {
            SALES.handle,
            SUPPORT.handle,
        }
        unknown = await once(tmp_path, made, "--agent", "nobody")
        assert unknown.code == 1
        assert "HTTP 404" in unknown.err


async def test_agents_tells_how_many_tasks_a_platform_without_paging_has(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        made.fails("ignore_paging", count=False)
        told = await ran(tmp_path, "agents", environ=made.environ())
        assert told.out.split()[-2:] == [str(made.world.tasks(SALES.handle).count), "yes"]


async def test_agents_without_any_shows_an_empty_table(tmp_path: Path) -> None:
    hidden = msgspec.structs.replace(SALES, state="draft")
    async with platform(world=World(seed=1, now=START, agents=[hidden], history=0.1)) as made:
        told = await ran(tmp_path, "agents", environ=made.environ())
    assert (told.code, told.out.split()) == (0, ["HANDLE", "NAME", "TYPE", "TASKS", "READABLE"])


def test_a_name_sends_no_commands_to_the_terminal_and_breaks_no_line() -> None:
    table = console.of_agents(
        [Readable(Agent(handle="a", name="\x1b[2J\x1b]0;x\x07\nb"), 1), Readable(Agent(handle="c"), 2)]
    )
    assert len(table.splitlines()) == 3
    assert table.replace("\n", "").isprintable()


def test_columns_stand_below_each_other_in_any_script() -> None:
    rows = [Readable(Agent(handle="a", name="営業担当"), 1), Readable(Agent(handle="b", name="Sales"), 2)]
    first, second = console.of_agents(rows).splitlines()[1:]
    assert first.index("1") + 4 == second.index("2"), "each of the four characters is two columns wide"


def test_a_defect_tells_where_it_is_and_nothing_of_what_was_read() -> None:
    secret = "Asha Verma"
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise ExceptionGroup(secret, [error, KeyError(secret)]) from error
    except ExceptionGroup as error:
        told = console.of_defect(error)
    assert secret not in told
    assert "builtins.ValueError" in told
    assert "builtins.KeyError" in told
    assert f'File "{__file__}", line' in told
