"""How many agents may hold at once what they have read of a page, until it is counted and committed.

Answers come faster than they can be committed. What waits then is memory, and it must follow how much is under way, not
how many agents there are: thousands may read their history at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from exporter.tracking.pages import Slice
from exporter.unpod.urgency import Urgency

_WAITING: Final = 8
"""Agents whose pages may wait to be committed, beside those whose requests are under way."""


class Hands:
    """``requests`` may be under way at once. Each urgency has its own hands, so that nobody holds up what is more
    urgent."""

    def __init__(self, requests: int) -> None:
        self._of = _hands(requests)

    def change(self, requests: int) -> None:
        """Another number of requests, for all pages that are asked for from now on."""
        self._of = _hands(requests)

    async def each(
        self, urgency: Urgency, parts: AsyncIterator[Slice], take: Callable[[Slice], Awaitable[None]]
    ) -> None:
        """Has all parts taken, each as soon as there is a hand for it: first come, first served."""
        more = True
        while more:
            async with self._of[urgency]:
                more = await _next(parts, take)


async def _next(parts: AsyncIterator[Slice], take: Callable[[Slice], Awaitable[None]]) -> bool:
    async for part in parts:
        await take(part)
        return True
    return False


def _hands(requests: int) -> Mapping[Urgency, asyncio.Semaphore]:
    return {urgency: asyncio.Semaphore(requests + _WAITING) for urgency in Urgency}
