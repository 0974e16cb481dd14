"""The truth test as a state machine: whatever happens to tasks, and whenever they are polled, the numbers are true.

A failing story shrinks to the few steps that it needs; each step is a rule, named after what happens.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from exporter.tracking.tracker import Rules
from exporter.unpod.client import Client, Settings, StaticToken
from tests.truth.harness import LIMITS, TOKEN, Bench, Clock, nothing
from tests.truth.scripted import AGENT, FAILURES, FAULTS, NAMES, Call, Platform, Task, serve

TOLD = st.sampled_from(["id and start", "start", "id"])
STAGES = ("dispatched", "live", "stub", "left", "full", "judged")
"""Of a record; none goes back."""
REQUEST = st.integers(1, 3)


def one(*statuses: str) -> Any:
    """A task that has one of these statuses; none: a name that no task has yet."""
    return st.runner().flatmap(lambda machine: st.sampled_from(NAMES).filter(machine.named(*statuses).__contains__))


def some(*statuses: str) -> Any:
    """Only where there is such a task, or such a name."""
    return precondition(lambda machine: bool(machine.named(*statuses)))


class Story(RuleBasedStateMachine):
    """Every step takes a second."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.clock = Clock()
        self.platform = Platform(self.clock)
        self.calls = 0
        self.lives = 0
        self.bench: Bench

    @initialize(page_size=st.sampled_from([200, 1, 2, 3]), backfill=st.sampled_from([math.inf, 0.0]))
    def begin(self, page_size: int, backfill: float) -> None:
        self.loop.run_until_complete(self._begin(Rules(limits=LIMITS, page_size=page_size, backfill=backfill)))

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

    def named(self, *statuses: str) -> list[str]:
        found = {task.name: task.status for task in self.platform.tasks.values()}
        return [name for name in NAMES if (found[name] in statuses if name in found else not statuses)]

    def _a_moment_later(self, name: str) -> Task:
        self.clock.now += 1
        return self.platform.tasks[name]

    def _changed(self, task: Task, status: str, *, stamped: bool = False) -> None:
        task.status = status
        if stamped:
            task.changed = self.clock()
        self.platform.changed(task)

    def _arrives(self, task: str, **more: Any) -> None:
        self.platform.add(Task(name=task, created=self.clock(), **more))

    # Tasks arrive

    @some()
    @rule(task=one(), kind=st.sampled_from(["call", "email"]), due_in=st.sampled_from([None, 100, 5000]))
    def arrives(self, task: str, kind: str, due_in: int | None) -> None:
        self.clock.now += 1
        scheduled = None if due_in is None else self.clock() + due_in
        self._arrives(task, kind=kind, status="pending" if due_in is None else "scheduled", scheduled=scheduled)

    @some()
    @rule(task=one())
    def arrives_at_the_same_moment(self, task: str) -> None:
        self._arrives(task, status="pending")

    @some()
    @rule(task=one(), told=TOLD, stage=st.sampled_from(["full", "stub"]))
    def is_logged_after_an_inbound_call(self, task: str, told: str, stage: str) -> None:
        self.clock.now += 9
        call = self._dialled(told)
        call = replace(call, start=call.start - 8, end=self.clock() - 1)
        self._arrives(task, status="completed", call=call, output=(call, stage))

    def _dialled(self, told: str) -> Call:
        self.calls += 1
        return Call(self.calls, told, self.clock(), answered=told != "id")

    # They wait and are worked on

    @some("pending")
    @rule(task=one("pending"))
    def is_held(self, task: str) -> None:
        self._changed(self._a_moment_later(task), "hold")

    @some("hold")
    @rule(task=one("hold"))
    def is_released(self, task: str) -> None:
        self._changed(self._a_moment_later(task), "pending")

    @some("pending", "scheduled")
    @rule(task=one("pending", "scheduled"), stamped=st.booleans())
    def is_dispatched(self, task: str, stamped: bool) -> None:
        self._changed(self._a_moment_later(task), "processing", stamped=stamped)

    @some("pending", "scheduled", "processing")
    @rule(
        task=one("pending", "scheduled", "processing"),
        told=TOLD,
        shows=st.sampled_from(["nothing new", "dispatched", "live"]),
        stamped=st.booleans(),
    )
    def is_dialled(self, task: str, told: str, shows: str, stamped: bool) -> None:
        dialled = self._a_moment_later(task)
        if dialled.kind == "call":
            dialled.call = self._dialled(told)
            if shows != "nothing new":
                dialled.show(shows)
        self._changed(dialled, "in_progress", stamped=stamped)

    @some("in_progress")
    @rule(task=one("in_progress"))
    def call_is_live(self, task: str) -> None:
        live = self._a_moment_later(task)
        live.show("live")
        self._changed(live, "in_progress")

    # Calls end

    def _hung_up(self, name: str) -> Task:
        task = self._a_moment_later(name)
        if task.call is not None:
            task.call = replace(task.call, end=self.clock())
        return task

    @some("in_progress")
    @rule(task=one("in_progress"), stage=st.sampled_from(["full", "stub"]), resets=st.booleans())
    def completes(self, task: str, stage: str, resets: bool) -> None:
        ended = self._hung_up(task)
        ended.show(stage)
        if resets:
            ended.retry_attempt = 0
        self._changed(ended, "completed")

    @some("in_progress")
    @rule(task=one("in_progress"), due_in=st.sampled_from([None, 100]))
    def is_retried(self, task: str, due_in: int | None) -> None:
        ended = self._hung_up(task)
        ended.show("left")
        ended.retry_attempt += 1
        if due_in is not None:
            ended.scheduled = self.clock() + due_in
        self._changed(ended, "pending" if due_in is None else "scheduled")

    @some("in_progress")
    @rule(task=one("in_progress"), why=st.sampled_from(list(FAILURES)), shows=st.sampled_from(["left", "nothing"]))
    def fails(self, task: str, why: str | None, shows: str) -> None:
        ended = self._hung_up(task)
        if shows == "left":
            ended.show("left")
        else:
            ended.output = None
        self._failed(ended, why)

    @some("pending", "scheduled", "processing")
    @rule(task=one("pending", "scheduled", "processing"), why=st.sampled_from(list(FAILURES)))
    def fails_before_it_is_dialled(self, task: str, why: str | None) -> None:
        self._failed(self._a_moment_later(task), why)

    def _failed(self, task: Task, why: str | None) -> None:
        task.failure_count += 1
        task.failure = why
        self._changed(task, "failed")

    # And go on

    def _shows(self, task: str, stage: str) -> Task:
        changed = self._a_moment_later(task)
        if changed.output and STAGES.index(stage) > STAGES.index(changed.output[1]):
            changed.output = (changed.output[0], stage)
        return changed

    @some("completed")
    @rule(task=one("completed"), stage=st.sampled_from(["full", "judged"]))
    def record_is_enriched(self, task: str, stage: str) -> None:
        self._changed(self._shows(task, stage), "completed")

    @some("completed")
    @rule(task=one("completed"), due_in=st.sampled_from([100, 5000]))
    def is_redialled(self, task: str, due_in: int) -> None:
        # A stub of an earlier call could as well be what the next one has left: no reader can tell.
        again = self._shows(task, "full")
        again.scheduled = self.clock() + due_in
        self._changed(again, "scheduled")

    @some("failed")
    @rule(task=one("failed"), clears=st.booleans())
    def run_is_restarted(self, task: str, clears: bool) -> None:
        again = self._a_moment_later(task)
        again.retry_attempt = 0
        if clears:
            again.output = None
        self._changed(again, "pending")

    @some("failed")
    @rule(task=one("failed"), stage=st.sampled_from(["left", "full"]))
    def turns_out_to_have_succeeded(self, task: str, stage: str) -> None:
        self._changed(self._shows(task, stage), "completed")

    @rule(seconds=st.sampled_from([10, 200, 10_000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    # The exporter

    @rule()
    def poll(self) -> None:
        assert self._poll().error is None
        self.bench.check(AGENT)

    @rule()
    def poll_a_minute_later(self) -> None:
        self.clock.now += 60
        self.poll()

    @rule()
    def poll_when_all_has_settled(self) -> None:
        self.clock.now += 700
        self.poll()

    @rule(request=REQUEST, fault=st.sampled_from(list(FAULTS)))
    def poll_that_fails(self, request: int, fault: str) -> None:
        struck = False

        async def strike(number: int) -> None:
            nonlocal struck
            if number == request:
                self.platform.fault, struck = fault, True

        assert (self._poll(strike).error is not None) == struck
        self.bench.check(AGENT)

    @some()
    @rule(task=one(), request=REQUEST)
    def poll_while_a_task_arrives(self, task: str, request: int) -> None:
        async def arrive(number: int) -> None:
            if number == request:
                self.clock.now += 1
                self._arrives(task, status="pending")

        assert self._poll(arrive).error is None
        self.bench.check(AGENT)

    @rule(request=REQUEST)
    def poll_that_is_killed(self, request: int) -> None:
        async def kill(number: int) -> None:
            if number == request:
                raise asyncio.CancelledError

        with suppress(asyncio.CancelledError):
            self._poll(kill)
        self.lives += 1
        self.bench.before = nothing
        self.loop.run_until_complete(self.bench.die(self.directory / f"state-{self.lives}.db"))
        self.bench.check(AGENT)

    @rule()
    def process_is_restarted(self) -> None:
        self.loop.run_until_complete(self._restart())
        self.bench.check(AGENT)

    async def _restart(self) -> None:
        await self.bench.stop()
        await self.bench.start()

    def _poll(self, before: Any = None) -> Any:
        self.clock.now += 1
        self.bench.before = before or nothing
        return self.loop.run_until_complete(self.bench.poll(AGENT))


class TestStory(Story.TestCase):
    settings = settings(
        max_examples=200,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
