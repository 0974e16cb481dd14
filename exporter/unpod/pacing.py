"""When the next request may go: politeness towards a server that has little to spare."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

MINUTE: Final = 60.0


class Pace:
    """Lets at most ``per_minute`` requests begin within any 60 seconds, a tenth of them at once at most.

    It is the virtual schedule of a leaky bucket: ``burst`` requests at once, then one every ``interval``, with
    ``burst + 60 / interval - 1 = per_minute``. Waiting requests go in the order in which they came; only the first of
    them looks at the clock, so that a pause holds back all of them and none of them slips through behind it.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if per_minute < 1:
            raise ValueError("requests per minute must be 1 or more")
        burst = max(1, per_minute // 10)
        self._interval = MINUTE / (per_minute - burst + 1)
        self._credit = (burst - 1) * self._interval
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = float("-inf")
        """When the bucket is empty again: a request may begin up to the credit before it."""
        self._paused_until = float("-inf")
        self._first = asyncio.Lock()
        self._begun: deque[float] = deque()
        """When the requests of the last 60 seconds began: never more of them than the pace lets begin."""

    @property
    def begun(self) -> int:
        """How many requests began within the last 60 seconds."""
        self._forget(self._monotonic() - MINUTE)
        return len(self._begun)

    @property
    def paused(self) -> float:
        """For how many seconds from now no request may begin, since ``pause`` said so; 0: there is no pause."""
        return max(0.0, self._paused_until - self._monotonic())

    async def turn(self) -> None:
        """Returns when a request may begin, which it is taken to do."""
        async with self._first:
            while (now := self._monotonic()) < (begin := max(self._next - self._credit, self._paused_until)):
                await self._sleep(begin - now)
            self._next = max(self._next, now) + self._interval
            self._begun.append(now)
            self._forget(now - MINUTE)

    def pause(self, seconds: float) -> None:
        """Lets no request begin for so long, those that wait already included."""
        self._paused_until = max(self._paused_until, self._monotonic() + seconds)

    def _forget(self, until: float) -> None:
        while self._begun and self._begun[0] <= until:
            self._begun.popleft()
