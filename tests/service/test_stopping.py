"""Stopping, and being refused: SIGTERM, SIGINT, a state in use, a port in use."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.service.running import SALES, Process, exporting, fetched, logfmt, platform, ran, started

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AT_MOST = 5.0
"""Seconds that a stop may take."""


async def stopped_in_time(process: Process, number: signal.Signals) -> None:
    begun = time.monotonic()
    told = await process.stop(number)
    assert told.code == 0
    assert time.monotonic() - begun < AT_MOST
    assert "Traceback" not in told.err
    assert [event["msg"] for event in process.events()][-2:] == ["stopping", "stopped"]


@pytest.mark.parametrize("number", SIGNALS)
async def test_it_stops_at_once_although_a_request_hangs(tmp_path: Path, number: signal.Signals) -> None:
    async with platform() as made, exporting(tmp_path, made.settings()) as process:
        shown = await process.ready()
        made.fails("black_hole", times=1000)
        await process.until(lambda: made.faults.active[0].times != 1000)
        await stopped_in_time(process, number)
        assert sound(tmp_path / "state.db") == sum(
            value for key, value in shown.items() if key.startswith("unpod_tasks_created_total")
        )


def sound(path: Path) -> int:
    """How many tasks a state that nobody uses holds. Fails where it is damaged, or not finished."""
    assert sorted(file.name for file in path.parent.glob(path.name + "*")) == [path.name, path.name + ".lock"]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (tasks,) = database.execute("SELECT count(*) FROM tasks").fetchone()
    return int(tasks)


@pytest.mark.parametrize("number", SIGNALS)
async def test_it_stops_in_the_middle_of_a_first_reading_and_goes_on_from_there(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with platform(SALES, history=6.0) as made:
        total = made.world.tasks(SALES.handle).count
        made.fails("black_hole", page=3)
        ratio, complete = (
            f'unpod_agent_history_{name}{{agent="{SALES.handle}"}}' for name in ("read_ratio", "complete")
        )
        async with exporting(tmp_path, made.settings()) as process:
            await process.until_shown(lambda shown: shown[ratio] > 0.2)
            await stopped_in_time(process, number)
        assert 0 < sound(tmp_path / "state.db") < total
        made.faults.clear()
        async with exporting(tmp_path, made.settings()) as process:
            shown = await process.until_shown(lambda shown: shown[complete])
            created = [value for key, value in shown.items() if key.startswith("unpod_tasks_created_total")]
            assert sum(created) == total
            await stopped_in_time(process, number)
        assert sound(tmp_path / "state.db") == total


@pytest.mark.parametrize("command", ["demo", "simulate"])
async def test_the_made_up_commands_stop_as_well(tmp_path: Path, command: str) -> None:
    flag = "--web.listen-address" if command == "demo" else "--listen"
    async with started(tmp_path, command, flag, "127.0.0.1:0") as process:
        await process.until(lambda: "Stop with Ctrl-C." in process.out)
        told = await process.stop(signal.SIGINT)
    assert told.code == 0
    assert "Traceback" not in told.err


async def test_a_second_process_on_the_same_state_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as first:
        await first.ready()
        async with exporting(tmp_path, made.settings()) as second:
            told = await second.end()
        assert told.code == 1
        assert "Traceback" not in told.err
        last = logfmt(told.err.splitlines()[-1])
        assert (last["level"], last["msg"]) == ("error", "failed")
        assert f"state.db is in use by another exporter (process {first.pid})" in last["error"]
        assert "state.path" in last["error"]
        await first.polled(2)
        assert (await first.stop()).code == 0
        async with exporting(tmp_path, made.settings()) as third:
            await third.ready()


async def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with platform(SALES) as made, exporting(tmp_path, made.settings(), listen=address) as process:
            told = await process.end()
        assert told.code == 1
        assert logfmt(told.err.splitlines()[-1])["error"] == f"cannot listen on {address}: Address already in use"
        for words in (("demo", "--web.listen-address", address), ("simulate", "--listen", address)):
            told = await ran(tmp_path, *words)
            assert (told.code, told.out) == (1, ""), "it does not say where to look before it is there"
            assert f"cannot listen on {address}: Address already in use" in told.err.splitlines()[-1]
            assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("foreign", "said"),
    [(True, "is a database of another program"), (False, "is a directory; name a file")],
    ids=["another program's", "a folder"],
)
async def test_a_state_that_cannot_be_used_is_one_line(tmp_path: Path, foreign: bool, said: str) -> None:
    path = tmp_path / "state.db"
    if foreign:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE of_somebody_else (a)")
    else:
        path.mkdir()
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        told = await process.end()
    assert told.code == 1
    assert "Traceback" not in told.err
    assert re.search(rf"state\.db.*({said})", logfmt(told.err.splitlines()[-1])["error"])


async def test_simulate_serves_the_platform_that_it_says(tmp_path: Path) -> None:
    words = ("--listen", "127.0.0.1:0", "--agents", "2", "--tasks", "5", "--faults", "server_error:0")
    async with started(tmp_path, "simulate", *words) as process:
        url = (await process.until(lambda: re.search(r"2 agents at (\S+)", process.out)))[1]
        exported = await process.until(lambda: re.search(r"export (.+)", process.out))
        environ = dict(pair.split("=", 1) for pair in exported[1].split())
        assert environ["UNPOD_BASE_URL"] == url
        assert (await fetched(f"{url}/_truth")).status == 200
        told = await ran(tmp_path, "agents", environ=environ)
        assert [line.split()[0] for line in told.out.splitlines()] == ["HANDLE", "agent-0001", "agent-0002"]
