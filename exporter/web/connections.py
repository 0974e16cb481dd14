"""Every connection from its first byte to its last: encrypted or not, how many there are, and how long one may take.

The HTTP library behind it has no limit on how slowly a request may come, nor on how many connections there are. So each
connection passes here first, and is cut off where it takes too long; where there are too many, the one that has been
of no use for longest makes room, so that a crowd that only holds connections keeps nobody out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from exporter.web.access import Access, Tls, refusal
from exporter.web.server import headers

LARGEST_HEAD: Final = 64 * 2**10
"""Bytes that a connection may send without completing a request."""
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_OPTIONS: Final[Any] = {"access_log": None, "lingering_time": 2.0, "auto_decompress": False}
"""Of the HTTP library: nothing of a request is logged, and no body is waited for or unpacked."""
_TLS_REASONS: Final = {
    "HTTP_REQUEST": "plain HTTP where TLS is wanted",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no client certificate",
    "CERTIFICATE_VERIFY_FAILED": "a client certificate that cannot be verified",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of all connections, and of each of them in seconds."""

    connections: int = 128
    handshake: float = 5.0
    """From connecting to an encrypted connection."""
    head: float = 10.0
    """From connecting, or from the first byte of a further request, to a complete request."""
    answer: float = 60.0
    """From a complete request to an answer that has been taken."""
    idle: float = 300.0
    """Between two requests, after the time of an answer. Prometheus keeps a connection for 300."""


LIMITS: Final = Limits()


class _Phase(IntEnum):
    """What a connection does. The lowest makes room first."""

    ASKING = 0
    IDLE = 1
    ANSWERED = 2


