from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.pacing import MINUTE, Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def most_in_a_minute(begun: list[float]) -> int:
    # A nanosecond less than a minute: the clock's own rounding must not count as one.
    return max(sum(first <= other < first + MINUTE - 1e-9 for other in begun) for first in begun)


GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 7.0, 30.0, 59.9, 61.0]), min_size=1, max_size=150)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 40), GAPS)
async def test_no_minute_sees_more_requests_than_allowed(per_minute: int, gaps: list[float]) -> None:
    clock = Clock()
    pace = Pace(per_minute, monotonic=clock.time, sleep=clock.sleep)
    begun = []
    for gap in gaps:
        clock.now += gap
        await pace.turn()
        begun.append(clock.now)
    assert most_in_a_minute(begun) <= per_minute


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 30), st.lists(st.integers(0, 30), min_size=1, max_size=6), st.floats(0, 200))
async def test_no_minute_sees_more_with_many_waiting_and_a_pause_between(
    per_minute: int, crowds: list[int], pause: float
) -> None:
    clock = Clock()
    pace = Pace(per_minute, monotonic=clock.time, sleep=clock.sleep)
    begun: list[float] = []
    resumed = clock.now

    async def request() -> None:
        await pace.turn()
        assert clock.now >= resumed
        begun.append(clock.now)

    for crowd in crowds:
        waiting = [asyncio.ensure_future(request()) for _ in range(crowd)]
        await asyncio.sleep(0)
        pace.pause(pause)
        resumed = clock.now + pause
        await asyncio.gather(*waiting)
    assert not begun or most_in_a_minute(begun) <= per_minute


@pytest.mark.parametrize("per_minute", [1, 2, 9, 10, 60, 1000])
async def test_what_is_allowed_is_used_in_the_long_run(per_minute: int) -> None:
    clock = Clock()
    pace = Pace(per_minute, monotonic=clock.time, sleep=clock.sleep)
    requests = per_minute * 5
    began = clock.now
    for _ in range(requests):
        await pace.turn()
    assert (clock.now - began) / MINUTE <= 5 * 1.12


async def test_a_tenth_of_a_minute_s_requests_may_go_at_once() -> None:
    clock = Clock()
    pace = Pace(60, monotonic=clock.time, sleep=clock.sleep)
    began = clock.now
    for _ in range(6):
        await pace.turn()
    assert clock.now == pytest.approx(began)
    await pace.turn()
    assert clock.now > began + 1


async def test_requests_go_in_the_order_in_which_they_came() -> None:
    clock = Clock()
    pace = Pace(1, monotonic=clock.time, sleep=clock.sleep)
    order: list[int] = []

    async def request(number: int) -> None:
        await pace.turn()
        order.append(number)

    await asyncio.gather(*(request(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_who_gives_up_waiting_takes_nobody_s_turn() -> None:
    clock = Clock()
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        if not asleep.is_set():
            asleep.set()
            await asyncio.Event().wait()
        await clock.sleep(seconds)

    pace = Pace(1, monotonic=clock.time, sleep=sleep)
    await pace.turn()
    began = clock.now
    impatient: asyncio.Task[Any] = asyncio.ensure_future(pace.turn())
    await asleep.wait()
    impatient.cancel()
    await pace.turn()
    assert clock.now == began + MINUTE


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock()
    pace = Pace(1000, monotonic=clock.time, sleep=clock.sleep)
    began = clock.now
    pace.pause(30)
    pace.pause(5)
    await pace.turn()
    assert clock.now == began + 30


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Pace(0, monotonic=Clock().time)


async def test_it_tells_how_many_began_within_the_last_minute() -> None:
    clock = Clock()
    pace = Pace(10, monotonic=clock.time, sleep=clock.sleep)
    assert pace.begun == 0
    for _ in range(3):
        await pace.turn()
        clock.now += 25.0
    assert pace.begun == 2
    clock.now += 60.0
    assert pace.begun == 0


async def test_it_tells_for_how_long_it_pauses() -> None:
    clock = Clock()
    pace = Pace(10, monotonic=clock.time, sleep=clock.sleep)
    assert pace.paused == 0
    pace.pause(12.0)
    clock.now += 5.0
    assert pace.paused == 7.0
    clock.now += 60.0
    assert pace.paused == 0
