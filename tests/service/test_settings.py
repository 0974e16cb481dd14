"""Settings as `check` and `run` find them: what is wrong is told in a line each, and what is right is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.service.running import ORGANISATION, SALES, TOKEN, counts_of, platform, ran, started, states, written

WRONG = {
    "an unknown key": ("api: {token: abc, tokn: x}", "config.yaml:1: api.tokn: is not a key; did you mean token?"),
    "no token": ("agents: [a]", "config.yaml: api.token: is missing; write token: ${UNPOD_API_TOKEN}"),
    "a bad duration": (
        "api: {token: abc}\npolling: {interval: 5 minutes}",
        'config.yaml:2: polling.interval: "5 minutes" is not a duration; write for example 30s',
    ),
    "a handle twice": ("api: {token: abc}\nagents: [a, b, a]", 'config.yaml:2: agents[2]: names the agent "a" again'),
    "two tokens": (
        "api:\n  token: abc\n  token_file: token",
        "config.yaml:3: api.token_file: is given, and so is api.token; keep one of the two",
    ),
    "nobody to poll": (
        "api: {token: abc}\nagents: []\ndiscovery: {enabled: false}",
        "config.yaml:2: agents: names no agent, and discovery is off",
    ),
    "a variable that is not set": ("api: {token: '${NO_SUCH}'}", "config.yaml:1: api.token: names ${NO_SUCH}"),
    "no YAML": ("api: {token: abc", "config.yaml:1: is not YAML:"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
async def test_check_and_run_tell_the_same_wrong_thing_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "token").write_text("abc")
    written(tmp_path, text)
    checked, run = await asyncio.gather(
        ran(tmp_path, "check"), ran(tmp_path, "run", "--config.file", "config.yaml", "--web.listen-address", ":0")
    )
    assert (checked.code, checked.out) == (run.code, run.out) == (1, "")
    assert checked.complaint == run.complaint
    assert checked.complaint.startswith(said)
    assert states(tmp_path) == []


async def test_a_variable_for_the_state_comes_before_the_file_unless_it_is_empty(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        written(tmp_path, made.settings(state={"path": "of-the-file.db"}))
        for variable, state in (("of-the-image.db", "of-the-image.db"), ("", "of-the-file.db")):
            before = states(tmp_path)
            assert (await ran(tmp_path, "once", environ={"UNPOD_EXPORTER_STATE_PATH": variable})).code == 0
            assert {name for name in states(tmp_path) if name not in before} == {state, f"{state}.lock"}


async def test_each_of_several_wrong_things_gets_its_line(tmp_path: Path) -> None:
    written(tmp_path, "api: {token: abc, page_size: 0}\npolling: {interval: x}\nagents: [a, a]\n")
    told = await ran(tmp_path, "check")
    assert told.code == 1
    assert [line.split(": ")[:2] for line in told.err.splitlines()] == [
        ["config.yaml:1", "api.page_size"],
        ["config.yaml:2", "polling.interval"],
        ["config.yaml:3", "agents[1]"],
    ]


async def test_check_says_that_good_settings_are_good_and_what_they_come_to(tmp_path: Path) -> None:
    text = "api: {token: s3cr3t, base_url: 'https://unpod.example'}\nagents: [sales, support]\n"
    written(tmp_path, text + "discovery: {enabled: true}\n", "my.yaml")
    told = await ran(tmp_path, "check", "--config.file", "my.yaml")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        "my.yaml: good",
        "  platform  https://unpod.example",
        "  agents    sales, support, and those that are discovered",
        "  state     unpod-exporter.db",
        "  note      discovery needs api.org_handle: the platform tells nobody its agents without it",
    ]
    assert states(tmp_path) == []


async def test_without_any_settings_it_says_what_to_do(tmp_path: Path) -> None:
    told = await ran(tmp_path, "run")
    assert told.code == 1
    assert "there is neither a config file nor a token" in told.complaint
    assert "UNPOD_API_TOKEN" in told.complaint


@pytest.mark.parametrize("token_in", ["the environment", "a file"])
async def test_the_environment_alone_is_enough(tmp_path: Path, token_in: str) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    token = {"UNPOD_API_TOKEN": TOKEN} if token_in == "the environment" else {"UNPOD_API_TOKEN_FILE": "token"}
    async with platform() as made:
        environ = {
            **token,
            "UNPOD_BASE_URL": made.url,
            "UNPOD_ORG_HANDLE": ORGANISATION,
            "UNPOD_AGENTS": f" {SALES.handle} ",
        }
        flags = ("--web.listen-address", "127.0.0.1:0")
        async with started(tmp_path, "run", *flags, environ=environ) as process:
            shown = await process.until_shown(lambda shown: counts_of(shown, "unpod_agent_up"))
            assert counts_of(shown, "unpod_agent_up") == {f'unpod_agent_up{{agent="{SALES.handle}"}}': 1.0}
            assert (await process.stop()).code == 0
    assert (tmp_path / "unpod-exporter.db").exists()


async def test_without_agents_in_the_environment_they_are_discovered(tmp_path: Path) -> None:
    async with platform() as made:
        flags = ("--web.listen-address", "127.0.0.1:0", "--state.path", "memory")
        async with started(tmp_path, "run", *flags, environ=made.environ()) as process:
            handles = set(made.world.handles)
            await process.until_shown(lambda shown: len(counts_of(shown, "unpod_agent_up")) == len(handles))
            assert {event["agent"] for event in process.events("agent discovered")} == handles
    assert states(tmp_path) == []


async def test_a_config_yaml_in_the_folder_is_taken_without_being_named(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        written(tmp_path, made.settings())
        told = await ran(tmp_path, "check", environ={"UNPOD_API_TOKEN": "another"})
        assert told.out.startswith("config.yaml: good\n")