class Door:
    """Makes the protocol of each connection: what ``asyncio`` asks a server for."""

    def __init__(self, server: web.Server, access: Access, limits: Limits) -> None:
        self.server = server
        self.access = access
        self.limits = limits
        self._connections: dict[Connection, None] = {}
        self._handshakes: set[asyncio.Task[None]] = set()
        self._tls: bytes | None = None
        self._inner = server.request_handler
        server.request_handler = self._handle

    def __call__(self) -> Connection:
        return Connection(self)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for another connection, or room could be made."""
        if len(self._connections) >= self.limits.connections:
            # Those that came first stand first.
            last = min(self._connections, key=lambda one: one.phase)
            if last.phase is _Phase.ANSWERED:
                self.access.told("too many connections", connection.peer)
                return False
            last.cut("too many connections")
        self._connections[connection] = None
        return True

    def leave(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)

    def tls(self) -> Tls | None:
        """How a new connection is encrypted. Where that has changed, connections that were let in by other rules go."""
        tls = self.access.policy().tls
        identity = tls.identity if tls is not None else None
        if identity != self._tls:
            self._tls = identity
            for connection in list(self._connections):
                connection.expire()
        return tls

    def encrypt(self, connection: Connection, tls: Tls) -> None:
        """Begins to encrypt a connection."""
        task = asyncio.get_running_loop().create_task(connection.encrypt(tls), name="TLS handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def close(self) -> None:
        """Ends the handshakes under way; connections that are open are the server's to end."""
        for task in (tasks := list(self._handshakes)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = request.protocol
        if not isinstance(handler, Handler):
            raise TypeError("a request that did not come by this door")
        if request.version.major != 1:
            # aiohttp would answer in the version that was asked for, without speaking it.
            handler.connection.cut("another version of HTTP")
            raise ConnectionResetError
        self.tls()
        with handler.connection.answering():
            answer = await self._inner(request)
        if handler.connection.expired:
            answer.force_close()
        return answer


class Handler(web.RequestHandler):
    """The HTTP of one connection. What cannot be parsed is answered without a word of it, and told in a line."""

    def __init__(self, connection: Connection, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=2 * connection.door.limits.idle,
            **_OPTIONS,
        )
        self.connection = connection

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer in place of one that cannot be given."""
        if isinstance(exc, HttpProcessingError):
            self.connection.door.access.told("no HTTP", self.connection.peer)
        elif not isinstance(exc, ConnectionError):  # that is a client who has left before the end of an answer
            self.connection.door.access.told(f"a defect of the exporter: {_whereabouts(exc)}", self.connection.peer)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of an answer is sent already")
        answer = refusal(status, HTTPStatus(status).phrase.lower())
        answer.headers.update(headers(self.connection.door.access.policy()))
        answer.force_close()
        return answer


class Connection(asyncio.Protocol):
    """One connection: a deadline for whatever it is doing, between the transport and the HTTP of it."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.phase = _Phase.ASKING
        self.peer = ""
        self.expired = False
        """It was let in by rules that have changed."""
        self._handler: Handler | None = None
        self._transport: asyncio.Transport | None = None
        self._unencrypted: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._early: list[bytes] = []
        self._received = 0
        self._more = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = self._transport = self._unencrypted = cast(asyncio.Transport, transport)
        self.peer = _host(opened.get_extra_info("peername"))
        tls = self.door.tls()
        if not self.door.admit(self):
            opened.abort()
            return
        self._within(self.door.limits.head, self.cut, "a request that did not come to its end")
        if tls is None:
            self._open(opened)
        else:
            opened.pause_reading()
            self.door.encrypt(self, tls)

    async def encrypt(self, tls: Tls) -> None:
        """Takes the connection through its handshake, and opens it."""
        encrypted = None
        if self._transport is None or self._transport.is_closing():
            return
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=self.door.limits.handshake,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, ssl.CertificateError) as error:
            self.door.access.told(_why(error), self.peer)
        finally:
            if encrypted is None:
                self._gone()
        if encrypted is not None:
            self._transport = encrypted
            self._welcome(encrypted, tls)

    def _welcome(self, transport: asyncio.Transport, tls: Tls) -> None:
        names = names_in(transport.get_extra_info("peercert") or {})
        allowed = tls.client_allowed_sans
        if allowed is not None and not names & {_name(one) for one in allowed}:
            self.cut("a client certificate of a name that is not allowed")
            return
        self._open(transport)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def _open(self, transport: asyncio.Transport) -> None:
        self._handler = Handler(self, self.door.server)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._handler is None:
            self._early.append(data)
            return
        if self.phase is _Phase.IDLE:
            self.phase, self._received = _Phase.ASKING, 0
            self._within(self.door.limits.head, self.cut, "a request that did not come to its end")
        self._received += len(data)
        self._more = True
        if self.phase is _Phase.ASKING and self._received > LARGEST_HEAD:
            self._refuse_head()
        else:
            self._handler.data_received(data)

    def _refuse_head(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.door.access.told("a request head that is too large", self.peer)
            self._transport.write(_TOO_LARGE)
            self._transport.close()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request is complete, and answered within."""
        if self.expired:
            self.cut("an encryption that is no longer in force")
            raise ConnectionResetError
        self.phase, self._more = _Phase.ANSWERED, False
        self._within(self.door.limits.answer, self.cut, "an answer that took too long")
        try:
            yield
        finally:
            self._received = 0
            if self._more:
                # What came meanwhile is the begin of another request.
                self.phase = _Phase.ASKING
                self._within(self.door.limits.head, self.cut, "a request that did not come to its end")
            else:
                self.phase = _Phase.IDLE
                self._within(self.door.limits.answer, self._rest)

    def expire(self) -> None:
        """The rules by which it was let in have changed: it ends, after an answer that is under way."""
        self.expired = True
        if self.phase is not _Phase.ANSWERED:
            self.cut(None)

    def cut(self, reason: str | None) -> None:
        """Ends it at once, whatever is unsent; ``reason`` is told, if there is one."""
        if reason is not None:
            self.door.access.told(reason, self.peer)
        self.door.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def eof_received(self) -> bool | None:
        if self._handler is not None:
            self._handler.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        handler, self._handler = self._handler, None
        self._gone()
        if handler is not None:
            handler.connection_lost(exc)

    def _gone(self) -> None:
        self._early.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        self.door.leave(self)

    def _rest(self) -> None:
        """The answer should have been taken by now; if it was, there is time for another request."""
        if self._unencrypted is not None and self._unencrypted.get_write_buffer_size():
            self.cut("an answer that was not taken")
        else:
            self._within(self.door.limits.idle, self.cut, None)

    def _within(self, seconds: float, then: Callable[..., None], *arguments: str | None) -> None:
        """Does something unless something else begins within so many seconds."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, then, *arguments)


def names_in(certificate: Any) -> set[str]:
    """The alternative names of a certificate, as Python tells it."""
    return {_name(value) for _, value in certificate.get("subjectAltName", ())}


def _name(text: str) -> str:
    """A name as it is compared: addresses in their shortest form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _host(peer: Any) -> str:
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _whereabouts(error: BaseException | None) -> str:
    """Where a defect showed, without its message: that may hold a piece of what was asked."""
    at = traceback.extract_tb(error.__traceback__)[-1:] if error is not None else []
    return " < ".join([type(error).__name__, *(f"{Path(one.filename).name}:{one.lineno}" for one in at)])


def _why(error: Exception) -> str:
    """Why there is no encrypted connection, in words that hold nothing of what was sent."""
    if isinstance(error, ssl.SSLError):
        reason = error.reason or type(error).__name__
        return f"no TLS: {_TLS_REASONS.get(reason, reason.replace('_', ' ').lower())}"
    return "no TLS: the handshake was given up"
