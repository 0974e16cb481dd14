"""Who may ask: users with passwords, and how many requests at all. The middleware before every page."""

from __future__ import annotations

import base64
import binascii
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec
from aiohttp import web

from exporter.web.passwords import Overburdened, Passwords

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LARGEST_BODY: Final = 64 * 2**10
"""Bytes: no page here reads any."""
_CHALLENGE: Final = 'Basic realm="unpod-exporter", charset="UTF-8"'


class Tls(msgspec.Struct, frozen=True):
    """How connections are encrypted."""

    context: ssl.SSLContext
    identity: bytes
    """Differs where anything differs that decides who may connect."""
    client_allowed_sans: tuple[str, ...] | None = None
    """A client's certificate must have one of these names; None: any will do."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask, and what every answer carries. By default everybody, in the clear."""

    tls: Tls | None = None
    users: Mapping[str, str] = {}
    """bcrypt hashes by user; empty: everybody is let in."""
    headers: Mapping[str, str] = {}
    """What answers carry besides, or instead; an empty value: not at all."""
    rate_limit: tuple[float, int] | None = None
    """Seconds in which one request is allowed, and how many at once."""


class Told(Protocol):
    """Hears of what was refused: why, and from which address."""

    def __call__(self, reason: str, peer: str) -> None: ...


class Bucket:
    """Lets requests through at a rate, some of them at once."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._limit: tuple[float, int] | None = None
        self._tokens = 0.0
        self._filled = 0.0

    def take(self, limit: tuple[float, int] | None) -> float:
        """Seconds until another request is allowed; 0: this one is, and is taken to be made."""
        now = self._elapsed()
        if limit is None:
            return 0.0
        interval, burst = limit
        if limit != self._limit:
            self._limit, self._tokens = limit, float(burst)
        else:
            self._tokens = min(burst, self._tokens + (now - self._filled) / interval)
        self._filled = now
        if self._tokens < 1.0:
            return (1.0 - self._tokens) * interval
        self._tokens -= 1.0
        return 0.0


class Access:
    """Lets requests in by the policy in force, which is asked for each of them."""

    def __init__(
        self, policy: Callable[[], Policy], passwords: Passwords, told: Told, *, elapsed: Callable[[], float]
    ) -> None:
        self.policy = policy
        self.told = told
        self._passwords = passwords
        self._bucket = Bucket(elapsed)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers in place of ``handler`` where a request is not let in."""
        policy, peer = self.policy(), request.remote or ""
        if wait := self._bucket.take(policy.rate_limit):
            self.told("too many requests", peer)
            return refusal(429, "too many requests", {"Retry-After": str(int(wait) + 1)})
        if (request.content_length or 0) > LARGEST_BODY:
            self.told("a body that is too large", peer)
            answer = refusal(413, "no page here takes a body")
            answer.force_close()
            return answer
        if not policy.users:
            return await handler(request)
        try:
            if await self._knows(request, policy, peer):
                return await handler(request)
        except Overburdened:
            self.told("too many passwords at once", peer)
            return refusal(503, "too many passwords are being checked; try again", {"Retry-After": "5"})
        return refusal(401, "a user and a password are needed", {"WWW-Authenticate": _CHALLENGE})

    async def _knows(self, request: web.Request, policy: Policy, peer: str) -> bool:
        given = request.headers.getall("Authorization", [])
        if not given:
            return False
        credentials = credentials_of(given[0]) if len(given) == 1 else None
        if credentials is not None and await self._passwords.fit(policy.users, *credentials, peer):
            return True
        self.told("a wrong user or password", peer)
        return False


def unguarded() -> Access:
    """Lets everybody in."""
    return Access(Policy, Passwords(), lambda reason, peer: None, elapsed=time.monotonic)


def credentials_of(header: str) -> tuple[str, bytes] | None:
    """The user and the password of an ``Authorization`` header; None where it holds none (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that holds nothing of what was asked."""
    return web.Response(status=status, text=f"{text}\n", headers=headers)
