"""The commands as a person calls them: help, versions, flags, variables and exit codes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from exporter import __version__
from exporter.cli import main
from tests.service.running import (
    SALES,
    counts_of,
    fetched,
    json_line,
    platform,
    ran,
    samples,
    started,
    states,
    surroundings,
    written,
)

COMMANDS = ("run", "check", "once", "backfill", "agents", "state", "demo", "simulate")


async def test_the_help_names_every_command(tmp_path: Path) -> None:
    told = await ran(tmp_path, "--help")
    assert (told.code, told.err) == (0, "")
    assert tuple(sorted(COMMANDS)) == tuple(re.findall(r"^  ([a-z]+)  ", told.out.split("Commands:")[1], re.M))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_that_names_every_flag(command: str) -> None:
    told = CliRunner().invoke(main, [command, "--help"])
    assert (told.exit_code, told.stderr) == (0, "")
    options = [option for option in main.commands[command].params if isinstance(option, click.Option)]
    for option in options:
        assert option.help
        assert option.opts[0] in told.stdout


async def test_the_help_of_run_tells_defaults_and_variables(tmp_path: Path) -> None:
    told = " ".join((await ran(tmp_path, "run", "--help")).out.split())
    for piece in (
        "[env var: UNPOD_EXPORTER_WEB_LISTEN_ADDRESS; default: :10130]",
        "[env var: UNPOD_EXPORTER_WEB_TELEMETRY_PATH; default: /metrics]",
        "[env var: UNPOD_EXPORTER_LOG_LEVEL; default: info]",
        "[env var: UNPOD_EXPORTER_LOG_FORMAT; default: logfmt]",
        "[env var: UNPOD_EXPORTER_CONFIG_FILE]",
        "[env var: UNPOD_EXPORTER_STATE_PATH]",
    ):
        assert piece in told


def test_the_command_and_the_module_are_the_same() -> None:
    script = Path(sys.executable).with_name("unpod-exporter")
    for word in ("--version", "--help"):
        told = [
            subprocess.run([*program, word], capture_output=True, text=True, check=True, env=surroundings()).stdout
            for program in ((script,), (sys.executable, "-m", "exporter"))
        ]
        assert told[0] == told[1].replace("python -m exporter", "unpod-exporter")


async def test_the_version_is_told(tmp_path: Path) -> None:
    assert await ran(tmp_path, "--version") == (0, f"unpod-exporter, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["walk"], "No such command 'walk'"),
        (["run", "--nonsense"], "No such option"),
        (["run", "--log.level", "loud"], "Invalid value for '--log.level'"),
        (["run", "--log.format", "xml"], "Invalid value for '--log.format'"),
        (["run", "--web.listen-address", "10130"], "'10130' is not an address to listen on; write for example :10130"),
        (["run", "--web.listen-address", "::1"], "'::1' is not an address to listen on"),
        (["run", "--web.telemetry-path", "metrics"], "'metrics' cannot be the path of the metrics; write for example"),
        (["run", "--web.telemetry-path", "/-/ready"], "'/-/ready' cannot be the path of the metrics"),
        (["run", "--shard.index", "2", "--shard.count", "2"], "there is no shard 2 of 2: shards count from 0"),
        (["once", "--shard.index", "1"], "there is no shard 1 of 1: shards count from 0"),
        (["run", "--shard.count", "0"], "Invalid value for '--shard.count'"),
        (["run", "--shard.index", "-1"], "Invalid value for '--shard.index'"),
        (["run", "--shard.index", "one"], "Invalid value for '--shard.index'"),
        (["simulate", "--faults", "earthquake"], 'unknown fault "earthquake"'),
        (["simulate", "--speed", "0"], "Invalid value for '--speed'"),
        (["check", "extra"], "Got unexpected extra argument (extra)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_exit_2_and_says_what_would_be_right(words: list[str], said: str) -> None:
    told = CliRunner().invoke(main, words)
    assert (told.exit_code, told.stdout) == (2, "")
    assert said in told.stderr


async def test_wrong_usage_begins_nothing(tmp_path: Path) -> None:
    told = await ran(tmp_path, "run", "--web.telemetry-path", "/-/healthy")
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err
    assert "msg=" not in told.err
    assert states(tmp_path) == []


def test_no_secret_is_a_flag() -> None:
    flags = [flag for command in main.commands.values() for option in command.params for flag in option.opts]
    assert len(flags) > 20
    assert not [flag for flag in flags if re.search(r"token|secret|password|key|auth", flag)]


def test_every_flag_of_run_has_a_variable_of_its_name() -> None:
    for option in main.commands["run"].params:
        flag = option.opts[0].removeprefix("--")
        assert option.envvar == "UNPOD_EXPORTER_" + re.sub(r"[.-]", "_", flag).upper()


async def test_variables_stand_in_for_flags(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with platform() as made:
        written(tmp_path / "elsewhere", made.settings())
        environ = {
            "UNPOD_EXPORTER_CONFIG_FILE": "elsewhere/config.yaml",
            "UNPOD_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:0 127.0.0.1:0",
            "UNPOD_EXPORTER_WEB_TELEMETRY_PATH": "/numbers",
            "UNPOD_EXPORTER_STATE_PATH": "elsewhere/kept.db",
            "UNPOD_EXPORTER_LOG_FORMAT": "json",
            "UNPOD_EXPORTER_LOG_LEVEL": "debug",
        }
        async with started(tmp_path, "run", environ=environ) as process:
            await process.until(lambda: "listening" in process.err and process.err.endswith("\n"))
            events = [json_line(line) for line in process.err.splitlines()]
            (listening,) = [event for event in events if event["msg"] == "listening"]
            addresses = listening["addresses"].split(", ")
            assert len(set(addresses)) == 2
            for address in addresses:
                answer = await fetched(f"http://{address}/numbers")
                assert counts_of(samples(answer.text), "unpod_agent_info")
            await process.until(lambda: '"level": "debug"' in process.err)
            assert (await process.stop()).code == 0
    assert (tmp_path / "elsewhere" / "kept.db").exists()


async def full(folder: Path, *words: str) -> tuple[int | None, str]:
    """How a command ends whose standard output is on a full disk: its code, and what it has said of that."""
    with Path("/dev/full").open("wb") as out:  # noqa: ASYNC230 - a device
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exporter", *words, cwd=folder, env=surroundings(), stdout=out, stderr=subprocess.PIPE
        )
        _, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.parametrize("command", ["check", "check --probe", "agents", "once --log.level error"])
async def test_a_full_disk_in_place_of_standard_output_is_told_in_a_line(tmp_path: Path, command: str) -> None:
    async with platform(SALES) as made:
        written(tmp_path, made.settings())
        assert await full(tmp_path, *command.split()) == (
            1,
            "cannot write to standard output: No space left on device\n",
        )


async def test_an_export_tells_that_it_is_standard_output_that_is_full_and_not_the_state(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        written(tmp_path, made.settings())
        assert (await ran(tmp_path, "once", "--state.path", "kept.db")).code == 0
    code, said = await full(tmp_path, "state", "export", "--state.path", "kept.db", "-")
    assert code == 1
    assert "standard output: No space left on device" in said
    assert "kept.db" not in said


async def test_whoever_reads_no_further_ends_a_command_quietly(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("api: {token: x, org_handle: acme}\n")
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "exporter",
        "check",
        cwd=tmp_path,
        env=surroundings(),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize("speed", ["nan", "inf", "0", "-1"])
def test_a_speed_that_is_none_is_refused(speed: str) -> None:
    told = CliRunner().invoke(main, ["simulate", "--speed", speed])
    assert told.exit_code == 2
    assert f"'{speed}' is no speed" in told.output


@pytest.mark.parametrize(("api", "noted"), [("token: x", True), ("token: x, org_handle: acme", False)])
async def test_check_says_what_discovery_needs(tmp_path: Path, api: str, noted: bool) -> None:
    (tmp_path / "config.yaml").write_text(f"api: {{{api}}}\n")
    told = await ran(tmp_path, "check")
    assert (told.code, "discovery needs api.org_handle" in told.out) == (0, noted)
