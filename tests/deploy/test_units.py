"""The units of systemd, judged by systemd itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from exporter.cli import main

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
SERVICE, SOCKET = UNITS / "unpod-exporter.service", UNITS / "unpod-exporter.socket"


def settings(unit: Path) -> list[tuple[str, str]]:
    """Keys and values in their order."""
    lines = (line for line in unit.read_text().splitlines() if "=" in line and not line.startswith(("#", "[")))
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def values(unit: Path, key: str) -> list[str]:
    return [value for name, value in settings(unit) if name == key]


def analysed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units beside each other, with a program that is there."""
    program = Path(sys.executable).with_name("unpod-exporter")
    for unit in (SERVICE, SOCKET):
        text = unit.read_text().replace("/opt/unpod-exporter/bin/unpod-exporter", str(program))
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("unit", [SERVICE, SOCKET], ids=lambda unit: unit.suffix)
def test_systemd_finds_nothing_wrong_with_it(installed: Path, unit: Path) -> None:
    done = analysed("verify", "--man=no", str(installed / unit.name))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_is_exposed_as_little_as_a_service_that_needs_the_network_can_be() -> None:
    """In tenths: systemd calls up to 2.0 "OK", which is the best that a service with network access gets."""
    done = analysed("security", "--offline=true", "--threshold=15", str(SERVICE))
    assert done.returncode == 0, done.stdout


def test_the_service_runs_a_command_that_exists_with_variables_that_are_read() -> None:
    (command,) = values(SERVICE, "ExecStart")
    assert command.split()[1:] == ["run"]
    read = {option.envvar for option in main.commands["run"].params if isinstance(option, click.Option)}
    told = {value.partition("=")[0] for value in values(SERVICE, "Environment")}
    assert told <= {*read, "UNPOD_API_TOKEN_FILE"}
    named = set(re.findall(r"UNPOD_EXPORTER_\w+", (UNITS / "README.md").read_text()))
    assert named <= read


def test_the_token_is_a_credential_and_the_state_lies_in_the_state_directory() -> None:
    (credential,) = values(SERVICE, "LoadCredential")
    name = credential.partition(":")[0]
    environment = values(SERVICE, "Environment")
    assert f"UNPOD_API_TOKEN_FILE=%d/{name}" in environment
    (directory,) = values(SERVICE, "StateDirectory")
    assert any(value.startswith(f"UNPOD_EXPORTER_STATE_PATH=%S/{directory}/") for value in environment)


def test_both_units_listen_on_the_exporters_own_port() -> None:
    (port,) = values(SOCKET, "ListenStream")
    listen = next(option for option in main.commands["run"].params if option.name == "web_listen_address")
    assert listen.default == [f":{port}"]
