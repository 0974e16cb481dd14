"""All agents: which there are, and a loop for each that polls it at its time, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from exporter.tracking.report import Report
from exporter.tracking.roster import Choice, chosen
from exporter.tracking.schedule import after_failure, next_slot
from exporter.tracking.tracker import Outcome, Tracker
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Agent


class Log(Protocol):
    """A structured logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that the operator has named."""

    handle: str
    interval: float | None = None
    """Seconds; None: that of all."""
    labels: tuple[tuple[str, str], ...] = ()
    """More labels for ``agent_info``."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which agents are polled, and how often."""

    interval: float = 60.0
    """Seconds."""
    named: tuple[Named, ...] = ()
    choice: Choice | None = None
    """Which of the listed agents are polled as well; None: none of them."""
    list_interval: float | None = 600.0
    """Seconds between two looks at the list of agents, which also tells their names; None: it is never read."""


class Fleet:
    """Polls all agents until it is cancelled.

    ``track`` makes the tracker of an agent, ``listed`` reads the list of agents (raises ``UnpodError``), ``publish``
    shows a report.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        track: Callable[[str], Tracker],
        listed: Callable[[], Awaitable[Iterable[Agent]]],
        publish: Callable[[Report], None],
        log: Log,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._plan = plan
        self._named = {agent.handle: agent for agent in plan.named}
        self._track = track
        self._listed = listed
        self._publish = publish
        self._log = log
        self._now = now
        self._sleep = sleep
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._known: dict[str, Agent] = {}
        self._failures: dict[str, int] = {}
        self._looked = plan.choice is None
        self.trackers: dict[str, Tracker] = {}

    def waits_for(self) -> str | None:
        """Why not every agent has been polled yet, in words; None: each has, well or badly."""
        if not self._looked:
            return "the list of agents has not been read yet"
        waiting = [handle for handle, tracker in self.trackers.items() if tracker.last is None]
        if not waiting:
            return None
        return f"{len(waiting)} of {len(self.trackers)} agents have not been polled yet"

    async def resume(self, stored: Iterable[str]) -> None:
        """Takes up the agents that are named, and of the ``stored`` ones those that discovery would choose, and shows
        what is known of them, before anything is asked of the platform."""
        again = chosen(tuple(self._named), (Agent(handle=handle) for handle in stored), self._by_handle())
        for handle in again:
            await self._take_up(handle)

    async def run(self) -> None:
        """Polls until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for handle in list(self.trackers):
                group.create_task(self._follow(handle), name=f"poll {handle}")
            if self._plan.list_interval is not None:
                group.create_task(self._watch_list(group, self._plan.list_interval), name="list of agents")

    async def once(self) -> Mapping[str, Outcome]:
        """Polls every agent once; returns what became of each. Raises ``UnpodError`` where the list cannot be read
        although discovery needs it."""
        if self._plan.list_interval is not None:
            try:
                await self._look()
            except UnpodError:
                if self._plan.choice is not None:
                    raise
        async with asyncio.TaskGroup() as group:
            polls = {handle: group.create_task(self._poll(handle)) for handle in self.trackers}
        return {handle: poll.result() for handle, poll in polls.items()}

    def show(self, handle: str) -> None:
        """Publishes the numbers of an agent as they are now."""
        self._publish(self.trackers[handle].report(self._info(handle)))

    def name_of(self, handle: str) -> str:
        """The name of an agent, as far as known."""
        return self._known[handle].name if handle in self._known else ""

    def _by_handle(self) -> Choice | None:
        choice = self._plan.choice
        return None if choice is None else msgspec.structs.replace(choice, types=())

    async def _take_up(self, handle: str) -> None:
        tracker = self._track(handle)
        self.trackers[handle] = tracker
        await tracker.try_load()
        self.show(handle)

    async def _watch_list(self, group: asyncio.TaskGroup, interval: float) -> None:
        while True:
            try:
                for handle in await self._look():
                    group.create_task(self._follow(handle), name=f"poll {handle}")
            except UnpodError as error:
                self._log.warning("list of agents not read", reason=error.reason, error=str(error))
            self._looked = True
            await self._sleep(interval)

    async def _look(self) -> list[str]:
        """Reads the list of agents; returns the handles that are new."""
        listed = tuple(await self._listed())
        self._known |= {agent.handle: agent for agent in listed}
        fresh = [handle for handle in chosen((), listed, self._plan.choice) if handle not in self.trackers]
        for handle in fresh:
            self._log.info("agent discovered", agent=handle)
            await self._take_up(handle)
        for handle in self.trackers:
            self.show(handle)
        self._looked = True
        return fresh

    async def _follow(self, handle: str) -> None:
        while True:
            outcome = await self._poll(handle)
            await self._sleep(self._delay(handle, outcome))

    async def _poll(self, handle: str) -> Outcome:
        outcome = await self.trackers[handle].poll()
        self.show(handle)
        self._tell(handle, outcome)
        return outcome

    def _delay(self, handle: str, outcome: Outcome) -> float:
        named = self._named.get(handle)
        interval = named.interval if named and named.interval else self._plan.interval
        if outcome.reason is None:
            return next_slot(handle, interval, self._now())
        return after_failure(outcome.reason, self._failures[handle], interval, self._chance)

    def _tell(self, handle: str, outcome: Outcome) -> None:
        """Says what has become of a poll: what changed at info, a failure once and its end."""
        failures = self._failures.get(handle, 0)
        if outcome.reason is not None:
            self._failures[handle] = failures + 1
            self._tell_failure(handle, outcome, failures + 1)
            return
        self._failures[handle] = 0
        if failures:
            self._log.info("agent works again", agent=handle, failures=failures)
        told = {"agent": handle, "tasks": outcome.tasks, "pages": outcome.pages, "seconds": round(outcome.seconds, 3)}
        news = {word: outcome.changes[family] for word, family in _NEWS.items() if outcome.changes.get(family)}
        if outcome.first:
            self._log.info("history read", **told, **news)
        elif news:
            self._log.info("agent polled", **told, **news)
        else:
            self._log.debug("agent polled", **told)

    def _tell_failure(self, handle: str, outcome: Outcome, failures: int) -> None:
        told = {"agent": handle, "reason": outcome.reason, "failures": failures}
        if outcome.error is not None and outcome.is_defect:
            # Not its message: that may hold a piece of an answer.
            self._log.error("poll failed by a defect", **told, error=_whereabouts(outcome.error))
        elif failures == 1:
            self._log.warning("poll failed", **told, error=outcome.error_in_words)
        else:
            self._log.debug("poll failed again", **told)

    def _info(self, handle: str) -> dict[str, str]:
        agent = self._known.get(handle, Agent(handle=handle))
        labels = self._named[handle].labels if handle in self._named else ()
        return {"name": agent.name, "agent_type": agent.type, **dict(labels)}


_NEWS = {
    "new": "tasks_created",
    "transitions": "task_transitions",
    "calls": "calls",
    "retries": "task_retries",
    "failures": "task_failures",
}
"""Words of a log line, and the counted families behind them."""


def _whereabouts(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join([type(error).__name__, *(f"{Path(at.filename).name}:{at.lineno}" for at in reversed(frames))])
