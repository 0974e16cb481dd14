"""When and how agents are polled: a loop for each, that polls it at its time, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from exporter.tracking.lateness import Lateness
from exporter.tracking.log import Log, whereabouts
from exporter.tracking.plan import Plan
from exporter.tracking.polls import Outcome
from exporter.tracking.report import Report
from exporter.tracking.schedule import (
    HEARTBEAT,
    NEEDS_A_PERSON,
    Stretch,
    after_failure,
    left_to_slot,
    next_slot,
)
from exporter.tracking.storage import StateTaken
from exporter.tracking.telling import Teller
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import Unauthorized

_LOOK_AGAIN: Final = 0.5
"""Seconds until it is tried again whether the platform may be asked."""


class Polling:
    """Polls the agents that it is given, and shows what comes of it. Whatever breaks in one of them is told, and ends
    no other.

    ``publish`` shows a report, ``remove`` shows an agent no more, and ``polled`` is called after each poll of a loop.
    ``now`` gives Unix seconds, ``elapsed`` seconds that never jump. ``may_ask`` tells whether the platform may be asked
    now, ``is_spent`` whether the requests that are allowed are used up.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        publish: Callable[[Report], None],
        remove: Callable[[str], None],
        polled: Callable[[str], Awaitable[None]],
        teller: Teller,
        log: Log,
        now: Callable[[], float],
        elapsed: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        chance: random.Random,
        may_ask: Callable[[], bool],
        is_spent: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._named = {agent.handle: agent for agent in plan.named}
        self._publish = publish
        self._remove = remove
        self._polled = polled
        self._teller = teller
        self._log = log
        self._now = now
        self._elapsed = elapsed
        self._sleep = sleep
        self._chance = chance
        self._may_ask = may_ask
        self._is_spent = is_spent
        self._hidden: set[str] = set()
        """Agents that are not shown any more, although they still may be polled for a moment."""
        self._shown: dict[str, Report] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._due: dict[str, float] = {}
        """When each agent that sleeps is polled, in seconds of ``elapsed``: a clock that is set moves no poll."""
        self._stretch = Stretch(plan.requests_per_minute)
        self._lateness = Lateness(elapsed)
        self.trackers: dict[str, Tracker] = {}
        """The agents that are polled."""

    # When

    def due(self, handle: str) -> float | None:
        """When an agent is polled next, in Unix seconds; None: it is being polled, or polls have not begun."""
        due = self._due.get(handle)
        return None if due is None else self._now() + (due - self._elapsed())

    def interval(self, handle: str) -> float:
        """Seconds between two polls of an agent that does well."""
        return self._wished(handle) * self._stretch.factor

    @property
    def stretched_by(self) -> float:
        """By how many seconds the interval of all agents is stretched, since requests do not suffice; 0: they do."""
        return self._plan.interval * (self._stretch.factor - 1.0)

    @property
    def late_by(self) -> float:
        """By how many seconds more the polls of some agent are apart, since they take too long; 0: of none."""
        return self._lateness.worst

    @property
    def lag(self) -> float:
        """By how many seconds the polls of an agent are farther apart than the settings have it, at worst."""
        return self.stretched_by + self.late_by

    def _wished(self, handle: str) -> float:
        named = self._named.get(handle)
        return named.interval if named and named.interval else self._plan.interval

    def _delay(self, handle: str, outcome: Outcome) -> float:
        interval = self.interval(handle)
        if outcome.reason is None:
            return next_slot(handle, interval, self._now(), outcome.seconds)
        return after_failure(outcome.reason, self._teller.failures(handle), interval, self._chance)

    def _learn(self, handle: str, outcome: Outcome) -> None:
        """Takes note of how many requests an agent needs."""
        interval = self._wished(handle)
        if outcome.reason is None and not outcome.first:
            self._stretch.learns(handle, interval, outcome.requests)
        elif outcome.reason in NEEDS_A_PERSON - {Unauthorized.reason}:
            self._stretch.expects(handle, max(interval, HEARTBEAT))
        else:
            self._stretch.expects(handle, interval)
        self.settle()

    def settle(self) -> None:
        """Stretches all intervals as far as need be, and says so when that begins, has doubled, or ends."""
        self._stretch.settle()
        self._teller.stretched(
            self._stretch.factor, self._plan.interval, self._plan.requests_per_minute, self._stretch.needed
        )

    # Who

    def take(self, handle: str, tracker: Tracker) -> None:
        """An agent is to be polled from now on. ``expect`` it, with all others that come with it, and then ``go_on``.

        It will need as many requests as the last time.
        """
        self.trackers[handle] = tracker
        before = tracker.inherited
        if before is not None and before.requests:
            self._stretch.learns(handle, self._wished(handle), before.requests)
        else:
            self._stretch.expects(handle, self._wished(handle))

    def expect(self, *handles: str) -> None:
        """Fits the intervals to all agents, and lets each of these that an earlier process has polled wait for the slot
        that it had there. Who has missed it is polled at once, and how it does is not known until then: other polls may
        have failed meanwhile."""
        self.settle()
        for handle in handles:
            tracker = self.trackers[handle]
            before = tracker.inherited
            if before is None or before.last_success is None or handle in self._due or handle in self._loops:
                continue
            intervals = before.interval, self.interval(handle)
            wait = left_to_slot(handle, intervals, before.last_success, before.seconds, self._now())
            if wait > 0:
                tracker.go_on()
                self._due[handle] = self._elapsed() + wait

    def forget(self, handle: str) -> bool:
        """An agent is polled no more: shows it no more. Whether it was there: it may have left by itself just now."""
        self._stretch.forget(handle)
        self._lateness.forget(handle)
        self._loops.pop(handle, None)
        self._teller.forget(handle)
        self._due.pop(handle, None)
        self._shown.pop(handle, None)
        if self.trackers.pop(handle, None) is None:
            return False
        with self.going_on("agent still shown", handle):
            self._remove(handle)
        return True

    async def obey(self, plan: Plan) -> None:
        """Another plan from now on, for those that are polled."""
        before = {handle: self.interval(handle) for handle in self.trackers}
        self._plan = plan
        self._named = {agent.handle: agent for agent in plan.named}
        self._stretch.per_minute = plan.requests_per_minute
        for handle in self.trackers:
            self._stretch.expects(handle, self._wished(handle))
        self.settle()
        # Meanwhile an agent may leave by itself.
        for handle in tuple(self.trackers):
            await self._reschedule(handle, before[handle])

    async def _reschedule(self, handle: str, before: float) -> None:
        """Lets a sleeping agent sleep no longer than its interval asks for, which was another one before."""
        if self.interval(handle) == before:
            return
        self._lateness.forget(handle)
        if handle in self._due:
            await self.stop(handle)
            last = self.trackers[handle].last
            if last is None:
                self._due.pop(handle, None)
            elif handle in self._due:
                self._due[handle] = min(self._due[handle], self._elapsed() + self._delay(handle, last))

    def allow(self, per_minute: int) -> None:
        """From now on so many requests are allowed."""
        self._plan = msgspec.structs.replace(self._plan, requests_per_minute=per_minute)
        self._stretch.per_minute = per_minute
        self.settle()

    def hurry_failing(self) -> None:
        """While nothing is polled: the agents whose last poll failed are polled as soon as polls go on."""
        for handle in self._teller.failing:
            self._due.pop(handle, None)

    # Polls

    def go_on(self, group: asyncio.TaskGroup) -> None:
        """Begins the loops that should be going on and are not: each agent is polled when it is due, or at once."""
        for handle in self.trackers:
            if handle not in self._loops or self._loops[handle].done():
                due = self._due.get(handle)
                wait = 0.0 if due is None else max(0.0, due - self._elapsed())
                self._loops[handle] = group.create_task(self._follow(handle, wait), name=f"poll {handle}")

    @property
    def loops(self) -> Collection[asyncio.Task[None]]:
        """Those that have begun. Whoever cancels one abandons a poll under way whole, unless its commit has begun."""
        return self._loops.values()

    async def stop(self, handle: str) -> None:
        """Ends the loop of an agent, if there is one."""
        await stopped(self._loops.pop(handle, None))

    async def _follow(self, handle: str, wait: float) -> None:
        if wait:
            await self._sleep(wait)
        while True:
            self._due.pop(handle, None)
            wait = self._plan.interval
            await self.permitted()
            with self.going_on("agent not polled", handle):
                wait = await self._poll_watched(handle)
                await self._polled(handle)
            if handle not in self.trackers:
                return
            self._due[handle] = self._elapsed() + wait
            await self._sleep(wait)

    async def permitted(self) -> None:
        """Returns when the platform may be asked."""
        while not self._may_ask():
            await self._sleep(_LOOK_AGAIN)

    async def _poll_watched(self, handle: str) -> float:
        """Polls an agent, and looks how long that takes; returns seconds to its next poll."""
        if self.trackers[handle].tracked is None:
            # The first reading of a history may take its time.
            return self._delay(handle, await self.poll(handle))
        with self._lateness.watched(handle, self.interval(handle)):
            outcome = await self.poll(handle)
        # What was learned of it may have stretched all intervals: that is no lateness.
        wait, interval = self._delay(handle, outcome), self.interval(handle)
        if outcome.reason is None:
            late = self._lateness.learns(handle, interval, took=outcome.seconds, wait=wait)
            self._teller.paced(handle, outcome, interval, late, is_spent=self._is_spent())
        else:
            self._lateness.forget(handle)
        return wait

    async def poll(self, handle: str) -> Outcome:
        """Polls an agent once, and shows and tells what has become of it."""
        tracker = self.trackers[handle]
        tracker.interval = self.interval(handle)
        tracker.share = self._stretch.share(self._wished(handle))
        outcome = await tracker.poll()
        try:
            # What somebody else has taken is theirs to show; should it be ours all the same, the next poll loads it.
            if not isinstance(outcome.error, StateTaken):
                self.show(handle)
        except Exception as error:
            outcome = tracker.spoil(error)
            self._show_failure(handle)
        self._learn(handle, outcome)
        self._teller.polled(handle, outcome)
        return outcome

    # What is shown

    def show(self, handle: str) -> None:
        """Publishes the numbers of an agent as they are now. Raises what ``publish`` raises."""
        if handle in self._hidden:
            return
        tracker = self.trackers[handle]
        tracker.interval = self.interval(handle)
        report = tracker.report(self._info(handle))
        self._publish(report)
        self._shown[handle] = report

    def show_well(self, *handles: str) -> None:
        """The same of several, whatever is wrong with one of them."""
        for handle in handles:
            with self.going_on("agent not shown", handle):
                self.show(handle)

    def hide(self, handle: str) -> None:
        """Shows an agent no more, from this moment until it may be shown again."""
        self._hidden.add(handle)
        if handle in self.trackers:
            with self.going_on("agent still shown", handle):
                self._remove(handle)

    def unhide(self, handle: str) -> None:
        """An agent may be shown again."""
        self._hidden.discard(handle)

    def _show_failure(self, handle: str) -> None:
        """Publishes that polls fail, beside the numbers that could be shown last."""
        if handle in self._hidden:
            return
        last = self._shown.get(handle, Report(agent=handle, families={}, info=self._info(handle)))
        with self.going_on("agent not shown", handle):
            self._publish(msgspec.structs.replace(last, families={**last.families, **self.trackers[handle].health()}))

    def _info(self, handle: str) -> dict[str, str]:
        agent = self.trackers[handle].identity
        labels = self._named[handle].labels if handle in self._named else ()
        return {"name": agent.name, "agent_type": agent.type, **dict(labels)}

    @contextmanager
    def going_on(self, event: str, handle: str) -> Iterator[None]:
        """Tells a defect of one agent, which must not end the others."""
        try:
            yield
        except Exception as error:
            self._log.error(event, agent=handle, error=whereabouts(error))


async def stopped(*tasks: asyncio.Task[None] | None) -> None:
    """Cancels tasks, and waits until they are gone."""
    going = [task for task in tasks if task is not None and not task.done()]
    for task in going:
        task.cancel()
    if going:
        await asyncio.wait(going)
