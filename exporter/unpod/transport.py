"""One HTTP request: its address and headers, its limits, and what the network may do to it as typed errors."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from exporter.unpod.answers import Answer
from exporter.unpod.errors import BadResponse, ConnectionFailed, Timeout, TooLarge, UnpodError
from exporter.unpod.settings import Settings

_SPARE: Final = 4 * 2**20
"""Bytes of an answer whose memory is used again: pages are no larger, but for those of servers that know no paging."""
_HEADER: Final = re.compile(r"[ -~]*")
_FAULTS: Final[tuple[tuple[type[Exception], type[UnpodError], str], ...]] = (
    (aiohttp.ClientConnectorDNSError, ConnectionFailed, "the name of the host cannot be resolved"),
    (
        aiohttp.ClientSSLError,
        ConnectionFailed,
        "no TLS connection: an untrusted certificate, or no TLS at all",
    ),
    (aiohttp.ClientProxyConnectionError, ConnectionFailed, "the proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, ConnectionFailed, "the proxy refused"),
    (aiohttp.ClientConnectorError, ConnectionFailed, "cannot connect"),
    (aiohttp.ServerDisconnectedError, ConnectionFailed, "the server closed the connection before it answered"),
    (aiohttp.ClientPayloadError, ConnectionFailed, "the connection was lost in the middle of the answer"),
    (aiohttp.ClientResponseError, BadResponse, "the answer is no HTTP"),
)
"""What the HTTP library raises, and what it means: the first that fits."""


class Received:
    """How many bytes of a body have arrived, after decompression; known even where the answer was given up."""

    def __init__(self) -> None:
        self.bytes = 0


class Transport:
    """Sends requests to one installation; knows nothing of turns, tokens' origins or what an answer means."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._origin, self._root = _root(settings)
        self._headers = _headers(settings)
        self._session: aiohttp.ClientSession | None = None
        self._spare: list[bytearray] = []
        """The memory of bodies that nobody needs any more."""

    async def open(self) -> None:
        """Raises ConnectionFailed where the CA file cannot be used."""
        self._session = aiohttp.ClientSession(
            # A connection for each request: one that the server closes just when it is used again would fail a poll.
            connector=aiohttp.TCPConnector(
                ssl=_trust(self._settings), limit=self._settings.max_concurrent_requests, force_close=True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            middlewares=(_once,),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, agent: str | None, query: Mapping[str, str], token: str, received: Received) -> Answer:
        """The answer to one request for an agent's tasks, or for the list of agents where ``agent`` is None.

        Raises:
            UnpodError: No complete answer arrived within the limits.
        """
        where = f"{self._origin.authority}{self._root}{'/*/tasks/' if agent is not None else '/'}"
        path = f"{self._root}/{_segment(agent)}/tasks/" if agent is not None else f"{self._root}/"
        url = URL(f"{self._origin}{path}?{urlencode(query)}" if query else f"{self._origin}{path}", encoded=True)
        try:
            return await self._get(url, where, token, received)
        except _Lost as lost:
            failure: UnpodError = _failure(where, lost.error)
        except TimeoutError:
            failure = Timeout(f"{where} gave no complete answer within {self._settings.timeout:g} s")
        except (aiohttp.ClientError, OSError) as error:
            failure = _failure(where, error)
        # Outside of the handler: what the library raised holds the request's headers and must not travel along.
        try:
            raise failure
        finally:
            # It would hold on to itself by this frame, and so to all that was received.
            del failure

    def reuse(self, answer: Answer) -> None:
        """Takes the memory of an answer of which nobody needs anything any more, unless that is much."""
        body = answer.body
        if isinstance(body, bytearray) and 0 < len(body) <= _SPARE:
            with suppress(BufferError):
                # Where somebody still holds a part of it, it cannot grow.
                body.append(0)
                self._spare.append(body)

    async def _get(self, url: URL, where: str, token: str, received: Received) -> Answer:
        if self._session is None:
            raise RuntimeError("the client is not open: use it as an async context manager")
        headers = {**self._headers, "Authorization": f"Token {token}"}
        proxy = self._settings.proxy_url
        async with self._session.get(url, headers=headers, proxy=proxy, allow_redirects=False) as response:
            return Answer(
                where=where,
                status=response.status,
                body=await self._body(response, where, received) if response.status == 200 else b"",
                retry_after=response.headers.get("Retry-After"),
                location=response.headers.get("Location"),
                quota=tuple(response.headers.get(f"X-RateLimit-{name}") for name in ("Limit", "Remaining", "Reset")),
            )

    async def _body(self, response: aiohttp.ClientResponse, where: str, received: Received) -> bytearray:
        limit = self._settings.max_response_bytes
        if (response.content_length or 0) > limit:
            raise _too_large(where, response.status, limit)
        # Written over the memory of a body before it, which is there already: memory got from the operating system and
        # given back for every page would cost as much as its transfer.
        body = self._spare.pop() if self._spare else bytearray()
        length = 0
        async for chunk in response.content.iter_any():
            received.bytes += len(chunk)
            if received.bytes > limit:
                # Whoever keeps what is raised keeps this frame.
                body.clear()
                del chunk
                raise _too_large(where, response.status, limit)
            body[length : length + len(chunk)] = chunk
            length += len(chunk)
        del body[length:]
        return body


class _Lost(Exception):
    """The connection of a request was lost before its answer."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keeps the library from sending a request again whose connection was lost: the pace would know nothing of it."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        lost = _Lost(error)
    try:
        raise lost
    finally:
        del lost


def _root(settings: Settings) -> tuple[URL, str]:
    """Origin of the installation, and the path of its agents list without the slash at the end."""
    try:
        base = URL(settings.base_url)
    except ValueError:
        base = URL()
    usable = base.scheme in ("http", "https") and base.host and not (base.user or base.query_string or base.fragment)
    if not usable:
        raise ValueError("base_url must be http:// or https://, a host, perhaps a port and a path, and nothing else")
    prefix = quote(settings.path_prefix.strip("/"), safe="/-._~%")
    parts = (base.raw_path.strip("/"), prefix, "agents")
    return base.origin(), "".join(f"/{part}" for part in parts if part)


def _segment(handle: str) -> str:
    """A handle as one segment of a path. Dots alone would be taken for directories."""
    quoted = quote(handle, safe="", errors="replace")
    return quoted.replace(".", "%2E") if not handle.strip(".") else quoted


def _headers(settings: Settings) -> Mapping[str, str]:
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Content-Type": "application/json",
        "User-Agent": settings.user_agent,
    }
    if settings.org_handle:
        headers["Org-Handle"] = settings.org_handle
    unfit = [name for name, value in headers.items() if not _HEADER.fullmatch(value)]
    if unfit:
        raise ValueError(f"the value of the header {unfit[0]} may hold printable ASCII characters only")
    return headers


def _trust(settings: Settings) -> ssl.SSLContext | bool:
    if settings.insecure_skip_verify or settings.ca_file is None:
        return not settings.insecure_skip_verify
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    raise ConnectionFailed(f"the CA file {settings.ca_file} cannot be used: {problem}")


def _too_large(where: str, status: int, limit: int) -> TooLarge:
    return TooLarge(
        f"{where} answered with more than {limit} bytes: a smaller page size, or a higher limit, may help",
        status=status,
    )


def _failure(where: str, error: Exception) -> UnpodError:
    if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
        return BadResponse(f"{where} sent a compressed answer that cannot be decompressed", status=200)
    kind, words = next(
        ((kind, words) for fault, kind, words in _FAULTS if isinstance(error, fault)),
        (ConnectionFailed, "the connection failed"),
    )
    # OpenSSL's errors have numbers of their own.
    number = error.errno if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientSSLError) else None
    detail = f" ({os.strerror(number)})" if number and number > 0 else ""
    return kind(f"{where}: {words}{detail}")
