"""Fleets of any size with the default pace: everybody is polled, at intervals that are stretched evenly."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.tracking.fleet import Fleet
from exporter.tracking.plan import Plan
from exporter.tracking.polls import Outcome
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice
from exporter.tracking.schedule import PLANNED
from exporter.unpod.facts import Agent
from exporter.unpod.pacing import Pace, Turns
from exporter.unpod.urgency import Urgency
from tests.manners.jumping import run
from tests.tracking.crew import Log

STRETCHED = "agents are polled less often than they should be"
PER_MINUTE = 60


class Polls:
    """Stands for the trackers: a poll of an agent takes so many requests in their turn, and nothing else."""

    def __init__(self, agents: int, requests: int, *, seconds: float = 0.3) -> None:
        self.handles = [f"agent-{number}" for number in range(agents)]
        self.begun: defaultdict[str, list[float]] = defaultdict(list)
        self.log = Log()
        self.requests, self.seconds = requests, seconds
        """Of a poll, and of each of them."""
        self._loop = asyncio.get_running_loop()
        self.turns = Turns(Pace(PER_MINUTE), 2, monotonic=self._loop.time)

    def track(self, handle: str) -> Any:
        tracker = SimpleNamespace(
            last=None, inherited=None, tracked=None, has_left=False, identity=Agent(handle=handle)
        )

        async def poll() -> Outcome:
            began = self._loop.time()
            for number in range(self.requests):
                async with self.turns.turn(handle, Urgency.FRESH):
                    if number == 0:
                        self.begun[handle].append(self._loop.time())
                    await asyncio.sleep(self.seconds)
            tracker.last = Outcome(seconds=self._loop.time() - began, requests=self.requests)
            tracker.tracked = 0
            return tracker.last

        async def nothing() -> None:
            pass

        tracker.poll, tracker.try_load, tracker.identify = poll, nothing, lambda agent: None
        tracker.report = lambda info: Report(agent=handle, families={}, info=info)
        return tracker

    async def listed(self) -> Iterable[Agent]:
        return [Agent(handle=handle) for handle in self.handles]

    def fleet(self) -> Fleet:
        return Fleet(
            Plan(choice=Choice(), requests_per_minute=PER_MINUTE),
            track=self.track,
            listed=self.listed,
            publish=lambda report: None,
            remove=lambda handle: None,
            log=self.log,
            now=self._loop.time,
            elapsed=self._loop.time,
            chance=Random(1),
            is_spent=lambda: self.turns.begun >= PLANNED * PER_MINUTE,
        )


@pytest.mark.parametrize(("agents", "requests"), [(1, 1), (40, 1), (48, 1), (60, 1), (90, 2), (300, 1), (2000, 1)])
def test_everybody_is_polled_at_even_intervals_that_are_stretched_no_more_than_need_be(
    agents: int, requests: int
) -> None:
    factor = max(1.0, agents * requests / (0.8 * PER_MINUTE))

    async def story() -> None:
        polls = Polls(agents, requests)
        fleet = polls.fleet()
        polling = asyncio.create_task(fleet.run())
        # Until what a poll takes is known, and the slots have settled.
        await asyncio.sleep(60.0 * factor * (30 if requests > 1 else 2.5))
        lag, begin = fleet.polling.lag, asyncio.get_running_loop().time()
        await asyncio.sleep(60.0 * factor * 3.5)
        polling.cancel()
        await asyncio.wait([polling])
        assert lag == fleet.polling.lag == pytest.approx(60.0 * (factor - 1.0), rel=0.06, abs=3.0)
        assert polls.begun.keys() == set(polls.handles)
        for times in polls.begun.values():
            gaps = [after - before for before, after in pairwise(times) if before >= begin]
            assert len(gaps) >= 2
            assert all(gap == pytest.approx(60.0 + lag, rel=0.05) for gap in gaps)
        assert polls.log.events("warning").count(STRETCHED) <= 1 + (requests > 1) * 5
        assert bool(polls.log.events("warning")) == (factor > 1.06)

    run(story())


def test_it_says_what_to_change_once_and_that_it_is_over() -> None:
    async def story() -> None:
        polls = Polls(200, 1)
        fleet = polls.fleet()
        polling = asyncio.create_task(fleet.run())
        await asyncio.sleep(3600.0)
        told = [fields for level, event, fields in polls.log.lines if event == STRETCHED]
        assert [(one["seconds"], one["instead_of"], one["requests_per_minute"], one["needed"]) for one in told] == [
            (250.0, 60.0, 60, 250)
        ]
        assert "raise api.requests_per_minute" in told[0]["advice"]
        polls.turns.change(300, 2, goes_on=True)
        await fleet.replan(Plan(choice=Choice(), requests_per_minute=300))
        await asyncio.sleep(600.0)
        assert fleet.polling.lag == 0.0
        assert polls.log.events("info")[-1] == "agents are polled at their interval again"
        polling.cancel()
        await asyncio.wait([polling])

    run(story())


@pytest.mark.parametrize(
    ("agents", "requests", "seconds", "lag"),
    [(1, 1, 50.0, 60.0), (1, 1, 100.0, 60.0), (1, 40, 4.0, 120.0), (5, 1, 70.0, None), (40, 1, 10.0, None)],
)
def test_the_lag_is_by_how_much_intervals_stretch_where_the_platform_answers_slowly(
    agents: int, requests: int, seconds: float, lag: float | None
) -> None:
    async def story() -> None:
        polls = Polls(agents, requests, seconds=seconds)
        fleet = polls.fleet()
        polling = asyncio.create_task(fleet.run())
        await asyncio.sleep(7200.0)
        begin, lags = asyncio.get_running_loop().time(), []
        for _ in range(360):
            await asyncio.sleep(10.0)
            lags.append(fleet.polling.lag)
        polling.cancel()
        await asyncio.wait([polling])
        gaps = [
            after - before for times in polls.begun.values() for before, after in pairwise(times) if before >= begin
        ]
        assert fleet.polling.stretched_by == 0.0
        # Where several wait for each other, some wait longer than others in the same slot.
        assert max(lags) == pytest.approx(max(gaps) - 60.0, abs=1.0 if agents == 1 else 60.0)
        assert min(lags) > 0.0
        assert lag is None or lags == [lag] * len(lags)
        told = [fields for _, event, fields in polls.log.lines if event == "polls take too long for their interval"]
        assert len({one["agent"] for one in told}) == agents
        assert {one["reason"] for one in told} == {"slow_platform"}
        assert "api.max_concurrent_requests" in told[0]["advice"]

    run(story())


def test_a_poll_that_just_fits_into_its_interval_stretches_nothing() -> None:
    async def story() -> None:
        polls = Polls(1, 1, seconds=40.0)
        fleet = polls.fleet()
        polling = asyncio.create_task(fleet.run())
        await asyncio.sleep(3600.0)
        polling.cancel()
        await asyncio.wait([polling])
        gaps = [after - before for before, after in pairwise(polls.begun["agent-0"])]
        assert gaps[1:] == [pytest.approx(60.0)] * len(gaps[1:])
        assert fleet.polling.lag == 0.0

    run(story())


def test_polls_that_take_too_long_are_told_once_and_when_they_fit_again() -> None:
    async def story() -> None:
        polls = Polls(3, 1, seconds=0.3)
        fleet = polls.fleet()
        polling = asyncio.create_task(fleet.run())
        await asyncio.sleep(600.0)
        polls.seconds = 90.0
        await asyncio.sleep(7200.0)
        assert fleet.polling.lag >= 60.0
        polls.seconds = 0.3
        await asyncio.sleep(3600.0)
        assert fleet.polling.lag == 0.0
        polling.cancel()
        await asyncio.wait([polling])
        events = polls.log.events("warning", "info")
        late, fits = "polls take too long for their interval", "polls fit into their interval again"
        named = [event for event in events if event in (late, fits)]
        assert named == [late] * 3 + [fits] * 3

    run(story())
