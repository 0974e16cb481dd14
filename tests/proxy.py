"""A TCP proxy that can cut, hold and swallow what passes through it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import TypeAlias


class Fate(Enum):
    """What becomes of a piece of what passes."""

    PASSED = auto()
    CUT = auto()
    """It is lost, and the connection with it."""
    PASSED_THEN_CUT = auto()
    HELD = auto()
    """It waits, and all that follows it, until ``Proxy.release``; though whoever has sent it may have hung up."""


UP, DOWN = "up", "down"
"""To the server, and from it."""
Rule: TypeAlias = Callable[[str, bytes], Fate]


def passes(direction: str, data: bytes) -> Fate:
    """Lets everything pass."""
    return Fate.PASSED


class Proxy:
    """Listens at ``port``. ``rule`` says what becomes of each piece of what passes; ``refuses`` makes new connections
    end at once."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.rule: Rule = passes
        self.refuses = False
        self.connections = 0
        """How many there have been."""
        self._to = port
        self._released = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def url(self, of: str) -> str:
        """The URL of a database by way of this."""
        return re.sub(r":\d+/", f":{self.port}/", of)

    def cut(self) -> None:
        """Ends all connections, without a word."""
        for writer in list(self._writers):
            writer.transport.abort()

    def hold(self) -> None:
        """From now on nothing passes, and nobody hears why."""
        self._released.clear()
        self.rule = lambda direction, data: Fate.HELD

    def release(self) -> None:
        """Lets what is held, and what comes, pass from now on."""
        self.rule = passes
        self._released.set()
        self._released = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self.connections += 1
        if self.refuses:
            writer.transport.abort()
            return
        try:
            upstream, up = await asyncio.open_connection("127.0.0.1", self._to)
        except ConnectionError:
            # There is no server at this moment.
            writer.transport.abort()
            return
        self._writers |= {writer, up}
        try:
            await asyncio.gather(self._pump(reader, up, writer, UP), self._pump(upstream, writer, up, DOWN))
        finally:
            for one in (writer, up):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, back: asyncio.StreamWriter, direction: str
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                fate = self.rule(direction, data)
                if fate is Fate.CUT:
                    there.transport.abort()
                    back.transport.abort()
                    return
                if fate is Fate.HELD:
                    await self._released.wait()
                there.write(data)
                await there.drain()
                if fate is Fate.PASSED_THEN_CUT:
                    back.transport.abort()
                    break
        with suppress(OSError):
            # Half of it: what has been sent is still to be read there.
            there.write_eof()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy of the server at this port of 127.0.0.1."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.release()
        proxy.cut()
        server.close()
        await server.wait_closed()
