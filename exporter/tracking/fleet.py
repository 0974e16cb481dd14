"""All agents: which there are, by name or by the list of the platform, and which of them are polled here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from exporter.tracking.log import Log
from exporter.tracking.plan import Plan
from exporter.tracking.polling import Polling, stopped
from exporter.tracking.polls import Outcome
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice, chosen, digest_of
from exporter.tracking.schedule import BARRED, until_next_look
from exporter.tracking.telling import Teller
from exporter.tracking.tracker import Tracker
from exporter.unpod.facts import Agent


class Fleet:
    """Polls all agents until it is cancelled. Whatever breaks in one agent is told, and ends no other.

    ``track`` makes the tracker of an agent, ``listed`` reads the list of agents (raises ``UnpodError``), ``publish``
    shows a report, ``remove`` shows an agent no more. ``now`` gives Unix seconds, ``elapsed`` seconds that never jump.
    ``is_spent`` tells whether the requests that are allowed are used up.

    Alone it polls every agent that the plan wants. Where several share them (``may_ask`` tells whether the platform may
    be asked now), it polls those that it is told to ``hold``, and ``wanted`` are those that it would poll alone.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        track: Callable[[str], Tracker],
        listed: Callable[[], Awaitable[Iterable[Agent]]],
        publish: Callable[[Report], None],
        remove: Callable[[str], None],
        log: Log,
        now: Callable[[], float],
        elapsed: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
        may_ask: Callable[[], bool] | None = None,
        is_spent: Callable[[], bool] | None = None,
    ) -> None:
        self._plan = plan
        self._named = {agent.handle: agent for agent in plan.named}
        self._track = track
        self._listed = listed
        self._log = log
        self._teller = Teller(log, now)
        self._now = now
        self._elapsed = elapsed
        self._sleep = sleep
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._is_alone = may_ask is None
        self.polling: Final = Polling(
            plan,
            publish=publish,
            remove=remove,
            polled=self._polled,
            teller=self._teller,
            log=log,
            now=now,
            elapsed=elapsed,
            sleep=sleep,
            chance=self._chance,
            may_ask=may_ask or _always,
            is_spent=is_spent or _never,
        )
        self.trackers: Final = self.polling.trackers
        """The agents that are polled here."""
        self._changing = asyncio.Lock()
        """Held by whoever stops polls that must not begin meanwhile."""
        self._found: dict[str, Agent | None] = {}
        """The agents that others poll, or may poll, with what the list tells of them."""
        self._dismissed: frozenset[str] = frozenset()
        """Agents that are not wanted, whoever may think so: the list says it, or they have left it."""
        self._gone: frozenset[str] = frozenset()
        """Agents that are listed no more."""
        self._group: asyncio.TaskGroup | None = None
        self._watch: asyncio.Task[None] | None = None
        self._next_look: float | None = None
        """When the list is read again, in seconds of ``elapsed``; None: now."""
        self._first: set[str] = set()
        """The agents of the start: those that are found later keep nobody waiting."""
        self._looked = plan.choice is None
        self._list_failures = 0
        self.notice = ""
        """Why agents, or their names, may be missing here, for people; empty where the list has told them."""

    @property
    def discovers(self) -> bool:
        """Whether agents are looked for in the list."""
        return self._plan.choice is not None

    @property
    def lacks_agents(self) -> bool:
        """Whether discovery could not read the list of agents when it last tried."""
        return self._plan.choice is not None and self._list_failures > 0

    def waits_for(self) -> str | None:
        """Why not every agent of the start has numbers to show, or has been polled, well or badly, in words; None: each
        has."""
        if not self._looked:
            return "the list of agents has not been read yet"
        first = self._first & self.trackers.keys()
        waiting = [handle for handle in first if self.trackers[handle].up is None]
        return f"{len(waiting)} of {len(first)} agents have not been polled yet" if waiting else None

    async def resume(self, stored: Iterable[str]) -> None:
        """Takes up the agents that are named, and of the ``stored`` ones those whose handles discovery would choose,
        and shows what is known of them, before anything is asked of the platform."""
        again = chosen(tuple(self._named), (Agent(handle=handle) for handle in stored), self._by_handle())
        for handle in again:
            await self._welcome(handle)
        self._expect(*self.trackers)

    def _expect(self, *handles: str) -> None:
        self.polling.expect(*handles)
        self.polling.show_well(*handles)

    @property
    def wanted(self) -> Collection[str]:
        """The agents that it would poll alone."""
        return {*self._found, *self.trackers}

    @property
    def wants(self) -> Callable[[str], bool]:
        """Whether an agent is wanted that somebody else has found."""
        choice, named, dismissed = self._by_handle(), self._named, self._dismissed

        def wants(handle: str) -> bool:
            return handle in named or (
                choice is not None and handle not in dismissed and choice.wants(Agent(handle=handle))
            )

        return wants

    @property
    def choice(self) -> str:
        """Stands for which agents the plan wants: the same for all that want the same."""
        return digest_of(self._named, self._plan.choice)

    @property
    def busy(self) -> Collection[str]:
        """The agents that are being polled."""
        return {handle for handle, tracker in self.trackers.items() if tracker.begun is not None}

    async def hold(self, handle: str) -> bool:
        """Polls and shows an agent from now on; not, if it turns out to have left the list."""
        async with self._changing:
            self.polling.unhide(handle)
            await self._take_up(handle, self._found.get(handle))
            if handle not in self.trackers:
                self._dismiss(handle)
                return False
            self._expect(handle)
            self._go_on()
            return True

    def hide(self, handle: str) -> None:
        """Shows an agent no more, from this moment until it is held anew."""
        self.polling.hide(handle)

    async def release(self, handle: str) -> None:
        """Neither polls nor shows an agent any more. A poll under way is abandoned, unless its commit has begun."""
        async with self._changing:
            self.polling.hide(handle)
            await self.polling.stop(handle)
            self.polling.forget(handle)
            self.polling.settle()

    async def run(self) -> None:
        """Polls until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._go_on()
                # However often all tasks are stopped and begun again, the group is there until it is cancelled.
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None
            self._teller.unfold()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing is asked of the platform, and nothing published, within the context.

        A poll under way is abandoned whole, unless its commit has begun, and begins anew afterwards; all others are due
        when they would have been.
        """
        async with self._changing:
            try:
                await stopped(self._watch, *self.polling.loops)
                yield
            finally:
                self._go_on()

    async def replan(self, plan: Plan) -> None:
        """Another plan from now on. Polls under way go on, but those of agents that leave are abandoned whole."""
        async with self._changing:
            await stopped(self._watch)
            try:
                await self._adopt(plan)
            finally:
                self._go_on()

    async def _adopt(self, plan: Plan) -> None:
        before, self._plan = self._plan, plan
        self._named = {agent.handle: agent for agent in plan.named}
        if (plan.choice, plan.list_interval) != (before.choice, before.list_interval):
            self._next_look = None
            self.notice = ""
        if self._named.keys() - {agent.handle for agent in before.named} - self.trackers.keys():
            # The list tells the names of those that are new.
            self._next_look = None
        known = [tracker.identity for tracker in self.trackers.values()]
        for handle in self.trackers.keys() - set(chosen(tuple(self._named), known, self._by_handle())):
            await self._drop(handle)
        self._dismissed = frozenset()
        self._found = {handle: told for handle, told in self._found.items() if self.wants(handle)}
        await self.polling.obey(plan)
        for handle in self._named.keys() - self.trackers.keys():
            await self._welcome(handle)
        self._expect(*self.trackers)

    def retry_failing(self) -> None:
        """Within ``paused``: the agents whose last poll failed, and a list that could not be read, are read as soon as
        the pause ends."""
        self.polling.hurry_failing()
        if self._list_failures:
            self._next_look = None

    async def once(self) -> Mapping[str, Outcome]:
        """Polls every agent once; returns what became of each. ``lacks_agents`` tells whether that is all of them."""
        if self._plan.list_interval is not None:
            await self._look()
        async with asyncio.TaskGroup() as group:
            polls = {handle: group.create_task(self.polling.poll(handle)) for handle in self.trackers}
        await self._let_go_of_those_that_have_left()
        self._teller.unfold()
        return {handle: poll.result() for handle, poll in polls.items()}

    def _by_handle(self) -> Choice | None:
        choice = self._plan.choice
        return None if choice is None else msgspec.structs.replace(choice, types=())

    async def _welcome(self, handle: str, told: Agent | None = None) -> None:
        """An agent is wanted that was not: alone it is polled, otherwise whoever gets hold of it does that."""
        if self._is_alone:
            await self._take_up(handle, told)
        else:
            self._found[handle] = told

    def _dismiss(self, *handles: str) -> None:
        self._dismissed = self._dismissed.union(handles)
        for handle in handles:
            self._found.pop(handle, None)

    async def _take_up(self, handle: str, told: Agent | None = None) -> None:
        tracker = self._track(handle)
        with self.polling.going_on("agent not loaded", handle):
            await tracker.try_load()
        if told is not None:
            tracker.identify(told)
        elif tracker.has_left and handle not in self._named:
            return
        self.polling.take(handle, tracker)
        if not self._looked or self._plan.choice is None:
            self._first.add(handle)

    async def _drop(self, handle: str) -> None:
        """Polls and shows an unwanted agent no more; its state stays."""
        await self.polling.stop(handle)
        if self.polling.forget(handle):
            self._log.info("agent not wanted", agent=handle)

    def _go_on(self) -> None:
        """Begins what should be going on and is not: each agent when it is due, or at once."""
        if self._group is None:
            return
        self.polling.go_on(self._group)
        interval = self._plan.list_interval
        if interval is not None and (self._watch is None or self._watch.done()):
            self._watch = self._group.create_task(self._watch_list(self._group, interval), name="list of agents")

    async def _watch_list(self, group: asyncio.TaskGroup, interval: float) -> None:
        wait = 0.0 if self._next_look is None else self._next_look - self._elapsed()
        if wait > 0:
            await self._sleep(wait)
        while True:
            self._next_look = None
            await self.polling.permitted()
            await self._look()
            self.polling.go_on(group)
            failures = self._list_failures
            wait = until_next_look(failures, interval, self._chance) if failures else interval
            self._next_look = self._elapsed() + wait
            await self._sleep(wait)

    async def _look(self) -> None:
        """Reads the list of agents, drops those that it shows as unwanted, and takes up those that are new.

        A list that cannot be read is told, and changes nothing. So is a defect in obeying it, which ends nothing.
        """
        try:
            await self._heed(tuple(await self._listed()))
            self._list_failures = 0
        except Exception as error:
            self._list_failures += 1
            self.notice = self._teller.not_listed(error)
        self._looked = True

    async def _heed(self, listed: Collection[Agent]) -> None:
        wanted = chosen(tuple(self._named), listed, self._plan.choice)
        told = {agent.handle: agent for agent in listed}
        self._dismissed = frozenset()
        self._dismiss(*(told.keys() - set(wanted)))
        for handle in self.trackers.keys() & told.keys() - set(wanted):
            await self._drop(handle)
        fresh = [handle for handle in wanted if handle not in self.trackers and handle not in self._found]
        self._found = {handle: told.get(handle, before) for handle, before in self._found.items() if handle in wanted}
        renamed = [handle for handle in self.trackers.keys() & told.keys() if self._rename(told[handle])]
        for handle in fresh:
            self._teller.discovered(handle)
            await self._welcome(handle, told.get(handle))
        self._gone = frozenset(self.trackers) - set(wanted)
        await self._let_go_of_those_that_have_left()
        self._expect(*self.trackers.keys() & {*fresh, *renamed})
        self.notice = "" if self.wanted else _NOBODY.format(len(told))

    def _rename(self, told: Agent) -> bool:
        """Takes note of what the list tells of an agent; whether that is new."""
        tracker = self.trackers[told.handle]
        before = tracker.identity
        tracker.identify(told)
        return tracker.identity != before

    def _has_left(self, handle: str) -> bool:
        """Whether an agent that is listed no more has nothing left to tell: all of it is settled, or it can no longer
        be read, and for so long that its gauges are stale."""
        tracker = self.trackers.get(handle)
        if tracker is None or handle not in self._gone or tracker.last is None:
            return False
        if tracker.last.reason in BARRED:
            return tracker.fresh_until is None or tracker.fresh_until < self._now()
        return tracker.last.reason is None and tracker.is_settled

    async def _polled(self, handle: str) -> None:
        if self._has_left(handle):
            await self._let_go(handle)

    async def _let_go_of_those_that_have_left(self) -> None:
        for handle in filter(self._has_left, self._gone & self.trackers.keys()):
            await self.polling.stop(handle)
            # Its own loop may have come first.
            if handle in self.trackers:
                await self._let_go(handle)

    async def _let_go(self, handle: str) -> None:
        """Polls and shows an agent no more that has left; its state stays, and comes back with it."""
        with self.polling.going_on("agent not left", handle):
            await self.trackers[handle].leave()
        if self.polling.forget(handle):
            self._dismiss(handle)
            self._log.info("agent gone", agent=handle)


def _always() -> bool:
    return True


def _never() -> bool:
    return False


_NOBODY: Final = "Discovery wants none of the agents that the platform lists ({})."
