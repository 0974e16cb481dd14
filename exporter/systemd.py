"""What systemd wants to hear of a service, and the sockets that it hands over: sd_notify(3) and sd_listen_fds(3).

Started by anything else, all of this does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

_FIRST_SOCKET: Final = 3
"""The file descriptor of the first socket that is handed over, after standard input, output and error."""
_BEATS: Final = 3
"""How often the watchdog is told within the time after which it would strike."""
_STATUS_INTERVAL: Final = 10.0
"""Seconds between two status lines where no watchdog is set."""


class ActivationError(Exception):
    """No usable socket was handed over; its text says why, and what would be right."""


class Notifier:
    """Tells the service manager what becomes of the service; harmless where there is none.

    The messages are those of sd_notify(3). One that cannot be delivered is lost: a service must not fail because of
    what watches it.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.interval = _interval(environ, pid) if self._address else None
        """Seconds between two signs of life; None: nobody waits for any."""

    def ready(self) -> None:
        """The service serves, after its start or after a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The settings are read again; ``ready`` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    async def watch(self, status: Callable[[], str], sleep: Callable[[float], Awaitable[None]]) -> None:
        """Gives signs of life, with ``status`` in words, until it is cancelled.

        They come from the event loop: where that hangs they end, and the watchdog strikes.
        """
        while self.interval is not None:
            self._send("WATCHDOG=1", f"STATUS={status()}")
            await sleep(self.interval)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(), self._address)


@contextlib.asynccontextmanager
async def notified(
    notifier: Notifier, status: Callable[[], str], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[None]:
    """A service that is ready as the context begins, and stopping as it ends."""
    watching = asyncio.create_task(notifier.watch(status, sleep), name="watchdog")
    notifier.ready()
    try:
        yield
    finally:
        notifier.stopping()
        watching.cancel()


def sockets(environ: Mapping[str, str], pid: int) -> tuple[socket.socket, ...]:
    """The listening sockets that systemd has opened for this process.

    Raises:
        ActivationError: There are none, or what was handed over does not listen.
    """
    handed = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not handed.isdecimal() or int(handed) == 0:
        raise ActivationError(
            "no socket was handed over by systemd: start the exporter from a .socket unit, "
            "or use --web.listen-address instead of --web.systemd-socket"
        )
    return tuple(_socket(number) for number in range(_FIRST_SOCKET, _FIRST_SOCKET + int(handed)))


def _socket(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        handed = socket.socket(fileno=number)
        listens = handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ActivationError(f"what systemd handed over as number {number} is no socket: {error.strerror}") from None
    if not listens or handed.family not in (socket.AF_INET, socket.AF_INET6):
        raise ActivationError(
            f"the socket that systemd handed over as number {number} accepts no TCP connections: "
            "write ListenStream= and a port or an address with one"
        )
    handed.setblocking(False)
    return handed


def _address(told: str) -> str | None:
    """The address of the manager's socket; one in the abstract namespace is written with ``@``."""
    if told.startswith("@"):
        return "\0" + told[1:]
    return told if told.startswith("/") else None


def _interval(environ: Mapping[str, str], pid: int) -> float:
    told = environ.get("WATCHDOG_USEC", "")
    if not told.isdecimal() or int(told) == 0 or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return _STATUS_INTERVAL
    return int(told) / 1e6 / _BEATS
