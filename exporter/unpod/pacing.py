"""Whose turn it is to ask: politeness towards a server that has little to spare, fairness among those who ask of it.

All requests of an account wait at one door. It opens when the pace allows another request and a slot is free, and lets
in whoever has waited longest in the lane whose turn it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from exporter.unpod.urgency import Urgency

MINUTE: Final = 60.0
SLOW: Final = 10.0
"""Seconds of a request from which on it, and the next one of the same agent, counts as slow."""
PATIENCE: Final[Mapping[Urgency, int]] = MappingProxyType({Urgency.FRESH: 0, Urgency.HISTORY: 1, Urgency.SWEEP: 9})
"""How many turns of more urgent lanes one lets pass while it waits. First readings alternate with fresh data, and
sweeps have every tenth turn where nothing is left for them."""
_NEVER: Final = float("-inf")


class Pace:
    """Lets at most ``per_minute`` requests begin within any 60 seconds, a tenth of them at once at most.

    It is the virtual schedule of a leaky bucket: ``burst`` requests at once, then one every ``interval``. Where the
    burst is more than one, a minute sees one request less than allowed, and the next one a whole ``interval`` later, so
    that it sees no more of them at the other end of a network that holds some up.

    Times are seconds of a clock that never jumps.
    """

    def __init__(self, per_minute: int) -> None:
        if per_minute < 1:
            raise ValueError("requests per minute must be 1 or more")
        burst = max(1, per_minute // 10)
        self.interval: Final = MINUTE / (per_minute - burst - 1 if burst > 1 else per_minute)
        """Seconds between two requests in the long run."""
        self._most: Final = per_minute - (burst > 1)
        self._credit = (burst - 1) * self.interval
        self._next = _NEVER
        """When the bucket is empty again: a request may begin up to the credit before it."""
        self._paused_until = _NEVER
        self._last = _NEVER
        self._ration = 0.0
        self._rationed_until = _NEVER
        self._begun: deque[float] = deque()
        """When the requests of the last 60 seconds began: never more of them than the pace lets begin."""

    def succeed(self, before: Pace) -> None:
        """Takes over what the pace before has let begin of late, and what the server has said to it.

        Where that was more than this one lets begin, it waits until a minute has room again, and no longer.
        """
        for moment in before._begun:
            self.begin(moment)
        if len(self._begun) >= self._most:
            self._next = min(self._next, self._full_until() + self._credit)
        self._paused_until = before._paused_until
        self._ration, self._rationed_until = before._ration, before._rationed_until

    def begun(self, now: float) -> int:
        """How many requests began within the last 60 seconds."""
        while self._begun and self._begun[0] <= now - MINUTE:
            self._begun.popleft()
        return len(self._begun)

    def paused(self, now: float) -> float:
        """For how many seconds no request may begin, since the server has said so; 0: there is no pause."""
        return max(0.0, self._paused_until - now)

    def earliest(self) -> float:
        """When the next request may begin."""
        rationed = self._last + self._ration
        return max(
            self._next - self._credit, self._full_until(), self._paused_until, min(rationed, self._rationed_until)
        )

    def _full_until(self) -> float:
        """Until when a minute has seen so many requests that it can see no more of them."""
        return self._begun[-self._most] + MINUTE if len(self._begun) >= self._most else _NEVER

    def has_spare(self, now: float) -> bool:
        """Whether a request could begin now and leave half of the burst to others."""
        return now >= max(self.earliest(), self._next - self._credit / 2)

    def begin(self, now: float) -> None:
        """A request begins."""
        self._next = max(self._next, now) + self.interval
        self._last = now
        self._begun.append(now)
        self.begun(now)

    def give_back(self) -> None:
        """A request that was to begin did not."""
        self._next -= self.interval
        if self._begun:
            self._begun.pop()

    def pause(self, until: float) -> None:
        """Lets no request begin before."""
        self._paused_until = max(self._paused_until, until)

    def ration(self, remaining: int, now: float, until: float) -> None:
        """Spreads the requests that the server still allows over the time until it allows more."""
        if remaining <= 0:
            self.pause(until)
        else:
            self._ration, self._rationed_until = (until - now) / remaining, until


class Ticket:
    """One request that waits for its turn, or has it."""

    __slots__ = ("admitted", "agent", "called", "held", "since", "urgency")

    def __init__(self, agent: str, urgency: Urgency, since: float) -> None:
        self.agent = agent
        self.urgency = urgency
        self.since = since
        """When it came; once it is admitted, when it was."""
        self.admitted = False
        self.held = 0.0
        """Seconds for which nothing but the pace held it back."""
        self.called = asyncio.Event()


class Lanes:
    """Those who wait, in the order in which they came, in a lane for each urgency."""

    def __init__(self) -> None:
        self._lanes: dict[Urgency, dict[Ticket, None]] = {urgency: {} for urgency in Urgency}
        self._passed = dict.fromkeys(Urgency, 0)
        """Turns of more urgent lanes that each has let pass."""

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    def add(self, ticket: Ticket) -> None:
        self._lanes[ticket.urgency][ticket] = None

    def discard(self, ticket: Ticket) -> None:
        lane = self._lanes[ticket.urgency]
        lane.pop(ticket, None)
        if not lane:
            self._passed[ticket.urgency] = 0

    def next(self, fits: Callable[[Ticket], bool]) -> Ticket | None:
        """Whose turn it is among those who fit; None: nobody's."""
        first = {
            urgency: ticket
            for urgency, lane in self._lanes.items()
            if (ticket := next(filter(fits, lane), None)) is not None
        }
        if not first:
            return None
        overdue = [urgency for urgency in first if self._passed[urgency] >= PATIENCE[urgency]]
        return first[max(overdue, default=min(first))]

    def take(self, ticket: Ticket) -> None:
        """Its turn has come."""
        for urgency, lane in self._lanes.items():
            self._passed[urgency] += bool(lane) and urgency > ticket.urgency
        self._passed[ticket.urgency] = 0
        self.discard(ticket)


