"""How many agents may hold at once what they have read of a page, until it is counted and committed.

Answers come faster than they can be committed. What waits then is memory, and it must follow how much is under way, not
how many agents there are: thousands may read their history at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import product
from typing import Final

from exporter.tracking.pages import Slice
from exporter.unpod.urgency import Urgency

_WAITING: Final = 8
"""Agents whose pages may wait to be committed, beside those whose requests are under way."""


class Hands:
    """``requests`` may be under way at once; ``was_slow`` tells whether the last request of an agent was.

    Whoever waits for a turn to ask has a hand already. So each urgency has hands of its own, and those who were slow
    have others: nobody holds up what is more urgent, or quicker.
    """

    def __init__(self, requests: int, was_slow: Callable[[str], bool]) -> None:
        self._of = _hands(requests)
        self._was_slow = was_slow

    def change(self, requests: int) -> None:
        """Another number of requests, for all pages that are asked for from now on."""
        self._of = _hands(requests)

    async def each(
        self, agent: str, urgency: Urgency, parts: AsyncIterator[Slice], take: Callable[[Slice], Awaitable[None]]
    ) -> None:
        """Has all parts of an agent taken, each as soon as there is a hand for it: first come, first served."""
        more = True
        while more:
            async with self._of[urgency, self._was_slow(agent)]:
                more = await _next(parts, take)


async def _next(parts: AsyncIterator[Slice], take: Callable[[Slice], Awaitable[None]]) -> bool:
    async for part in parts:
        await take(part)
        return True
    return False


def _hands(requests: int) -> Mapping[tuple[Urgency, bool], asyncio.Semaphore]:
    return {kind: asyncio.Semaphore(requests + _WAITING) for kind in product(Urgency, (False, True))}
