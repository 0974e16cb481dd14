"""Whose turn it is: never faster than allowed, in the order of lanes, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod.pacing import MINUTE, PATIENCE, SLOW, Lanes, Pace, Ticket, Turns
from exporter.unpod.urgency import Urgency

FRESH, HISTORY, SWEEP = Urgency


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def turns_of(clock: Clock, per_minute: int = 60_000, slots: int = 1_000) -> Turns:
    return Turns(Pace(per_minute), slots, monotonic=clock.time, sleep=clock.sleep)


async def settled() -> None:
    """Lets everything happen that needs no time to pass."""
    for _ in range(50):
        await asyncio.sleep(0)


def most_in_a_minute(begun: list[float]) -> int:
    # A nanosecond less than a minute: the clock's own rounding must not count as one.
    return max(sum(first <= other < first + MINUTE - 1e-9 for other in begun) for first in begun)


@asynccontextmanager
async def waiting(turns: Turns, clock: Clock, *wishes: tuple[str, Urgency]) -> AsyncIterator[list[tuple[str, float]]]:
    """Requests that wait, having come in this order; gives which have begun, and when. They end at once."""
    begun: list[tuple[str, float]] = []

    async def request(agent: str, urgency: Urgency) -> None:
        async with turns.turn(agent, urgency):
            begun.append((agent, clock.now))

    async with asyncio.TaskGroup() as group:
        for agent, urgency in wishes:
            group.create_task(request(agent, urgency))
            await asyncio.sleep(0)
        yield begun


# The pace

GAPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.1, 1.0, 7.0, 30.0, 59.9, 61.0]), min_size=1, max_size=150)


@given(per_minute=st.integers(1, 90), gaps=GAPS)
def test_no_minute_sees_more_requests_than_allowed(per_minute: int, gaps: list[float]) -> None:
    pace, now, begun = Pace(per_minute), 1_000.0, []
    for gap in gaps:
        now = max(now + gap, pace.earliest())
        pace.begin(now)
        begun.append(now)
    assert most_in_a_minute(begun) <= per_minute


@given(
    per_minute=st.integers(1, 90),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.sampled_from([0.0, 0.0, 0.5, 20.0])),
            st.tuples(st.just("back"), st.just(0.0)),
            st.tuples(st.just("pause"), st.floats(0, 100)),
            st.tuples(st.just("ration"), st.integers(0, 30)),
        ),
        min_size=1,
        max_size=200,
    ),
)
def test_nothing_that_happens_makes_it_faster(per_minute: int, steps: list[tuple[str, float]]) -> None:
    pace, now, begun = Pace(per_minute), 1_000.0, list[float]()
    for step, value in steps:
        match step:
            case "begin":
                now = max(now + value, pace.earliest())
                pace.begin(now)
                begun.append(now)
            case "back" if begun:
                pace.give_back()
                begun.pop()
                now = max(now, pace.earliest())
                pace.begin(now)
                begun.append(now)
            case "pause":
                pace.pause(now + value)
                assert pace.earliest() >= now + value
            case "ration":
                pace.ration(int(value), now, now + 40)
    assert not begun or most_in_a_minute(begun) <= per_minute


@pytest.mark.parametrize("network", [0.0, 1.0], ids=["at once", "up to a second later"])
def test_by_default_a_minute_sees_less_than_sixty_requests_at_both_ends_of_the_network(network: float) -> None:
    pace, now, chance = Pace(60), 1_000.0, Random(1)
    arrived = []
    for _ in range(600):
        now = max(now, pace.earliest())
        pace.begin(now)
        arrived.append(now + chance.uniform(0.0, network))
    # Both ends of the minute included: no rounding makes one more of them.
    assert max(sum(first <= other <= first + MINUTE for other in arrived) for first in arrived) <= 59


@pytest.mark.parametrize("per_minute", [1, 2, 9, 10, 60, 1000])
def test_what_is_allowed_is_used_in_the_long_run(per_minute: int) -> None:
    pace, now = Pace(per_minute), 1_000.0
    for _ in range(per_minute * 5):
        now = max(now, pace.earliest())
        pace.begin(now)
    assert (now - 1_000.0) / MINUTE <= 5 * 1.12


def test_a_tenth_of_a_minute_s_requests_may_go_at_once() -> None:
    pace = Pace(60)
    for _ in range(6):
        assert pace.earliest() <= 1_000.0 + 1e-9
        pace.begin(1_000.0)
    assert pace.earliest() > 1_001.0


def test_there_is_something_to_spare_only_while_half_of_the_burst_is_left() -> None:
    pace, spare = Pace(60), []
    for _ in range(6):
        spare.append(pace.has_spare(1_000.0))
        pace.begin(1_000.0)
    assert spare == [True, True, True, False, False, False]
    assert pace.has_spare(1_000.0 + 4 * pace.interval)
    pace.pause(1_200.0)
    assert not pace.has_spare(1_199.0)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    pace = Pace(1000)
    pace.pause(1_030.0)
    pace.pause(1_005.0)
    assert pace.earliest() == 1_030.0


def test_what_the_server_still_allows_is_spread_over_the_time_until_it_allows_more() -> None:
    pace, now, begun = Pace(60), 1_000.0, []
    pace.begin(now)
    pace.ration(4, now, 1_040.0)
    for _ in range(4):
        now = pace.earliest()
        pace.begin(now)
        begun.append(now)
    assert begun == [1_010.0, 1_020.0, 1_030.0, 1_040.0]
    assert pace.earliest() <= 1_040.0


def test_nothing_is_asked_where_the_server_allows_nothing_more() -> None:
    pace = Pace(60)
    pace.ration(0, 1_000.0, 1_040.0)
    assert pace.earliest() == 1_040.0


def test_plenty_that_is_allowed_makes_nothing_slower() -> None:
    pace = Pace(60)
    pace.begin(1_000.0)
    pace.ration(500, 1_000.0, 1_040.0)
    assert pace.earliest() <= 1_000.1


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        Pace(0)


def test_it_tells_how_many_began_within_the_last_minute() -> None:
    pace = Pace(10)
    assert pace.begun(1_000.0) == 0
    for now in (1_000.0, 1_025.0, 1_050.0):
        pace.begin(now)
    assert pace.begun(1_075.0) == 2
    pace.give_back()
    assert pace.begun(1_075.0) == 1
    assert pace.begun(1_135.0) == 0


def test_it_tells_for_how_long_it_pauses() -> None:
    pace = Pace(10)
    assert pace.paused(1_000.0) == 0
    pace.pause(1_012.0)
    assert pace.paused(1_005.0) == 7.0
    assert pace.paused(1_065.0) == 0


# The lanes


def anybody(ticket: Ticket) -> bool:
    return True


def served(lanes: Lanes, most: int = 10_000, fits: Callable[[Ticket], bool] = anybody) -> list[Ticket]:
    order = []
    while len(order) < most and (ticket := lanes.next(fits)) is not None:
        lanes.take(ticket)
        order.append(ticket)
    return order


def lanes_of(*tickets: Ticket) -> Lanes:
    lanes = Lanes()
    for ticket in tickets:
        lanes.add(ticket)
    return lanes


@given(st.lists(st.sampled_from(Urgency), max_size=100))
def test_everybody_gets_one_turn_and_those_of_a_lane_in_the_order_in_which_they_came(wishes: list[Urgency]) -> None:
    tickets = [Ticket(str(number), urgency, 0.0) for number, urgency in enumerate(wishes)]
    order = served(lanes_of(*tickets))
    assert Counter(order) == Counter(tickets)
    for urgency in Urgency:
        assert [one for one in order if one.urgency == urgency] == [one for one in tickets if one.urgency == urgency]


@given(st.lists(st.tuples(st.sampled_from(Urgency), st.integers(0, 3)), min_size=1, max_size=300))
def test_no_lane_waits_for_more_turns_than_its_patience_and_one_for_each_that_is_less_urgent(
    arrivals: list[tuple[Urgency, int]],
) -> None:
    lanes, passed = Lanes(), dict.fromkeys(Urgency, 0)
    waits: Counter[Urgency] = Counter()
    for urgency, turns in arrivals:
        lanes.add(Ticket("", urgency, 0.0))
        waits[urgency] += 1
        for ticket in served(lanes, turns):
            for lane in Urgency:
                passed[lane] = 0 if lane == ticket.urgency or not waits[lane] else passed[lane] + 1
                assert passed[lane] <= PATIENCE[lane] + len(Urgency) - 1
            waits[ticket.urgency] -= 1


def test_fresh_data_and_first_readings_alternate_and_sweeps_have_a_tenth() -> None:
    lanes = lanes_of(*(Ticket("", urgency, 0.0) for urgency in Urgency for _ in range(1000)))
    order = [ticket.urgency for ticket in served(lanes, 1000)]
    assert Counter(order) == {FRESH: 450, HISTORY: 450, SWEEP: 100}
    assert all(1 <= order[at : at + 3].count(FRESH) <= 2 for at in range(len(order) - 2))


def test_fresh_data_goes_before_sweeps_whichever_came_first() -> None:
    lanes = lanes_of(Ticket("a", SWEEP, 0.0), Ticket("b", SWEEP, 0.0), Ticket("c", FRESH, 0.0), Ticket("d", FRESH, 0.0))
    assert [ticket.agent for ticket in served(lanes)] == ["c", "d", "a", "b"]


def test_a_lane_that_was_empty_has_no_turns_saved_up() -> None:
    lanes = lanes_of(*(Ticket("", FRESH, 0.0) for _ in range(50)))
    served(lanes, 20)
    lanes.add(Ticket("", SWEEP, 0.0))
    assert [ticket.urgency for ticket in served(lanes, 10)] == [FRESH] * 9 + [SWEEP]


def test_who_does_not_fit_is_passed_by_and_keeps_the_place() -> None:
    tickets = [Ticket(name, FRESH, 0.0) for name in ("slow", "one", "two")]
    lanes = lanes_of(*tickets)
    assert [ticket.agent for ticket in served(lanes, fits=lambda ticket: ticket.agent != "slow")] == ["one", "two"]
    lanes.add(Ticket("three", FRESH, 0.0))
    assert [ticket.agent for ticket in served(lanes)] == ["slow", "three"]


# The door


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 30), st.lists(st.integers(0, 30), min_size=1, max_size=6), st.floats(0, 200))
async def test_no_minute_sees_more_with_many_waiting_and_a_pause_between(
    per_minute: int, crowds: list[int], pause: float
) -> None:
    clock = Clock()
    turns = turns_of(clock, per_minute)
    times: list[float] = []
    for crowd in crowds:
        async with waiting(turns, clock, *[("a", FRESH)] * crowd) as begun:
            already = len(begun)
            turns.pause(pause)
            resumed = clock.now + pause
        assert all(at >= resumed for _, at in begun[already:])
        times += [at for _, at in begun]
    assert not times or most_in_a_minute(times) <= per_minute


async def test_requests_of_a_lane_go_in_the_order_in_which_they_came() -> None:
    clock = Clock()
    async with waiting(turns_of(clock, 1), clock, *((str(number), FRESH) for number in range(5))) as begun:
        pass
    assert [agent for agent, _ in begun] == ["0", "1", "2", "3", "4"]


async def test_whoever_is_most_urgent_when_the_door_opens_goes_first() -> None:
    clock, opens = Clock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        await opens.wait()
        clock.now += seconds

    turns = Turns(Pace(1), 1, monotonic=clock.time, sleep=sleep)
    wishes = [("first", SWEEP), ("a", SWEEP), ("b", HISTORY), ("c", FRESH)]
    async with waiting(turns, clock, *wishes) as begun:
        opens.set()
    assert [agent for agent, _ in begun] == ["first", "c", "b", "a"]


async def test_no_more_than_the_slots_are_under_way_and_the_most_urgent_gets_the_next_one() -> None:
    clock, begun, ends = Clock(), list[str](), dict[str, asyncio.Event]()
    turns = turns_of(clock, slots=2)

    async def request(agent: str, urgency: Urgency) -> None:
        async with turns.turn(agent, urgency):
            begun.append(agent)
            ends[agent] = asyncio.Event()
            await ends[agent].wait()

    async with asyncio.TaskGroup() as group:
        for agent, urgency in [("a", SWEEP), ("b", SWEEP), ("c", SWEEP), ("d", HISTORY), ("e", FRESH)]:
            group.create_task(request(agent, urgency))
            await settled()
        assert begun == ["a", "b"]
        for agent, order in [("b", "abe"), ("a", "abed"), ("e", "abedc")]:
            ends[agent].set()
            await settled()
            assert begun == list(order)
        ends["d"].set()
        ends["c"].set()


async def test_who_gives_up_waiting_takes_nobody_s_turn_whether_at_the_door_or_behind_it() -> None:
    clock, asleep = Clock(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        if not asleep.is_set():
            asleep.set()
            await asyncio.Event().wait()
        await clock.sleep(seconds)

    turns = Turns(Pace(1), 1, monotonic=clock.time, sleep=sleep)
    async with waiting(turns, clock, ("first", FRESH)):
        pass
    began = clock.now

    async def request() -> None:
        async with turns.turn("a", FRESH):
            pass

    at_the_door, behind, patient = (asyncio.create_task(request()) for _ in range(3))
    await asleep.wait()
    behind.cancel()
    at_the_door.cancel()
    await patient
    assert clock.now == began + MINUTE


async def test_who_is_cancelled_in_the_moment_of_being_let_in_gives_the_turn_and_the_slot_back() -> None:
    clock, urgent = Clock(), list[asyncio.Task[None]]()

    async def sleep(seconds: float) -> None:
        """Halfway, somebody urgent comes, who gives up just when the door opens."""
        if urgent:
            asyncio.get_running_loop().call_soon(urgent[0].cancel)
            clock.now += seconds
        else:
            urgent.append(asyncio.create_task(request(FRESH)))
            await settled()
            clock.now += seconds / 2

    turns = Turns(Pace(2), 1, monotonic=clock.time, sleep=sleep)
    begun: list[float] = []

    async def request(urgency: Urgency) -> None:
        async with turns.turn("a", urgency):
            begun.append(clock.now)

    began = clock.now
    turns.pause(40.0)
    await request(SWEEP)
    assert urgent[0].cancelled()
    assert begun == [began + 40.0]


async def test_a_turn_that_is_given_back_is_the_next_one_s() -> None:
    clock = Clock()
    turns, began = turns_of(clock, per_minute=1), clock.now
    for _ in range(100):
        async with turns.turn("a", FRESH):
            turns.give_back()
    async with waiting(turns, clock, ("b", FRESH), ("c", FRESH)) as begun:
        pass
    assert begun == [("b", began), ("c", began + MINUTE)]


async def test_there_is_time_for_what_is_not_urgent_only_where_it_makes_nobody_wait() -> None:
    clock = Clock()
    turns = turns_of(clock, per_minute=60, slots=1)
    assert turns.has_time()
    async with turns.turn("a", FRESH):
        assert not turns.has_time(), "no slot"
    assert turns.has_time()
    turns.pause(1.0)
    assert not turns.has_time()
    clock.now += 1.0
    for _ in range(4):
        async with turns.turn("a", FRESH):
            pass
    assert not turns.has_time(), "the burst is for what is fresh"


# Slow agents


class Traffic:
    """Requests that last as long as they are told to."""

    def __init__(self, slots: int) -> None:
        self.clock = Clock()
        self.turns = turns_of(self.clock, slots=slots)
        self.under_way: dict[str, asyncio.Event] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def asks(self, *agents: str) -> None:
        for agent in agents:
            self.tasks.append(asyncio.create_task(self._request(agent)))
            await settled()

    async def _request(self, agent: str) -> None:
        async with self.turns.turn(agent, FRESH):
            ends = self.under_way[agent] = asyncio.Event()
            await ends.wait()
            del self.under_way[agent]

    async def ends(self, *agents: str, after: float = 0.0) -> None:
        self.clock.now += after
        for agent in agents:
            self.under_way[agent].set()
            await settled()

    async def knows(self, *, slow: tuple[str, ...] = (), quick: tuple[str, ...] = ()) -> None:
        for agents, seconds in ((quick, 0.1), (slow, SLOW)):
            for agent in agents:
                await self.asks(agent)
                await self.ends(agent, after=seconds)


@pytest.fixture
async def traffic() -> AsyncIterator[Callable[[int], Traffic]]:
    made: list[Traffic] = []

    def make(slots: int) -> Traffic:
        made.append(Traffic(slots))
        return made[-1]

    yield make
    for one in made:
        for task in one.tasks:
            task.cancel()
        await asyncio.gather(*one.tasks, return_exceptions=True)


async def test_slow_agents_never_have_the_last_slot(traffic: Callable[[int], Traffic]) -> None:
    road = traffic(2)
    await road.knows(slow=("slow-1", "slow-2"), quick=("quick",))
    await road.asks("slow-1", "slow-2", "quick")
    assert road.under_way.keys() == {"slow-1", "quick"}
    await road.ends("quick")
    assert road.under_way.keys() == {"slow-1"}
    await road.ends("slow-1", after=30.0)
    assert road.under_way.keys() == {"slow-2"}


async def test_a_request_that_takes_long_counts_as_slow_before_it_ends(traffic: Callable[[int], Traffic]) -> None:
    road = traffic(2)
    await road.knows(slow=("slow",), quick=("stuck",))
    await road.asks("stuck")
    road.clock.now += SLOW
    await road.asks("slow", "another")
    assert road.under_way.keys() == {"stuck", "another"}


async def test_an_agent_that_answers_quickly_again_is_slow_no_more(traffic: Callable[[int], Traffic]) -> None:
    road = traffic(2)
    await road.knows(slow=("was-slow", "slow"), quick=("quick",))
    await road.knows(quick=("was-slow",))
    await road.asks("slow", "was-slow")
    assert road.under_way.keys() == {"slow", "was-slow"}


async def test_where_everybody_is_slow_all_slots_are_used(traffic: Callable[[int], Traffic]) -> None:
    road = traffic(2)
    await road.knows(slow=("slow-1", "slow-2"))
    await road.asks("slow-1", "slow-2")
    assert road.under_way.keys() == {"slow-1", "slow-2"}


async def test_with_one_slot_slow_agents_have_it_in_their_turn(traffic: Callable[[int], Traffic]) -> None:
    road = traffic(1)
    await road.knows(slow=("slow",), quick=("quick",))
    await road.asks("slow", "quick")
    assert road.under_way.keys() == {"slow"}


# Another pace


@settings(deadline=None)
@given(
    before=st.integers(1, 300),
    after=st.integers(1, 300),
    asked=st.integers(0, 400),
    idle=st.floats(0.0, 90.0),
)
async def test_another_pace_counts_what_has_been_asked_before_it(
    before: int, after: int, asked: int, idle: float
) -> None:
    clock = Clock()
    turns = turns_of(clock, before)
    begun: list[float] = []

    async def ask(times: int) -> None:
        for _ in range(times):
            async with turns.turn("a", FRESH):
                begun.append(clock.now)

    await ask(asked)
    clock.now += idle
    turns.change(after, 1_000, goes_on=True)
    first = len(begun)
    await ask(40)
    for place, moment in enumerate(begun[first:], start=first):
        recent = [other for other in begun[: place + 1] if other > moment - MINUTE + 1e-6]
        assert len(recent) <= after


@given(before=st.integers(1, 300), after=st.integers(1, 300), asked=st.integers(0, 400))
def test_another_pace_waits_for_no_longer_than_until_a_minute_has_room_for_more(
    before: int, after: int, asked: int
) -> None:
    old, new, now = Pace(before), Pace(after), 1_000.0
    begun: list[float] = []
    for _ in range(asked):
        now = max(now, old.earliest())
        old.begin(now)
        begun.append(now)
    new.succeed(old)
    most = after - 1 if after >= 20 else after
    recent = [moment for moment in begun if moment > now - MINUTE]
    room = recent[-most] + MINUTE if len(recent) >= most else now + MINUTE
    assert new.earliest() <= room


async def test_a_pause_of_the_same_server_outlives_another_pace_and_that_of_another_does_not() -> None:
    for goes_on in (True, False):
        clock = Clock()
        turns = turns_of(clock)
        turns.pause(30.0)
        turns.change(60, 2, goes_on=goes_on)
        assert turns.paused == (30.0 if goes_on else 0.0)


async def test_other_slots_hold_for_what_is_asked_from_then_on() -> None:
    clock = Clock()
    turns = turns_of(clock, slots=1)
    turns.change(60_000, 3, goes_on=True)
    under_way = [turns.turn(str(number), FRESH) for number in range(3)]
    for one in under_way:
        await one.__aenter__()
    assert not turns.has_time()
    for one in under_way:
        await one.__aexit__(None, None, None)