class Turns:
    """Lets requests begin one by one, no faster than ``pace`` and no more than ``slots`` at once.

    A request that takes long keeps its slot from all others. So those of agents that were slow of late never have the
    last slot, as long as there are agents that answer quickly.
    """

    def __init__(
        self,
        pace: Pace,
        slots: int,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pace = pace
        self._slots = slots
        self._monotonic = monotonic
        self._sleep = sleep
        self._lanes = Lanes()
        self._under_way: set[Ticket] = set()
        self._slow: set[str] = set()
        self._quick: set[str] = set()
        self._is_kept = False
        """Somebody stands at the door and waits for the pace, to let in whose turn it is by then."""
        self._moved = _NEVER
        """When a request began or ended last."""

    def change(self, per_minute: int, slots: int, *, goes_on: bool) -> None:
        """Another pace and other slots. ``goes_on``: for the same server, which has been asked of late."""
        before, self._pace, self._slots = self._pace, Pace(per_minute), slots
        if goes_on:
            self._pace.succeed(before)

    @asynccontextmanager
    async def turn(self, agent: str, urgency: Urgency) -> AsyncIterator[float]:
        """Within it is the turn of a request; gives for how many seconds nothing but the pace held it back."""
        ticket = Ticket(agent, urgency, self._monotonic())
        await self._admitted(ticket)
        try:
            yield ticket.held
        finally:
            self._leave(ticket)

    @property
    def begun(self) -> int:
        """How many requests began within the last 60 seconds."""
        return self._pace.begun(self._monotonic())

    @property
    def paused(self) -> float:
        """For how many seconds from now no request may begin, since the server has said so; 0: they may."""
        return self._pace.paused(self._monotonic())

    def give_back(self) -> None:
        """The turn just had is not used for a request."""
        self._pace.give_back()

    def was_slow(self, agent: str) -> bool:
        """Whether the last request of an agent was."""
        return agent in self._slow

    def has_time(self) -> bool:
        """Whether a request could begin now that makes nobody wait."""
        is_free = not self._lanes and len(self._under_way) < self._slots
        return is_free and self._pace.has_spare(self._monotonic())

    def pause(self, seconds: float) -> None:
        """Lets no request begin for so long, those that wait already included."""
        self._pace.pause(self._monotonic() + seconds)

    def ration(self, remaining: int, seconds: float) -> None:
        """The server allows so many more requests within so many seconds."""
        now = self._monotonic()
        self._pace.ration(remaining, now, now + seconds)

    async def _admitted(self, ticket: Ticket) -> None:
        self._lanes.add(ticket)
        try:
            while not ticket.admitted:
                if self._is_kept or self._lanes.next(self._fits) is None:
                    ticket.called.clear()
                    await ticket.called.wait()
                else:
                    await self._keep_door()
        except BaseException:
            self._lanes.discard(ticket)
            if ticket.admitted:
                self._pace.give_back()
                self._under_way.discard(ticket)
            raise
        finally:
            self._call_next()

    async def _keep_door(self) -> None:
        """Waits until the pace allows a request, and lets in whose turn it is by then."""
        self._is_kept = True
        try:
            while (now := self._monotonic()) < (earliest := self._pace.earliest()):
                await self._sleep(earliest - now)
        finally:
            self._is_kept = False
        ticket = self._lanes.next(self._fits)
        if ticket is None:
            return
        self._lanes.take(ticket)
        self._pace.begin(now)
        ticket.held = now - max(ticket.since, self._moved)
        ticket.since = self._moved = now
        ticket.admitted = True
        self._under_way.add(ticket)
        ticket.called.set()

    def _leave(self, ticket: Ticket) -> None:
        self._moved = self._monotonic()
        self._under_way.discard(ticket)
        is_slow = self._is_slow(ticket)
        (self._slow if is_slow else self._quick).add(ticket.agent)
        (self._quick if is_slow else self._slow).discard(ticket.agent)
        self._call_next()

    def _call_next(self) -> None:
        """Calls somebody to the door, if nobody stands there and it may open."""
        if not self._is_kept and (ticket := self._lanes.next(self._fits)) is not None:
            ticket.called.set()

    def _fits(self, ticket: Ticket) -> bool:
        """Whether a slot is free for it."""
        if len(self._under_way) >= self._slots or not self.was_slow(ticket.agent) or not self._quick:
            return len(self._under_way) < self._slots
        slow = sum(self.was_slow(other.agent) or self._is_slow(other) for other in self._under_way)
        return slow < max(1, self._slots - 1)

    def _is_slow(self, ticket: Ticket) -> bool:
        """Whether a request has taken long, so far."""
        return self._monotonic() - ticket.since >= SLOW
