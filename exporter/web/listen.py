"""Where the server listens: addresses as Prometheus writes them, and the sockets behind them."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, cast

from aiohttp import web

from exporter.web.access import Access, unguarded
from exporter.web.connections import LIMITS, Door, Limits

_SHUTDOWN: Final = 2.0
"""Seconds that an answer under way may still take when the server stops."""
_BACKLOG: Final = 128
"""Connections that the system holds until they are accepted."""
_ADDRESS: Final = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_EXAMPLES: Final = "write for example :10130, 127.0.0.1:10130 or [::1]:10130"


class ListenError(Exception):
    """An address that cannot be listened on; its text says which, and why."""


class Address(NamedTuple):
    """A host (None: all of this machine's addresses) and a port (0: any that is free)."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_listen_address(text: str) -> Address:
    """``:10130``, ``127.0.0.1:9000``, ``localhost:9000`` or ``[::1]:9000``.

    Raises:
        ValueError: with what is wrong and what would be right.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an address to listen on; {_EXAMPLES}")
    port = int(found["port"])
    if port > 65_535:
        raise ValueError(f"{text!r}: a port is a number up to 65535; {_EXAMPLES}")
    host = found["host"] if found["v6"] is None else found["v6"]
    valid = (not host or _HOST.fullmatch(host)) if found["v6"] is None else _is_ipv6(host)
    if not valid:
        raise ValueError(f"{text!r}: {host!r} is not a host; {_EXAMPLES}")
    return Address(host or None, port)


@asynccontextmanager
async def serve(
    app: web.Application,
    addresses: Iterable[tuple[str | None, int]],
    sockets: Iterable[socket.socket] = (),
    access: Access | None = None,
    limits: Limits = LIMITS,
) -> AsyncIterator[tuple[Address, ...]]:
    """Serve as long as the context lasts, on sockets that listen already as well. Gives the addresses that are really
    listened on. ``access`` is that of the application; None: its connections are not encrypted.

    Raises:
        ListenError: one of the addresses is taken, or not of this machine; then none is listened on.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN)
    await runner.setup()
    door = Door(cast(web.Server, runner.server), access or unguarded(), limits)
    servers: list[asyncio.Server] = []
    try:
        for host, port in addresses:
            servers.append(await _listen(door, Address(host, port)))
        servers += [await asyncio.get_running_loop().create_server(door, sock=handed) for handed in sockets]
        yield tuple(Address(*bound.getsockname()[:2]) for server in servers for bound in server.sockets)
    finally:
        for server in servers:
            server.close()
        await door.close()
        await runner.cleanup()


async def _listen(door: Door, address: Address) -> asyncio.Server:
    try:
        return await asyncio.get_running_loop().create_server(door, address.host, address.port, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ListenError(f"cannot listen on {address}: {reason}") from error


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
