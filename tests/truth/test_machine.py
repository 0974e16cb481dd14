"""The truth test as a state machine: whatever happens to tasks, and whenever they are polled, the numbers are true.

A story that is not true shrinks to the few steps that it needs; each step is named after what happens.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.strategies import SearchStrategy

from exporter.tracking.rules import Rules
from exporter.tracking.tracker import Outcome
from exporter.unpod.client import Client, Settings, StaticToken
from tests.truth.harness import LIMITS, TOKEN, Bench, Clock, nothing
from tests.truth.oracle import SKEW
from tests.truth.scripted import AGENT, FAILURES, FAULTS, NAMES, WAITING, Call, Platform, Task, serve

Told = dict[str, Any]
Happening = Callable[..., None]

STAGES = ("dispatched", "live", "stub", "left", "full", "judged")
"""Of a record; none goes back."""
TOLD = st.sampled_from(["id and start", "start", "id"])
REQUEST = st.integers(1, 3)


@dataclass(frozen=True)
class Step:
    """Something that can happen in a story: to a task with one of these statuses (none: to a name that no task has
    yet), or, where that is None, to the exporter."""

    happens: Happening
    statuses: tuple[str, ...] | None
    told: Mapping[str, SearchStrategy[Any]]

    def may(self, story: Story) -> bool:
        """Whether it can happen now, and would tell something new."""
        if self.statuses is None:
            return self.happens.__name__ not in story.since_news
        return bool(story.named(*self.statuses))


@dataclass(frozen=True)
class Event:
    """A step, as a story tells it."""

    step: Step
    task: str | None
    told: Told

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.told.items())
        return f"{self.task or 'exporter'}.{self.step.happens.__name__}({told})"


def on(*statuses: str, **told: SearchStrategy[Any]) -> Callable[[Happening], Happening]:
    """Something that happens to a task."""
    return _step(statuses, told)


def after_news(**told: SearchStrategy[Any]) -> Callable[[Happening], Happening]:
    """Something that the exporter does, or time, once after something has happened to a task."""
    return _step(None, told)


def _step(statuses: tuple[str, ...] | None, told: Told) -> Callable[[Happening], Happening]:
    def decorated(happens: Happening) -> Happening:
        happens.step = Step(happens, statuses, told)
        return happens

    return decorated


def events(story: Story) -> SearchStrategy[Event]:
    """What can happen next. Filtered from lists that stay the same, so that what is left of a story when it shrinks
    keeps its meaning; and not as rules with preconditions, which end most stories before anything happens."""

    def of(step: Step) -> SearchStrategy[Event]:
        fit = None if step.statuses is None else story.named(*step.statuses)
        named = st.none() if fit is None else st.sampled_from(NAMES).filter(fit.__contains__)
        return st.builds(Event, st.just(step), named, st.fixed_dictionaries(dict(step.told)))

    return st.sampled_from(STEPS).filter(lambda step: step.may(story)).flatmap(of)


class Story(RuleBasedStateMachine):
    """A platform with a few tasks, and an exporter that polls it. Whatever happens takes a second."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.clock = Clock()
        self.platform = Platform(self.clock)
        self.since_news: set[str] = set()
        self.calls = 0
        self.lives = 0
        self.bench: Bench

    @initialize(
        page_size=st.sampled_from([200, 1, 2]),
        backfill=st.sampled_from([math.inf, 0.0]),
        reconcile_interval=st.sampled_from([1e-6, 3600.0]),
    )
    def begin(self, **rules: float) -> None:
        self.loop.run_until_complete(self._begin(Rules(limits=LIMITS, **rules)))

    async def _begin(self, rules: Rules) -> None:
        url = await self.stack.enter_async_context(serve(self.platform))
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        client = Client(
            Settings(base_url=url, requests_per_minute=10**6),
            StaticToken(TOKEN),
            clock=self.clock,
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )
        await self.stack.enter_async_context(client)
        self.bench = Bench(self.platform, self.clock, client, self.directory / "state-0.db", rules)
        await self.bench.start()

    def teardown(self) -> None:
        self.loop.run_until_complete(self._end())
        self.loop.close()

    async def _end(self) -> None:
        if hasattr(self, "bench"):
            await self.bench.stop()
        await self.stack.aclose()

    @rule(event=st.runner().flatmap(events))
    def then(self, event: Event) -> None:
        if event.task is None:
            self.since_news.add(event.step.happens.__name__)
            event.step.happens(self, **event.told)
            return
        self.clock.now += 1
        self.since_news.clear()
        event.step.happens(self, self.platform.tasks.get(event.task, event.task), **event.told)

    def named(self, *statuses: str) -> list[str]:
        """The tasks that have one of these statuses; without statuses: the names that no task has yet."""
        tasks = self.platform.tasks
        return [name for name in NAMES if (tasks[name].status in statuses if name in tasks else not statuses)]

    def _changed(self, task: Task, status: str, *, stamped: bool = False) -> None:
        task.status = status
        if stamped:
            task.changed = self.clock()
        self.platform.changed(task)

    # Tasks arrive

    @on(kind=st.sampled_from(["call", "call", "call", "email"]), status=st.sampled_from(WAITING))
    def arrives(self, task: str, kind: str, status: str) -> None:
        due = self.clock() + 100 if status == "scheduled" else None
        self.platform.add(Task(task, self.clock(), status, kind=kind, scheduled=due))

    @on()
    def arrives_with_a_twin(self, task: str) -> None:
        for name in (task, *[other for other in self.named() if other != task][:1]):
            self.platform.add(Task(name, self.clock(), "pending"))

    @on(told=TOLD, stage=st.sampled_from(["full", "stub"]))
    def is_logged_after_an_inbound_call(self, task: str, told: str, stage: str) -> None:
        call = self._dialled(told)
        self.clock.now += 8
        call = replace(call, end=self.clock() - 1)
        self.platform.add(Task(task, self.clock(), "completed", call=call, output=(call, stage)))

    def _dialled(self, told: str) -> Call:
        self.calls += 1
        # Only a call that nobody has answered has no times.
        return Call(self.calls, told, self.clock(), answered=told != "id")

    # They wait and are worked on

    @on(*WAITING, stamped=st.booleans())
    def is_dispatched(self, task: Task, stamped: bool) -> None:
        self._changed(task, "processing", stamped=stamped)

    @on(
        *WAITING,
        "processing",
        told=TOLD,
        shows=st.sampled_from(["nothing new", "dispatched", "live"]),
        stamped=st.booleans(),
    )
    def is_dialled(self, task: Task, told: str, shows: str, stamped: bool) -> None:
        if task.kind == "call":
            task.call = self._dialled(told)
            if shows != "nothing new":
                task.show(shows)
        self._changed(task, "in_progress", stamped=stamped)

    @on("in_progress")
    def call_is_live(self, task: Task) -> None:
        task.show("live")
        self._changed(task, "in_progress")

    # Calls end

    def _hang_up(self, task: Task) -> None:
        if task.call is not None:
            task.call = replace(task.call, end=self.clock())

    @on("in_progress", stage=st.sampled_from(["full", "stub"]), resets=st.booleans())
    def completes(self, task: Task, stage: str, resets: bool) -> None:
        self._hang_up(task)
        task.show(stage)
        if resets:
            task.retry_attempt = 0
        self._changed(task, "completed")

    @on("in_progress", status=st.sampled_from(["pending", "scheduled"]))
    def is_retried(self, task: Task, status: str) -> None:
        self._hang_up(task)
        task.show("left")
        task.retry_attempt += 1
        if status == "scheduled":
            task.scheduled = self.clock() + 100
        self._changed(task, status)

    @on("in_progress", why=st.sampled_from(list(FAILURES)), shows=st.sampled_from(["left", "nothing"]))
    def fails(self, task: Task, why: str | None, shows: str) -> None:
        self._hang_up(task)
        if shows == "left":
            task.show("left")
        else:
            task.output = None
        self._fail(task, why)

    @on("processing", why=st.sampled_from(list(FAILURES)))
    def fails_before_it_is_dialled(self, task: Task, why: str | None) -> None:
        self._fail(task, why)

    def _fail(self, task: Task, why: str | None) -> None:
        task.failure_count += 1
        task.failure = why
        self._changed(task, "failed")

    # And go on

    def _enrich(self, task: Task, stage: str) -> None:
        if task.output and STAGES.index(stage) > STAGES.index(task.output[1]):
            task.output = (task.output[0], stage)

    @on("completed", stage=st.sampled_from(["full", "judged"]))
    def record_is_enriched(self, task: Task, stage: str) -> None:
        self._enrich(task, stage)
        self._changed(task, "completed")

    @on("completed")
    def is_redialled(self, task: Task) -> None:
        # Of a stub, or of a call that begins while the clocks may still differ, no reader can tell which call it is of.
        self.clock.now += SKEW + 1
        self._enrich(task, "full")
        task.scheduled = self.clock() + 100
        self._changed(task, "scheduled")

    @on("failed", clears=st.booleans())
    def run_is_restarted(self, task: Task, clears: bool) -> None:
        task.retry_attempt = 0
        if clears:
            task.output = None
        self._changed(task, "pending")

    @on("failed", stage=st.sampled_from(["left", "full"]))
    def turns_out_to_have_succeeded(self, task: Task, stage: str) -> None:
        self._enrich(task, stage)
        self._changed(task, "completed")

    @after_news(seconds=st.sampled_from([10, 200, 10_000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    # The exporter

    @after_news()
    def poll(self) -> None:
        self._poll_well()

    @after_news()
    def poll_when_all_has_settled(self) -> None:
        self.clock.now += 700
        self._poll_well()

    @after_news(request=REQUEST, fault=st.sampled_from(list(FAULTS)))
    def poll_that_fails(self, request: int, fault: str) -> None:
        struck = False

        async def strike(number: int) -> None:
            nonlocal struck
            if number == request:
                self.platform.fault, struck = fault, True

        failed = self._poll(strike).error is not None
        # After a first answer the platform is asked again where it may only have stumbled.
        assert failed == struck or (struck and request > 1)
        self.bench.check(AGENT)

    @on(request=REQUEST)
    def poll_while_it_arrives(self, task: str, request: int) -> None:
        async def arrive(number: int) -> None:
            if number == request:
                self.clock.now += 1
                self.platform.add(Task(task, self.clock(), "pending"))

        self._poll_well(arrive)

    @after_news(request=REQUEST)
    def poll_that_is_killed(self, request: int) -> None:
        async def kill(number: int) -> None:
            if number == request:
                raise asyncio.CancelledError

        with suppress(asyncio.CancelledError):
            self._poll(kill)
        self.lives += 1
        self.loop.run_until_complete(self.bench.die(self.directory / f"state-{self.lives}.db"))
        self.bench.check(AGENT)

    @after_news()
    def process_is_restarted(self) -> None:
        self.loop.run_until_complete(self._restart())
        self.bench.check(AGENT)

    async def _restart(self) -> None:
        await self.bench.stop()
        await self.bench.start()

    def _poll(self, before: Callable[[int], Awaitable[None]] = nothing) -> Outcome:
        self.clock.now += 1
        self.bench.before = before
        return self.loop.run_until_complete(self.bench.poll(AGENT))

    def _poll_well(self, before: Callable[[int], Awaitable[None]] = nothing) -> None:
        assert self._poll(before).error is None
        self.bench.check(AGENT)


STEPS = tuple(happens.step for happens in vars(Story).values() if hasattr(happens, "step"))


class TestStory(Story.TestCase):
    settings = settings(
        max_examples=200,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
