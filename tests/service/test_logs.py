"""What a running exporter tells on standard error: lines that machines read, and bars where a person watches."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter import logs
from exporter.progress import Lines
from tests.service.running import (
    SALES,
    SUPPORT,
    Process,
    exporting,
    json_line,
    logfmt,
    platform,
    ran,
    started,
    until,
    written,
)

CLOSED = msgspec.structs.replace(SUPPORT, handle="closed", no_access=True)
READERS: dict[str, Callable[[str], dict[str, Any]]] = {"logfmt": logfmt, "json": json_line}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("level", ["debug", "info"])
async def test_every_line_can_be_read_by_a_machine(tmp_path: Path, form: str, level: str) -> None:
    async with platform(SALES, CLOSED) as made:
        flags = ("--log.format", form, "--log.level", level)
        async with exporting(tmp_path, made.settings(), *flags) as process:
            await process.until(lambda: "history read" in process.err and "poll failed" in process.err)
            told = await process.stop()
    events = [READERS[form](line) for line in told.err.splitlines()]
    assert events
    for event in events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["ts"])
        assert event["level"] in ("debug", "info", "warn", "error")
        assert event["msg"]
    assert ("debug" in {event["level"] for event in events}) is (level == "debug")


async def test_at_info_it_tells_what_an_operator_wants_to_know(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        total = made.world.tasks(SALES.handle).count
        async with exporting(tmp_path, made.settings()) as process:
            await process.ready()
            made.clock.now += 1800
            await process.until(lambda: process.events("agent polled"))
            made.fails("bad_gateway", agent=SALES.handle)
            await process.until(lambda: len(process.events("poll failed")) == 2)
            made.faults.clear()
            await process.until(lambda: process.events("agent works again"))
            await process.stop()
    told = {event["msg"]: event for event in reversed(process.events())}
    assert told["starting"]["platform"] == made.url
    assert told["starting"]["config"].endswith("config.yaml")
    assert told["starting"]["state"] == told["new state begun"]["state"]
    assert told["new state begun"]["backfill"] == "all"
    assert told["listening"]["metrics"] == "/metrics"
    read = told["history read"]
    assert (read["agent"], read["new"]) == (SALES.handle, str(total))
    assert float(read["seconds"]) >= 0
    assert told["agent polled"]["new"].isdigit()
    failed = {event["agent"]: event for event in process.events("poll failed")}
    assert failed["closed"]["reason"] == "no_access"
    assert "HTTP 206" in failed["closed"]["error"]
    assert failed[SALES.handle]["reason"] == "server_error"
    assert int(told["agent works again"]["failures"]) >= 1
    assert [event["msg"] for event in process.events()][-2:] == ["stopping", "stopped"]


async def test_a_poll_that_found_nothing_new_is_no_line(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        await process.polled(3)
        assert process.events("agent polled") == []


async def test_sigusr1_tells_every_poll_and_when_it_comes_again_no_more(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        process.send(signal.SIGUSR1)
        await process.until(lambda: process.events("agent polled"))
        (toggled,) = process.events("log level toggled by SIGUSR1")
        assert (toggled["level"], toggled["to"]) == ("info", "debug")
        process.send(signal.SIGUSR1)
        await process.until(lambda: len(process.events("log level toggled by SIGUSR1")) == 2)
        await process.polled(3)
        assert process.events()[-1]["msg"] == "log level toggled by SIGUSR1"
        assert (await process.stop()).code == 0


async def test_a_reload_changes_the_level_unless_a_flag_says_another(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        for flags, before, after in (((), "info", "debug"), (("--log.level", "info"), "debug", "debug")):
            async with exporting(tmp_path, made.settings(log={"level": before}), *flags) as process:
                await process.ready()
                await process.polled(2)
                assert not [event for event in process.events() if event["level"] == "debug"]
                written(tmp_path, made.settings(log={"level": after}, polling={"interval": "100ms"}))
                process.send(signal.SIGHUP)
                (told,) = await process.until(lambda process=process: process.events("reloaded"))
                assert ("log.level" in told["changed"]) == (before != after)
                await process.polled(2)
                await process.get("/-/ready")
                assert any(event["level"] == "debug" for event in process.events()) == (not flags)


async def test_what_the_settings_log_is_logged_from_the_start_and_in_a_single_poll(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        written(tmp_path, made.settings(log={"level": "error"}))
        told = await ran(tmp_path, "once", "--state.path", "memory")
        assert (told.code, told.err) == (0, "")
        assert "history read" in (await ran(tmp_path, "once", "--state.path", "memory", "--log.level", "info")).err


@pytest.mark.parametrize(
    ("chosen", "closely"), [("info", "debug"), ("warn", "debug"), ("error", "debug"), ("debug", "info")]
)
def test_the_level_goes_to_another_and_back_to_the_one_that_was_chosen_last(
    chosen: logs.Level, closely: logs.Level
) -> None:
    root = logging.getLogger()
    before = root.level
    try:
        verbosity = logs.Verbosity(chosen)
        assert [verbosity.toggle() for _ in range(3)] == [closely, chosen, closely]
        assert root.level == logs.LEVELS[closely]
        verbosity.choose("warn")
        assert root.level == logging.WARNING
        assert [verbosity.toggle() for _ in range(2)] == ["debug", "warn"]
        assert root.level == logging.WARNING
    finally:
        root.setLevel(before)


def test_a_long_reading_is_told_every_ten_seconds_and_a_short_one_not_at_all() -> None:
    lines: list[tuple[str, float]] = []

    class Log:
        def info(self, event: str, *, agent: str, percent: float) -> None:
            assert event == "reading history"
            lines.append((agent, percent))

        debug = warning = error = info

    now = 0.0
    with Lines(Log(), lambda: now) as shown:
        for second in range(25):
            now = float(second)
            shown("long", second / 25)
            shown("short", 1.0 if second > 8 else second / 9)
        shown("long", 1.0)
        now += 60
        shown("long", 1.0)
    assert lines == [("long", 40.0), ("long", 80.0)]


@asynccontextmanager
async def on_a_terminal(
    folder: Path, *words: str, environ: dict[str, str] | None = None
) -> AsyncIterator[tuple[Process, bytearray]]:
    """A command whose standard error is a terminal of 30 lines of 300 columns, and what it writes there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 300, 0, 0))
    written = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            written.extend(os.read(ours, 65536))
        except OSError:
            # Nobody has the other end any more.
            loop.remove_reader(ours)

    os.set_blocking(ours, False)
    loop.add_reader(ours, read)
    terminal = {"TERM": "xterm-256color", "COLUMNS": "", **(environ or {})}
    try:
        async with started(folder, *words, environ=terminal, stderr=theirs) as process:
            os.close(theirs)
            yield process, written
    finally:
        loop.remove_reader(ours)
        os.close(ours)


