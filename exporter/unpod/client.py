"""Pages of tasks and the list of agents over HTTP: each request in its turn, each failure a typed error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self

import msgspec

from exporter.unpod import answers
from exporter.unpod.answers import AgentList, Answer
from exporter.unpod.errors import BadRequest, RateLimited, UnpodError
from exporter.unpod.facts import Page
from exporter.unpod.pacing import Pace
from exporter.unpod.settings import Settings
from exporter.unpod.tokens import FileToken, StaticToken, Token
from exporter.unpod.transport import Received, Transport

__all__ = ["AgentList", "Client", "FileToken", "Observer", "Page", "Settings", "StaticToken", "Token", "Usage"]

DEFAULT_PAUSE: Final = 10.0
"""Seconds without requests after a 429 that names no time."""
_NO_QUERY: Final[Mapping[str, str]] = MappingProxyType({})


class Observer(Protocol):
    """Is told of every request, for metrics."""

    def request(self, endpoint: str, code: str, seconds: float, received: int) -> None:
        """A request ended.

        Args:
            endpoint: ``tasks`` or ``agents``.
            code: The HTTP status of a complete answer, else the reason why there is none (``errors.REASONS``).
            seconds: From its begin to its end, without waiting for its turn.
            received: Bytes of the body, after decompression.
        """

    def waited(self, seconds: float) -> None:
        """A request was held back for so long, by the pace of this client or by a 429."""


class _Unobserved:
    def request(self, endpoint: str, code: str, seconds: float, received: int) -> None:
        pass

    def waited(self, seconds: float) -> None:
        pass


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what is allowed is used at this moment."""

    begun: int
    """Requests that began within the last 60 seconds."""
    per_minute: int
    """How many may begin within 60 seconds."""
    paused: float
    """For how many seconds from now no request may begin, since the platform has said "too many"; 0: they may."""


class Client:
    """One account on one installation of the platform.

    An async context manager. Whatever network and server do, its methods raise nothing but UnpodError. One is enough
    for all agents: its limits hold for all requests together.

    Raises:
        ValueError: A setting that could not work: a base URL that is none, a header with a line break.
    """

    def __init__(
        self,
        settings: Settings,
        token: Token,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._token = token
        self._observer = observer or _Unobserved()
        self._clock = clock
        self._monotonic = monotonic
        self._transport = Transport(settings)
        self._per_minute = settings.requests_per_minute
        self._pace = Pace(settings.requests_per_minute, monotonic=monotonic, sleep=sleep)
        self._slots = asyncio.Semaphore(settings.max_concurrent_requests)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    def usage(self) -> Usage:
        """How much of what is allowed is used now."""
        return Usage(begun=self._pace.begun, per_minute=self._per_minute, paused=self._pace.paused)

    async def tasks(self, agent: str, *, page: int, page_size: int) -> Page:
        """One page of an agent's tasks, newest first, checked against its own ``count``.

        Args:
            agent: The handle, whatever characters it has.
            page: From 1.
            page_size: From 1; a server that ignores paging answers with more (``Page.whole``).

        Raises:
            UnpodError: There is no such page to be had; its class says why.
            ValueError: ``page`` or ``page_size`` is below 1, by which the platform means something else.
        """
        if page < 1 or page_size < 1:
            raise ValueError("page and page_size count from 1")
        if not agent:
            raise BadRequest("an agent without a handle has no tasks to ask for")
        answer = await self._ask("tasks", agent, {"page": str(page), "page_size": str(page_size)})
        try:
            return answers.page(answer, number=page, size=page_size, now=self._clock())
        except RateLimited as error:
            self._hold(error)
            raise

    async def agents(self) -> AgentList:
        """The published agents that the token can see.

        Raises:
            UnpodError: There is no list to be had; its class says why.
        """
        answer = await self._ask("agents", None, _NO_QUERY)
        try:
            return answers.agents(answer, now=self._clock())
        except RateLimited as error:
            self._hold(error)
            raise

    def _hold(self, error: RateLimited) -> None:
        """Lets no request begin for as long as the server says: "too many" is said to the account, not to an agent."""
        self._pace.pause(DEFAULT_PAUSE if error.retry_after is None else error.retry_after)

    async def _ask(self, endpoint: str, agent: str | None, query: Mapping[str, str]) -> Answer:
        async with self._slots:
            wished = self._monotonic()
            await self._pace.turn()
            self._observer.waited(self._monotonic() - wished)
            return await self._observed(endpoint, agent, query)

    async def _observed(self, endpoint: str, agent: str | None, query: Mapping[str, str]) -> Answer:
        token = self._token.value()
        began = self._monotonic()
        received = Received()
        try:
            answer = await self._transport.get(agent, query, token, received)
        except UnpodError as error:
            self._observer.request(endpoint, error.reason, self._monotonic() - began, received.bytes)
            raise
        self._observer.request(endpoint, str(answer.status), self._monotonic() - began, received.bytes)
        return answer
