"""All agents: which there are, and a loop for each that polls it at its time, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import msgspec

from exporter.tracking.lateness import Lateness
from exporter.tracking.log import Log, whereabouts
from exporter.tracking.plan import Plan
from exporter.tracking.polls import Outcome
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice, chosen, digest_of
from exporter.tracking.schedule import (
    BARRED,
    HEARTBEAT,
    NEEDS_A_PERSON,
    Stretch,
    after_failure,
    left_to_slot,
    next_slot,
    until_next_look,
)
from exporter.tracking.storage import StateTaken
from exporter.tracking.telling import Teller
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import Unauthorized
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
        self._publish = publish
        self._remove = remove
        self._log = log
        self._teller = Teller(log, now)
        self._now = now
        self._elapsed = elapsed
        self._sleep = sleep
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._is_alone = may_ask is None
        self._may_ask = may_ask or _always
        self._is_spent = is_spent or _never
        self._changing = asyncio.Lock()
        """Held by whoever stops polls that must not begin meanwhile."""
        self._found: dict[str, Agent | None] = {}
        """The agents that others poll, or may poll, with what the list tells of them."""
        self._dismissed: frozenset[str] = frozenset()
        """Agents that are not wanted, whoever may think so: the list says it, or they have left it."""
        self._hidden: set[str] = set()
        """Agents that are not shown any more, although they still may be polled for a moment."""
        self._shown: dict[str, Report] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._due: dict[str, float] = {}
        """When each agent that sleeps is polled, in seconds of ``elapsed``: a clock that is set moves no poll."""
        self._stretch = Stretch(plan.requests_per_minute)
        self._lateness = Lateness(elapsed)
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
        self.trackers: dict[str, Tracker] = {}

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

    async def resume(self, stored: Iterable[str]) -> None:
        """Takes up the agents that are named, and of the ``stored`` ones those whose handles discovery would choose,
        and shows what is known of them, before anything is asked of the platform."""
        again = chosen(tuple(self._named), (Agent(handle=handle) for handle in stored), self._by_handle())
        for handle in again:
            await self._welcome(handle)
        self._settle()
        self._keep_slots(*self.trackers)
        self._show_all()

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
            self._hidden.discard(handle)
            await self._take_up(handle, self._found.get(handle))
            if handle not in self.trackers:
                self._dismiss(handle)
                return False
            self._settle()
            self._keep_slots(handle)
            with self._going_on("agent not shown", handle):
                self.show(handle)
            self._go_on()
            return True

    def hide(self, handle: str) -> None:
        """Shows an agent no more, from this moment until it is held anew."""
        self._hidden.add(handle)
        if handle in self.trackers:
            with self._going_on("agent still shown", handle):
                self._remove(handle)

    async def release(self, handle: str) -> None:
        """Neither polls nor shows an agent any more. A poll under way is abandoned, unless its commit has begun."""
        async with self._changing:
            self.hide(handle)
            await self._stop(self._loops.pop(handle, None))
            self._forget(handle)
            self._settle()

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
                await self._stop(self._watch, *self._loops.values())
                yield
            finally:
                self._go_on()

    async def replan(self, plan: Plan) -> None:
        """Another plan from now on. Polls under way go on, but those of agents that leave are abandoned whole."""
        async with self._changing:
            await self._stop(self._watch)
            try:
                await self._adopt(plan)
            finally:
                self._go_on()

    async def _adopt(self, plan: Plan) -> None:
        before, intervals = self._plan, {handle: self.interval(handle) for handle in self.trackers}
        self._plan = plan
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
        self._stretch.per_minute = plan.requests_per_minute
        for handle in self.trackers:
            self._stretch.expects(handle, self._wished(handle))
        self._settle()
        # Meanwhile an agent may leave by itself.
        for handle in tuple(self.trackers):
            await self._reschedule(handle, intervals[handle])
        for handle in self._named.keys() - self.trackers.keys():
            await self._welcome(handle)
        self._settle()
        self._keep_slots(*self.trackers)
        self._show_all()

    def allow(self, per_minute: int) -> None:
        """From now on so many requests are allowed."""
        self._plan = msgspec.structs.replace(self._plan, requests_per_minute=per_minute)
        self._stretch.per_minute = per_minute
        self._settle()

    def retry_failing(self) -> None:
        """Within ``paused``: the agents whose last poll failed, and a list that could not be read, are read as soon as
        the pause ends."""
        for handle in self._teller.failing:
            self._due.pop(handle, None)
        if self._list_failures:
            self._next_look = None

    async def once(self) -> Mapping[str, Outcome]:
        """Polls every agent once; returns what became of each. ``lacks_agents`` tells whether that is all of them."""
        if self._plan.list_interval is not None:
            await self._look()
        async with asyncio.TaskGroup() as group:
            polls = {handle: group.create_task(self._poll(handle)) for handle in self.trackers}
        await self._let_go_of_those_that_have_left()
        self._teller.unfold()
        return {handle: poll.result() for handle, poll in polls.items()}

    def show(self, handle: str) -> None:
        """Publishes the numbers of an agent as they are now. Raises what ``publish`` raises."""
        if handle in self._hidden:
            return
        tracker = self.trackers[handle]
        tracker.interval = self.interval(handle)
        report = tracker.report(self._info(handle))
        self._publish(report)
        self._shown[handle] = report

    def _show_all(self) -> None:
        for handle in self.trackers:
            with self._going_on("agent not shown", handle):
                self.show(handle)

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
        with self._going_on("agent not loaded", handle):
            await tracker.try_load()
        if told is not None:
            tracker.identify(told)
        elif tracker.has_left and handle not in self._named:
            return
        self.trackers[handle] = tracker
        self._foresee(handle)
        if not self._looked or self._plan.choice is None:
            self._first.add(handle)

    async def _drop(self, handle: str) -> None:
        """Polls and shows an unwanted agent no more; its state stays."""
        await self._stop(self._loops.pop(handle, None))
        if self._forget(handle):
            self._log.info("agent not wanted", agent=handle)

    def _forget(self, handle: str) -> bool:
        """Shows an agent no more. Whether it was there: it may have left by itself just now."""
        self._stretch.forget(handle)
        self._lateness.forget(handle)
        self._loops.pop(handle, None)
        self._teller.forget(handle)
        self._due.pop(handle, None)
        self._shown.pop(handle, None)
        if self.trackers.pop(handle, None) is None:
            return False
        with self._going_on("agent still shown", handle):
            self._remove(handle)
        return True

    @contextmanager
    def _going_on(self, event: str, handle: str) -> Iterator[None]:
        """Tells a defect of one agent, which must not end the others."""
        try:
            yield
        except Exception as error:
            self._log.error(event, agent=handle, error=whereabouts(error))

    def _go_on(self) -> None:
        """Begins what should be going on and is not: each agent when it is due, or at once."""
        if self._group is None:
            return
        self._follow_all(self._group)
        interval = self._plan.list_interval
        if interval is not None and (self._watch is None or self._watch.done()):
            self._watch = self._group.create_task(self._watch_list(self._group, interval), name="list of agents")

    def _follow_all(self, group: asyncio.TaskGroup) -> None:
        for handle in self.trackers:
            if handle not in self._loops or self._loops[handle].done():
                wait = self._until(self._due.get(handle))
                self._loops[handle] = group.create_task(self._follow(handle, wait), name=f"poll {handle}")

    async def _reschedule(self, handle: str, before: float) -> None:
        """Lets a sleeping agent sleep no longer than its interval asks for, which was another one before."""
        if self.interval(handle) == before:
            return
        self._lateness.forget(handle)
        if handle in self._due:
            await self._stop(self._loops.pop(handle, None))
            last = self.trackers[handle].last
            if last is None:
                self._due.pop(handle, None)
            elif handle in self._due:
                self._due[handle] = min(self._due[handle], self._elapsed() + self._delay(handle, last))

    async def _stop(self, *tasks: asyncio.Task[None] | None) -> None:
        """Cancels tasks, and waits until they are gone."""
        going = [task for task in tasks if task is not None and not task.done()]
        for task in going:
            task.cancel()
        if going:
            await asyncio.wait(going)

    def _until(self, moment: float | None) -> float:
        return 0.0 if moment is None else max(0.0, moment - self._elapsed())

    async def _watch_list(self, group: asyncio.TaskGroup, interval: float) -> None:
        if wait := self._until(self._next_look):
            await self._sleep(wait)
        while True:
            self._next_look = None
            await self._permitted()
            await self._look()
            self._follow_all(group)
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
        for handle in self.trackers.keys() & told.keys():
            self.trackers[handle].identify(told[handle])
        for handle in fresh:
            self._teller.discovered(handle)
            await self._welcome(handle, told.get(handle))
        self._gone = frozenset(self.trackers) - set(wanted)
        await self._let_go_of_those_that_have_left()
        self._settle()
        self._keep_slots(*self.trackers)
        self._show_all()
        self.notice = "" if self.wanted else _NOBODY.format(len(told))

    async def _follow(self, handle: str, wait: float) -> None:
        if wait:
            await self._sleep(wait)
        while True:
            self._due.pop(handle, None)
            wait = self._plan.interval
            await self._permitted()
            with self._going_on("agent not polled", handle):
                wait = await self._poll_watched(handle)
                if self._has_left(handle):
                    await self._let_go(handle)
            if handle not in self.trackers:
                return
            self._due[handle] = self._elapsed() + wait
            await self._sleep(wait)

    async def _permitted(self) -> None:
        """Returns when the platform may be asked."""
        while not self._may_ask():
            await self._sleep(_LOOK_AGAIN)

    async def _poll_watched(self, handle: str) -> float:
        """Polls an agent, and looks how long that takes; returns seconds to its next poll."""
        interval = self.interval(handle)
        if self.trackers[handle].tracked is None:
            # The first reading of a history may take its time.
            return self._delay(handle, await self._poll(handle))
        with self._lateness.watched(handle, interval):
            outcome = await self._poll(handle)
        wait = self._delay(handle, outcome)
        if outcome.reason is None:
            late = self._lateness.learns(handle, interval, took=outcome.seconds, wait=wait)
            self._teller.paced(handle, outcome, interval, late, is_spent=self._is_spent())
        else:
            self._lateness.forget(handle)
        return wait

    async def _poll(self, handle: str) -> Outcome:
        tracker = self.trackers[handle]
        tracker.interval = self.interval(handle)
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

    def _foresee(self, handle: str) -> None:
        """Takes note of how many requests an agent that is taken up will need: as many as the last time."""
        before = self.trackers[handle].inherited
        if before is not None and before.requests:
            self._stretch.learns(handle, self._wished(handle), before.requests)
        else:
            self._stretch.expects(handle, self._wished(handle))

    def _keep_slots(self, *handles: str) -> None:
        """Lets each agent that an earlier process has polled wait for the slot that it had there. Who has missed it is
        polled at once, and how it does is not known until then: other polls may have failed meanwhile."""
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

    def _learn(self, handle: str, outcome: Outcome) -> None:
        """Takes note of how many requests an agent needs."""
        interval = self._wished(handle)
        if outcome.reason is None and not outcome.first:
            self._stretch.learns(handle, interval, outcome.requests)
        elif outcome.reason in NEEDS_A_PERSON - {Unauthorized.reason}:
            self._stretch.expects(handle, max(interval, HEARTBEAT))
        else:
            self._stretch.expects(handle, interval)
        self._settle()

    def _settle(self) -> None:
        """Stretches all intervals as far as need be, and says so when that begins, has doubled, or ends."""
        self._stretch.settle()
        self._teller.stretched(
            self._stretch.factor, self._plan.interval, self._plan.requests_per_minute, self._stretch.needed
        )

    def _has_left(self, handle: str) -> bool:
        """Whether an agent that is listed no more has nothing left to tell: all of it is settled, or it can no longer
        be read, and for so long that its gauges are stale."""
        tracker = self.trackers.get(handle)
        if tracker is None or handle not in self._gone or tracker.last is None:
            return False
        if tracker.last.reason in BARRED:
            return tracker.fresh_until is None or tracker.fresh_until < self._now()
        return tracker.last.reason is None and tracker.is_settled

    async def _let_go_of_those_that_have_left(self) -> None:
        for handle in filter(self._has_left, self._gone & self.trackers.keys()):
            await self._stop(self._loops.pop(handle, None))
            # Its own loop may have come first.
            if handle in self.trackers:
                await self._let_go(handle)

    async def _let_go(self, handle: str) -> None:
        """Polls and shows an agent no more that has left; its state stays, and comes back with it."""
        with self._going_on("agent not left", handle):
            await self.trackers[handle].leave()
        if self._forget(handle):
            self._dismiss(handle)
            self._log.info("agent gone", agent=handle)

    def _show_failure(self, handle: str) -> None:
        """Publishes that polls fail, beside the numbers that could be shown last."""
        if handle in self._hidden:
            return
        last = self._shown.get(handle, Report(agent=handle, families={}, info=self._info(handle)))
        with self._going_on("agent not shown", handle):
            self._publish(msgspec.structs.replace(last, families={**last.families, **self.trackers[handle].health()}))

    def _delay(self, handle: str, outcome: Outcome) -> float:
        interval = self.interval(handle)
        if outcome.reason is None:
            return next_slot(handle, interval, self._now(), outcome.seconds)
        return after_failure(outcome.reason, self._teller.failures(handle), interval, self._chance)

    def _info(self, handle: str) -> dict[str, str]:
        agent = self.trackers[handle].identity
        labels = self._named[handle].labels if handle in self._named else ()
        return {"name": agent.name, "agent_type": agent.type, **dict(labels)}


def _always() -> bool:
    return True


def _never() -> bool:
    return False


_LOOK_AGAIN: Final = 0.5
"""Seconds until it is tried again whether the platform may be asked."""
_NOBODY: Final = "Discovery wants none of the agents that the platform lists ({})."
