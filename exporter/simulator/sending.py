"""How answers leave the server: whole, or broken on the way."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final

from aiohttp import web

from exporter.simulator.answers import JSON, Answer
from exporter.simulator.faults import Fault

_PIECE: Final = 2**20


def whole(answer: Answer, *, compress: bool = False) -> web.Response:
    """The answer as it is; compressed as a proxy would do it."""
    headers = {"Content-Type": answer.content_type, **answer.headers}
    if not compress:
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(status=answer.status, body=gzip.compress(answer.body, 1), headers=headers)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _close(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    _hang_up(request)
    return web.Response()


async def _reset(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    response = await _begin(request, {"Content-Length": str(len(body))})
    await response.write(body[: len(body) // 2])
    transport = request.transport
    if transport is not None:
        # Lingering for no time makes the kernel answer with RST in place of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return response


async def _black_hole(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    pause = 0.02
    while request.transport is not None and not request.transport.is_closing():
        if await _heard(closing, pause):
            break
        pause = min(2 * pause, 1.0)
    _hang_up(request)
    return web.Response()


async def _slow_drip(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    response = await _begin(request, {"Content-Length": str(len(body))})
    for start in range(0, len(body), fault.piece):
        await response.write(body[start : start + fault.piece])
        if await _heard(closing, fault.pause):
            break
    return response


async def _truncated(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    half = body[: len(body) // 2]
    if fault.cut == "json":
        return whole(Answer(body=half))
    if fault.cut == "gzip":
        packed = gzip.compress(body, 1)
        return whole(Answer(body=packed[: len(packed) // 2], headers={"Content-Encoding": "gzip"}))
    response = await _begin(request, {} if fault.cut == "chunked" else {"Content-Length": str(len(body))})
    await response.write(half)
    _hang_up(request)
    return response


async def _huge(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    head, tail = b'{"padding":"', b'",' + body[1:]
    size = len(head) + fault.size + len(tail)
    response = await _begin(request, {"Content-Length": str(size)} if fault.declared else {})
    await response.write(head)
    for piece in _padding(fault.size):
        await response.write(piece)
    await response.write(tail)
    return response


def _padding(size: int) -> Iterator[bytes]:
    piece = b"." * min(size, _PIECE)
    for start in range(0, size, _PIECE):
        yield piece[: size - start]


async def _begin(request: web.Request, headers: Mapping[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": JSON, **headers})
    await response.prepare(request)
    return response


async def _heard(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


Breaking = Callable[[web.Request, bytes, Fault, asyncio.Event], Awaitable[web.StreamResponse]]
"""From the request, the body that should have been sent, the fault, and the event that the server is closing."""

BREAKINGS: Final[Mapping[str, Breaking]] = {
    "close": _close,
    "refuse": _close,
    "reset": _reset,
    "black_hole": _black_hole,
    "slow_drip": _slow_drip,
    "truncated": _truncated,
    "huge": _huge,
}
"""Faults that break the transfer."""


async def broken(request: web.Request, body: bytes, fault: Fault, closing: asyncio.Event) -> web.StreamResponse:
    """The answer, broken on the way as the fault says; a client that gives up meanwhile is none of our failures."""
    try:
        return await BREAKINGS[fault.kind](request, body, fault, closing)
    except ConnectionError:
        return web.Response()
