"""What the exporter tells systemd, and the sockets that it takes over from it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.systemd import ActivationError, Notifier, sockets
from tests.service.running import SALES, fetched, platform, ran, started, surroundings, until, written


class Manager:
    """The receiving side of sd_notify."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.told: list[str] = []

    def heard(self, start: str) -> bool:
        """Whether a line that begins so has come."""
        self._receive()
        return any(line.startswith(start) for line in self.told)

    def _receive(self) -> None:
        while True:
            try:
                self.told += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


async def hears(manager: Manager, start: str) -> None:
    async def asked() -> bool:
        return manager.heard(start)

    await until(asked)


async def test_systemd_hears_that_it_is_ready_lives_does_well_and_stops(tmp_path: Path, manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    async with platform(SALES) as made:
        config = written(tmp_path, made.settings())
        words = ("run", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0", "--state.path", "memory")
        async with started(tmp_path, *words, environ=environ) as process:
            await hears(manager, "READY=1")
            assert (await process.get("/-/healthy")).status == 200
            await hears(manager, "STATUS=1 of 1 agents are up")
            made.fails("server_error")
            await hears(manager, "STATUS=0 of 1 agents are up")
            manager.told.clear()
            for _ in range(3):
                await hears(manager, "WATCHDOG=1")
                manager.told.clear()
            assert not manager.heard("STOPPING=1")
            await process.stop(signal.SIGTERM)
            assert manager.heard("STOPPING=1")


async def test_it_answers_on_a_socket_that_systemd_has_opened(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    async with platform(SALES) as made:
        config = written(tmp_path, made.settings())
        words = ("run", "--config.file", str(config), "--web.systemd-socket", "--state.path", "memory")
        kept = [f"--setenv={name}" for name in ("PATH", "PYTHONWARNINGS") if name in surroundings()]
        process = await asyncio.create_subprocess_exec(
            "systemd-socket-activate", f"--listen={address}", *kept, sys.executable, "-m", "exporter", *words,
            cwd=tmp_path, env=surroundings(), stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:

            async def asked() -> bool:
                try:
                    return (await fetched(f"http://{address}/-/healthy")).status == 200
                except OSError:
                    return False

            await until(asked)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_without_a_socket_unit_it_says_what_would_be_right(tmp_path: Path) -> None:
    told = await ran(
        tmp_path, "run", "--web.systemd-socket", "--state.path", "memory", environ={"UNPOD_API_TOKEN": "a"}
    )
    assert told.code == 1
    assert told.complaint.startswith("no socket was handed over by systemd: start the exporter from a .socket unit")


def test_a_message_that_nobody_hears_is_no_failure(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}, os.getpid()).ready()
    Notifier({}, os.getpid()).ready()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "@abstract"}, 10.0),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "60000000"}, 20.0),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 10.0),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "soon"}, 10.0),
        ({"NOTIFY_SOCKET": "vsock:2:1"}, None),
    ],
)
def test_signs_of_life_come_three_times_as_often_as_they_are_due(
    environ: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environ, 7).interval == interval


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "8", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7", "LISTEN_FDS": "0"}]
)
def test_sockets_that_are_not_for_this_process_are_left_alone(environ: dict[str, str]) -> None:
    with pytest.raises(ActivationError, match="no socket was handed over"):
        sockets(environ, 7)
