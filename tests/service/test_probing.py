"""`check --probe`: what the platform lets the exporter do, asked before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.service.running import ORGANISATION, SALES, SUPPORT, Platform, Ran, platform, ran, states, written

CLOSED = msgspec.structs.replace(SUPPORT, handle="closed", no_access=True)


async def probe(folder: Path, made: Platform, **sections: Any) -> Ran:
    written(folder, made.settings(**sections))
    return await ran(folder, "check", "--probe")


def findings(told: Ran) -> list[tuple[str, str]]:
    """Each line that begins with ok or wrong: that word, and the rest; of the platform alone."""
    return [(mark, words) for mark, words in _findings(told) if not words.startswith("state: ")]


def of_state(told: Ran) -> tuple[str, str]:
    """That of the state."""
    (found,) = (one for one in _findings(told) if one[1].startswith("state: "))
    return found


def _findings(told: Ran) -> list[tuple[str, str]]:
    lines = [line.split(None, 1) for line in told.out.splitlines() if line.startswith(("  ok ", "  wrong "))]
    return [(mark, words) for mark, words in lines]


async def test_when_all_is_well_each_step_says_so(tmp_path: Path) -> None:
    async with platform() as made:
        told = await probe(tmp_path, made)
        counts = {handle: made.world.tasks(handle).count for handle in made.world.handles}
        assert (told.code, told.err) == (0, "")
        assert f"asking {made.url}" in told.out
    assert findings(told) == [
        ("ok", "token: accepted"),
        ("ok", f"organisation: {ORGANISATION} is known"),
        ("ok", "list of agents: 2 agents"),
        ("ok", f"{SALES.handle}: {counts[SALES.handle]:,} tasks"),
        ("ok", f"{SUPPORT.handle}: {counts[SUPPORT.handle]:,} tasks"),
    ]
    assert of_state(told) == ("ok", "state: unpod-exporter.db is not there yet, the exporter creates it")
    assert states(tmp_path) == [], "it leaves no state behind"


async def test_each_agent_that_cannot_be_read_is_told_with_what_would_be_right(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        told = await probe(tmp_path, made, agents=["closed", SALES.handle, "tpyo"])
    assert told.code == 1
    closed, sales, typo = findings(told)[-3:]
    assert (closed[0], sales[0], typo[0]) == ("wrong", "ok", "wrong")
    assert "HTTP 206" in closed[1]
    assert closed[1].endswith("let that user into the space, or take the agent out of the settings")
    assert "HTTP 404" in typo[1]
    assert typo[1].endswith("`unpod-exporter agents` lists the handles that there are")


@pytest.mark.parametrize(
    ("api", "what"),
    [({"token": "wrong"}, "token: "), ({"base_url": "http://127.0.0.1:1"}, "platform: ")],
    ids=["a bad token", "no platform"],
)
@pytest.mark.parametrize("org", [ORGANISATION, None])
async def test_where_nothing_can_come_of_it_no_more_is_asked(
    tmp_path: Path, api: dict[str, str], what: str, org: str | None
) -> None:
    async with platform() as made:
        told = await probe(tmp_path, made, api=api | {"org_handle": org})
    assert told.code == 1
    last = findings(told)[-1]
    assert (last[0], last[1][: len(what)]) == ("wrong", what)
    assert SALES.handle not in "".join(words for _, words in findings(told))


async def test_an_organisation_that_is_not_known_is_told_and_named_agents_are_asked_all_the_same(
    tmp_path: Path,
) -> None:
    async with platform(SALES) as made:
        told = await probe(tmp_path, made, api={"org_handle": "strangers"})
    assert told.code == 1
    (listed, sales) = findings(told)
    assert listed[0] == "wrong"
    assert listed[1].startswith("list of agents: ")
    assert "HTTP 404" in listed[1]
    assert listed[1].endswith("; is api.org_handle right?")
    assert sales[0] == "ok"


async def test_without_an_organisation_named_agents_are_all_that_can_be_asked(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        told = await probe(tmp_path, made, api={"org_handle": None})
    assert told.code == 0
    assert findings(told)[0] == ("ok", "list of agents: cannot be asked for: set api.org_handle")


async def test_the_agents_that_discovery_wants_are_asked_and_no_others(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        told = await probe(tmp_path, made, agents=None, discovery={"exclude": ["closed"]})
        none = await probe(tmp_path, made, agents=None, discovery={"include": ["nobody-*"]})
    assert (told.code, none.code) == (0, 1)
    assert "closed" not in told.out
    assert findings(none)[-1][0] == "wrong"
    assert "see the filters of discovery" in findings(none)[-1][1]


async def test_a_config_that_is_wrong_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        told = await probe(tmp_path, made, polling={"interval": "often"}, nonsense={"a": 1})
    assert (told.code, told.out) == (1, "")
    assert "interval" in told.err
    assert "nonsense" in told.err


async def test_a_web_config_that_is_wrong_is_told_and_the_platform_is_asked_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text("basic_auth_users: {alice: open-sesame}\nrate_limit: {interval: x}\n")
    async with platform(SALES, CLOSED) as made:
        written(tmp_path, made.settings())
        told = await ran(tmp_path, "check", "--web.config.file", "web.yml", "--probe")
    assert told.code == 1
    assert [line.split(":")[0] for line in told.err.splitlines()] == ["web.yml"] * 3
    assert "open-sesame" not in told.err
    assert told.out.startswith("config.yaml: good\n")
    assert [mark for mark, _ in findings(told)] == ["ok", "ok", "ok", "ok", "wrong"]


async def test_a_state_that_could_not_be_used_is_told_and_the_flags_say_which_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("the notes of somebody")
    async with platform(SALES) as made:
        written(tmp_path, made.settings(state={"path": "notes.txt"}))
        told = [
            await ran(tmp_path, "check", "--probe", *flags)
            for flags in ((), ("--state.path", "states/of/2026/unpod.db"), ("--state.path", "memory"))
        ]
    assert [one.code for one in told] == [1, 0, 0]
    assert list(map(of_state, told)) == [
        ("wrong", "state: state file notes.txt is no state of this exporter; name another file in state.path"),
        ("ok", "state: states/of/2026/unpod.db is not there yet, the exporter creates it"),
        ("ok", "state: in memory alone: what is counted is lost when the exporter ends"),
    ]
    assert states(tmp_path) == []
    assert "states" not in os.listdir(tmp_path)


async def test_tls_where_there_is_none_is_told_as_that_and_not_as_an_error_of_the_system(tmp_path: Path) -> None:
    async with platform() as made:
        told = await probe(tmp_path, made, api={"base_url": made.url.replace("http://", "https://")})
    (only,) = findings(told)
    assert only[0] == "wrong"
    assert only[1].endswith("no TLS connection: an untrusted certificate, or no TLS at all")


@pytest.mark.parametrize("fault", ["forbidden", "rate_limited", "server_error", "html"])
async def test_a_list_that_cannot_be_read_says_nothing_of_which_agents_there_are(tmp_path: Path, fault: str) -> None:
    async with platform(SALES) as made:
        made.fails(fault, endpoint="agents")
        told = await probe(tmp_path, made, agents=[], discovery={"enabled": True})
    assert told.code == 1
    assert [what.partition(":")[0] for _, what in findings(told)] == ["list of agents"]