def screen(written: bytes) -> list[str]:
    """What such bytes leave on a terminal that is long enough: lines without those that were taken away."""
    lines, row, column = [""], 0, 0
    for command, text in re.findall(r"(\x1b\[[\d;?]*[A-Za-z])|([\r\n]|[^\x1b\r\n]+)", written.decode()):
        if command == "\x1b[2K":
            lines[row] = ""
        elif command.endswith("A"):
            row -= int(command[2:-1] or 1)
        elif text == "\r":
            column = 0
        elif text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
    return [line for line in lines if line]


async def test_on_a_terminal_bars_show_the_progress_and_leave_every_log_line_whole(tmp_path: Path) -> None:
    async with platform(history=6.0) as made:
        pace = {"page_size": 4, "requests_per_minute": 600}
        config = str(written(tmp_path, made.settings(api=pace)))
        words = ("--config.file", config, "--state.path", "memory", "--web.listen-address", "127.0.0.1:0")
        async with on_a_terminal(tmp_path, "run", *words, "--log.level", "debug") as (process, shown):

            async def both_read() -> bool:
                return shown.count(b"history read") == 2

            await until(both_read)
            told = await process.stop()
            assert told.code == 0

            async def all_arrived() -> bool:
                return b"msg=stopped" in shown

            await until(all_arrived)
    bars = re.findall(r"reading history of (\S+) +\S+ +(\d+)%", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode()))
    percents = {handle: [int(percent) for name, percent in bars if name == handle] for handle in made.world.handles}
    assert all(max(seen) > min(seen) for seen in percents.values())
    left = screen(bytes(shown))
    events = [logfmt(line) for line in left]
    assert all({"ts", "level", "msg"} <= event.keys() for event in events), left
    assert max(map(len, left)) > 120, "long lines are not folded"
    assert len([event for event in events if event["msg"] == "history read"]) == 2
    assert b"\x1b[?25h" in shown, "the cursor is back"


async def test_a_terminal_that_cannot_move_its_cursor_gets_lines_alone(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        config = str(written(tmp_path, made.settings()))
        words = ("once", "--config.file", config, "--state.path", "memory")
        async with on_a_terminal(tmp_path, *words, environ={"TERM": "dumb"}) as (process, shown):
            assert (await process.end()).code == 0

            async def arrived() -> bool:
                return b"history read" in shown

            await until(arrived)
            assert process.out.startswith("# HELP")
    assert b"\x1b" not in shown
    assert [logfmt(line)["msg"] for line in screen(bytes(shown))] == ["new state begun", "history read"]
