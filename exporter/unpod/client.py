"""Pages of tasks and the list of agents over HTTP: each request in its turn, each failure a typed error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self, TypeVar

import msgspec

from exporter.unpod import answers
from exporter.unpod.answers import AgentList, Answer
from exporter.unpod.errors import BadRequest, Forbidden, NoAccess, NotFound, RateLimited, Unauthorized, UnpodError
from exporter.unpod.facts import Page
from exporter.unpod.pacing import Pace, Turns
from exporter.unpod.refusals import Refusals
from exporter.unpod.settings import Settings
from exporter.unpod.tokens import FileToken, StaticToken, Token
from exporter.unpod.transport import Received, Transport
from exporter.unpod.urgency import Urgency

__all__ = [
    "AgentList",
    "Client",
    "FileToken",
    "Observer",
    "Page",
    "Settings",
    "StaticToken",
    "Token",
    "Urgency",
    "Usage",
]

T = TypeVar("T")

DEFAULT_PAUSE: Final = 10.0
"""Seconds without requests after a 429 that names no time; doubled with each that follows."""
LONGEST_DEFAULT_PAUSE: Final = 300.0
_LIST: Final = ""
"""Who asks for the list of agents; no agent has this handle."""
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
        self._base_url = settings.base_url
        self._per_minute = settings.requests_per_minute
        self._slots = settings.max_concurrent_requests
        self._turns = Turns(
            Pace(settings.requests_per_minute),
            settings.max_concurrent_requests,
            monotonic=monotonic,
            sleep=sleep,
        )
        self._refusals = Refusals()
        self._pauses = 0
        """Answers in a row that were 429 and named no time."""

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def change(self, settings: Settings, token: Token) -> None:
        """Other settings and another token, while nothing is being asked.

        What has been asked of late, and what the platform has said of it, holds on where it is the same installation.

        Raises:
            ValueError: A setting that could not work. Nothing has changed then.
            ConnectionFailed: The CA file cannot be used. Nothing has changed then.
        """
        transport = Transport(settings)
        await transport.open()
        goes_on = settings.base_url == self._base_url
        self._turns.change(settings.requests_per_minute, settings.max_concurrent_requests, goes_on=goes_on)
        if not goes_on:
            self._refusals, self._pauses = Refusals(), 0
        self._per_minute, self._slots = settings.requests_per_minute, settings.max_concurrent_requests
        self._base_url, self._token = settings.base_url, token
        before, self._transport = self._transport, transport
        await before.close()

    def allow(self, per_minute: int) -> None:
        """Lets no 60 seconds see more requests begin than this, which is at least 1, from now on."""
        self._turns.change(per_minute, self._slots, goes_on=True)
        self._per_minute = per_minute

    def usage(self) -> Usage:
        """How much of what is allowed is used now."""
        return Usage(begun=self._turns.begun, per_minute=self._per_minute, paused=self._turns.paused)

    def was_slow(self, agent: str) -> bool:
        """Whether the last request for an agent took so long that it never has the last slot from others."""
        return self._turns.was_slow(agent)

    def has_time(self) -> bool:
        """Whether a request could begin now that makes nobody wait, with requests to spare for what comes next."""
        return self._turns.has_time()

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency = Urgency.FRESH) -> Page:
        """One page of an agent's tasks, newest first, checked against its own ``count``.

        Args:
            agent: The handle, whatever characters it has.
            page: From 1.
            page_size: From 1; a server that ignores paging answers with more (``Page.whole``).
            urgency: Whom it lets go first.

        Raises:
            UnpodError: There is no such page to be had; its class says why.
            ValueError: ``page`` or ``page_size`` is below 1, by which the platform means something else.
        """
        if page < 1 or page_size < 1:
            raise ValueError("page and page_size count from 1")
        if not agent:
            raise BadRequest("an agent without a handle has no tasks to ask for")

        async def read(answer: Answer) -> Page:
            return await answers.page(answer, number=page, size=page_size, now=self._clock())

        return await self._ask(agent, {"page": str(page), "page_size": str(page_size)}, urgency, read)

    async def agents(self) -> AgentList:
        """The published agents that the token can see.

        Raises:
            UnpodError: There is no list to be had; its class says why.
        """

        async def read(answer: Answer) -> AgentList:
            return answers.agents(answer, now=self._clock())

        return await self._ask(_LIST, _NO_QUERY, Urgency.FRESH, read)

    async def _ask(
        self, who: str, query: Mapping[str, str], urgency: Urgency, read: Callable[[Answer], Awaitable[T]]
    ) -> T:
        """What ``read`` makes of the answer to one request, in its turn."""
        self._refusals.check(who, self._token.value(), self._monotonic())
        async with self._turns.turn(who, urgency) as held:
            self._observer.waited(held)
            token = self._usable(who)
            answer = await self._observed(who, query, token)
            self._obey(answer)
            facts = await self._judged(who, token, answer, read)
            self._transport.reuse(answer)
            return facts

    def _usable(self, who: str) -> str:
        """The token, unless it became pointless while its turn was awaited."""
        try:
            token = self._token.value()
            self._refusals.asks(who, token, self._monotonic())
        except Unauthorized:
            self._turns.give_back()
            raise
        return token

    async def _observed(self, who: str, query: Mapping[str, str], token: str) -> Answer:
        endpoint = "agents" if who == _LIST else "tasks"
        began = self._monotonic()
        received = Received()
        try:
            answer = await self._transport.get(None if who == _LIST else who, query, token, received)
        except UnpodError as error:
            self._observer.request(endpoint, error.reason, self._monotonic() - began, received.bytes)
            raise
        self._observer.request(endpoint, str(answer.status), self._monotonic() - began, received.bytes)
        return answer

    def _obey(self, answer: Answer) -> None:
        """Keeps to the quota that an answer tells: it is that of the account, not of an agent."""
        quota = answers.quota(answer, self._clock())
        if quota is not None:
            self._turns.ration(quota.remaining, quota.seconds)

    async def _judged(self, who: str, token: str, answer: Answer, read: Callable[[Answer], Awaitable[T]]) -> T:
        """What ``read`` makes of an answer; what it tells of the account holds for all requests."""
        try:
            facts = await read(answer)
        except Unauthorized as error:
            self._refusals.refused(who, token, str(error), self._monotonic())
            raise
        except RateLimited as error:
            self._hold(error)
            raise
        except (Forbidden, NotFound, NoAccess, BadRequest):
            self._accepted(who, token)
            raise
        self._accepted(who, token)
        return facts

    def _accepted(self, who: str, token: str) -> None:
        self._pauses = 0
        self._refusals.accepted(who, token)

    def _hold(self, error: RateLimited) -> None:
        """Lets no request begin for as long as the server says, or ever longer where it does not say."""
        if error.retry_after is not None:
            self._turns.pause(error.retry_after)
            return
        self._turns.pause(min(DEFAULT_PAUSE * 2.0 ** min(self._pauses, 30), LONGEST_DEFAULT_PAUSE))
        self._pauses += 1
