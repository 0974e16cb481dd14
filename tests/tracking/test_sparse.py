"""Which pages a poll of a known history asks for, and that nothing escapes it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest

from exporter.tracking.report import Counter, Family, Gauge
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Commit
from exporter.tracking.tracker import Outcome, Tracker
from exporter.unpod.errors import BadResponse, ServerError, TooLarge, UnpodError
from exporter.unpod.facts import Page, Task
from exporter.unpod.urgency import Urgency
from tests.tracking.platform import RULES
from tests.tracking.stories import START

DAY = 86_400.0
NEVER = msgspec.structs.replace(RULES, reconcile_interval=0.0)


@dataclass
class Shelf:
    """A long history, newest first, and what was asked of it since the last poll began."""

    tasks_now: list[Task]
    weight: int = 1000
    poison: set[str] = field(default_factory=set)
    giants: set[str] = field(default_factory=set)
    asked: list[tuple[int, int]] = field(default_factory=list)
    down_from: int | None = None
    is_busy: bool = False
    swaps: slice | None = None
    """These tasks swap places before each request."""
    chance: Random = field(default_factory=lambda: Random(1))
    arrives: bool = False
    """A task is added after each request."""
    is_barren: bool = False
    """Pages with tasks answer 500; the empty one past the end works."""
    urgencies: list[Urgency] = field(default_factory=list)

    def has_time(self) -> bool:
        return not self.is_busy

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        self.asked.append((page, page_size))
        self.urgencies.append(urgency)
        if self.down_from is not None and len(self.asked) >= self.down_from:
            raise UnpodError("down")
        if self.swaps is not None:
            group = self.tasks_now[self.swaps]
            self.chance.shuffle(group)
            self.tasks_now[self.swaps] = group
        shown, total = tuple(self.tasks_now[(page - 1) * page_size : page * page_size]), len(self.tasks_now)
        if self.arrives:
            self.add(f"arrived{total}")
        if self.giants.intersection(task.id for task in shown):
            raise TooLarge("too large")
        if (shown and self.is_barren) or self.poison.intersection(task.id for task in shown):
            raise ServerError("HTTP 500", status=500)
        return Page(tasks=shown, total=total, received=len(shown), bytes=self.weight * len(shown))

    def change(self, task: str, status: str) -> None:
        """A task now has this status."""
        place = next(place for place, one in enumerate(self.tasks_now) if one.id == task)
        self.tasks_now[place] = msgspec.structs.replace(self.tasks_now[place], status=status)

    def add(self, task: str, *, below: int = 0) -> None:
        """A task is added, so many places below the top."""
        self.tasks_now.insert(below, Task(id=task, status="completed", execution_type="call", created=START))


@dataclass
class Desk:
    shelf: Shelf
    storage: SqliteStorage
    rules: Rules
    now: float = START + 10 * DAY

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The process starts again."""
        self.tracker = Tracker(
            "sales", self.shelf, self.storage, self.rules, now=lambda: self.now, elapsed=lambda: self.now
        )

    async def poll(self, after: float = 60.0) -> Outcome:
        self.now += after
        self.shelf.asked.clear()
        self.shelf.urgencies.clear()
        return await self.tracker.poll()

    def tasks(self, status: str) -> float:
        shown = self.tracker.report({}).families["tasks"]
        assert isinstance(shown, Gauge)
        return shown.values.get(("call", status), 0)


def history(count: int, *, open_at: tuple[int, ...] = ()) -> list[Task]:
    """Settled tasks, a minute apart, and open ones at these distances from the top."""
    return [
        Task(
            id=f"T{count - 1 - depth}",
            status="pending" if depth in open_at else "completed",
            execution_type="call",
            created=START - 60.0 * depth,
        )
        for depth in range(count)
    ]


def counted(families: Mapping[str, Family]) -> dict[str, Family]:
    """The counters that tell of tasks."""
    return {name: one for name, one in families.items() if isinstance(one, Counter) and not name.startswith("agent_")}


@asynccontextmanager
async def desk(tasks: list[Task], rules: Rules = NEVER, **more: int) -> AsyncIterator[Desk]:
    storage = await SqliteStorage.open(None)
    try:
        yield Desk(Shelf(tasks, **more), storage, rules)
    finally:
        await storage.close()


@pytest.mark.parametrize("count", [1_000, 5_000])
async def test_a_steady_poll_asks_for_as_much_of_a_long_history_as_of_a_short_one(count: int) -> None:
    async with desk(history(count, open_at=(0, 7, 450))) as made:
        await made.poll()
        assert (await made.poll()).error is None
        assert sum(size for _, size in made.shelf.asked) <= 400
        assert len(made.shelf.asked) <= 2


async def test_a_task_that_is_listed_twice_far_apart_costs_one_sweep_and_no_poll() -> None:
    tasks = history(1_000, open_at=(7,))
    tasks.insert(900, tasks[3])
    async with desk(tasks) as made:
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 999
        assert (await made.poll()).error is None
        assert len(made.shelf.asked) <= 2 + 6, "a sweep makes sure that none is missing"
        for _ in range(3):
            assert (await made.poll()).error is None
            assert len(made.shelf.asked) <= 2
        made.shelf.add("new")
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 1_000


class Stale(Shelf):
    """Shows on the fourth page of 200 tasks so many of its own, each time that it is asked for, and instead of the
    others those of the page above."""

    own = (0, 100, 200)
    times = 0

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        found = await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)
        if (page, page_size) != (4, 200):
            return found
        own, self.times = self.own[min(self.times, len(self.own) - 1)], self.times + 1
        above = self.tasks_now[400:600]
        return msgspec.structs.replace(found, tasks=(*found.tasks[:own], *above[own:]))


async def test_what_stale_pages_have_hidden_from_a_first_reading_and_from_a_sweep_is_found_at_once() -> None:
    tasks = history(1_000)
    # Pages that are read again in vain, since tasks might have slipped there.
    tasks[200] = msgspec.structs.replace(tasks[200], created=tasks[199].created)
    async with desk(tasks) as made:
        made.shelf = Stale(tasks)
        made.restart()
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 800
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 900
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 1_000
        assert (await made.poll()).error is None
        assert len(made.shelf.asked) <= 2


async def test_an_open_task_deep_in_the_history_is_looked_at_in_every_poll() -> None:
    async with desk(history(2_000, open_at=(1_500,))) as made:
        await made.poll()
        for number in range(30):
            made.shelf.add(f"new{number}")
        made.shelf.change("T499", "failed")
        await made.poll()
        assert made.tasks("failed") == 1
        assert made.tasks("completed") == 2_029


async def test_all_new_tasks_are_found_however_many_there_are() -> None:
    async with desk(history(500)) as made:
        await made.poll()
        for number in range(700):
            made.shelf.add(f"new{number}")
        await made.poll()
        assert made.tasks("completed") == 1_200


@pytest.mark.parametrize("below", [1, 150, 900])
async def test_a_task_that_is_added_below_the_top_is_found(below: int) -> None:
    async with desk(history(1_000, open_at=(950,))) as made:
        await made.poll()
        made.shelf.add("late", below=below)
        made.shelf.change("T49", "failed")
        for _ in range(3):
            assert (await made.poll()).error is None
        assert made.tasks("completed") == 1_000
        assert made.tasks("failed") == 1


async def test_what_changes_long_after_it_settled_is_found_within_the_reconcile_interval() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(2_000), rules) as made:
        await made.poll()
        made.shelf.change("T3", "pending")
        most = 0
        for _ in range(50):
            await made.poll(after=DAY / 24)
            most = max(most, len(made.shelf.asked))
        assert made.tasks("pending") == 1
        assert most <= 3, "the sweep is spread over its interval"


async def test_what_is_missed_is_found_at_once_though_a_spread_sweep_has_gone_past_it() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(2_000), rules) as made:
        await made.poll()
        for _ in range(36):
            await made.poll(after=DAY / 24)
        made.shelf.add("late", below=600)
        await made.poll()
        assert made.tasks("completed") == 2_001


async def test_what_is_missed_while_the_history_is_swept_at_once_is_found_by_another_sweep_after_it() -> None:
    async with desk(history(10_000)) as made:
        await made.poll()
        made.shelf.add("late", below=9_900)
        await made.poll()
        made.shelf.add("later", below=600)
        for _ in range(5):
            await made.poll()
        assert made.tasks("completed") == 10_002
        assert not made.tracker.is_sweeping


async def test_a_count_that_falls_changes_nothing_and_costs_nothing() -> None:
    async with desk(history(2_000, open_at=(3,))) as made:
        await made.poll()
        everything = made.shelf.tasks_now
        made.shelf.tasks_now = everything[:20]
        assert isinstance((await made.poll()).error, BadResponse)
        assert made.tasks("completed") == 1_999
        assert len(made.shelf.asked) == 1
        made.shelf.tasks_now = everything
        assert (await made.poll()).error is None
        assert len(made.shelf.asked) == 1


async def test_a_count_that_stays_lower_is_believed_and_new_tasks_are_told_from_those_that_are_gone() -> None:
    async with desk(history(2_000, open_at=(3,))) as made:
        await made.poll()
        del made.shelf.tasks_now[1_000:1_500]
        failed = [(await made.poll()).reason for _ in range(4)]
        assert failed == ["bad_response"] * 3 + [None]
        assert len(made.shelf.asked) <= 20
        await made.poll()
        assert len(made.shelf.asked) == 1
        made.shelf.add("new")
        made.shelf.add("late", below=700)
        for _ in range(2):
            assert (await made.poll()).error is None
        assert made.tasks("completed") == 2_001
        await made.poll()
        assert len(made.shelf.asked) == 1


async def test_tasks_that_are_back_after_all_cost_one_sweep() -> None:
    async with desk(history(2_000, open_at=(3,))) as made:
        await made.poll()
        everything = made.shelf.tasks_now
        made.shelf.tasks_now = everything[:20]
        for _ in range(4):
            await made.poll()
        made.shelf.tasks_now = everything
        assert (await made.poll()).error is None
        assert len(made.shelf.asked) <= 2_000 / 200 + 4
        for _ in range(2):
            await made.poll()
        assert len(made.shelf.asked) == 1
        assert made.tasks("completed") == 1_999


async def test_a_quiet_poll_asks_once_however_much_of_the_history_is_left_out() -> None:
    rules = msgspec.structs.replace(NEVER, history=10.5 * DAY)
    async with desk(history(2_000), rules) as made:
        await made.poll()
        assert made.tracker.tracked == 720
        for _ in range(2):
            await made.poll()
            assert len(made.shelf.asked) == 1
        made.shelf.add("late", below=600)
        await made.poll()
        assert made.tracker.tracked == 721


async def test_history_that_is_read_after_all_is_read_at_once() -> None:
    async with desk(history(2_000), msgspec.structs.replace(NEVER, history=10.5 * DAY)) as made:
        await made.poll()
        await made.tracker.obey(NEVER)
        await made.poll()
        assert made.tracker.tracked == 2_000


async def test_a_quiet_poll_leaves_room_for_some_new_tasks() -> None:
    async with desk(history(1_000)) as made:
        await made.poll()
        for number in range(10):
            made.shelf.add(f"new{number}")
        await made.poll()
        assert made.shelf.asked == [(1, 10)]


@pytest.mark.parametrize("weight", [10_000, 500_000, 5_000_000])
async def test_a_steady_poll_of_heavy_tasks_asks_for_small_pages(weight: int) -> None:
    async with desk(history(400, open_at=tuple(range(200))), weight=weight) as made:
        await made.poll()
        assert (await made.poll()).error is None
        assert max(size for _, size in made.shelf.asked) * weight <= max(4 * 2**20, weight)


@pytest.mark.parametrize(("share", "most"), [(math.inf, 54), (40.0, 40), (1.0, 16)])
async def test_a_poll_takes_no_requests_from_others_as_long_as_it_can_read_everything_in_fewer(
    share: float, most: int
) -> None:
    async with desk(history(3_200, open_at=tuple(range(0, 3_200, 60))), weight=14_000) as made:
        made.tracker.share = share
        await made.poll()
        assert (await made.poll()).error is None
        assert len(made.shelf.asked) <= most
        # Where there are enough, bytes are saved.
        assert (share < math.inf) or sum(size for _, size in made.shelf.asked) < 3_200 / 5


async def test_a_burst_of_new_tasks_is_read_in_great_pages() -> None:
    async with desk(history(2_000, open_at=(3,))) as made:
        await made.poll()
        for number in range(5_000):
            made.shelf.add(f"new{number}")
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 6_999
        assert len(made.shelf.asked) <= 5_000 / 200 + 2


async def test_what_was_read_of_a_burst_is_not_read_again_after_a_failure() -> None:
    async with desk(history(2_000)) as made:
        await made.poll()
        for number in range(5_000):
            made.shelf.add(f"new{number}")
        asked = set[tuple[int, int]]()
        for down_from in (9, 9, 12):
            made.shelf.down_from = down_from
            assert (await made.poll()).error is not None
            pages = made.shelf.asked[2:-1]
            assert len(pages) >= 5
            assert not asked.intersection(pages)
            asked |= set(pages)
            made.restart()
            assert made.tracker.tracked is None, "nothing is known before the state has been read"
        made.shelf.down_from = None
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 7_000
        assert len(made.shelf.asked) <= 5_000 / 200 - len(asked) + 4
        await made.poll()
        assert len(made.shelf.asked) == 1


async def test_tasks_that_arrive_while_a_burst_is_caught_up_with_are_read_though_every_poll_fails() -> None:
    async with desk(history(2_000)) as made:
        await made.poll()
        for number in range(3_000):
            made.shelf.add(f"new{number}")
        for number in range(40):
            made.shelf.down_from = 10
            if (await made.poll()).error is None:
                break
            for one in range(333):
                made.shelf.add(f"later{number}-{one}")
        else:
            pytest.fail("it never catches up")
        assert made.tasks("completed") == len(made.shelf.tasks_now)
        made.shelf.down_from = None
        await made.poll()
        assert len(made.shelf.asked) == 1


async def test_nothing_is_shown_of_a_burst_before_all_of_it_has_been_read() -> None:
    async with desk(history(2_000, open_at=(3,))) as made:
        await made.poll()
        before = made.tracker.report({}).families
        for number in range(5_000):
            made.shelf.add(f"new{number}")
        made.shelf.down_from = 20
        await made.poll()
        shown = made.tracker.report({}).families
        assert {name: shown[name] for name in counted(before)} == counted(before)
        assert shown["tasks"] == before["tasks"]
        made.restart()
        await made.tracker.load()
        shown = made.tracker.report({}).families
        assert {name: shown[name] for name in counted(before)} == counted(before)
        assert made.tracker.calls == 0
        assert "tasks" not in shown, "they would not fit together"
        other = msgspec.structs.replace(RULES.limits, buckets=RULES.limits.buckets | {"task_retry_attempts": (1.0,)})
        await made.tracker.obey(msgspec.structs.replace(NEVER, limits=other))
        shown = made.tracker.report({}).families
        assert shown["tasks_created"] == before["tasks_created"]
        assert shown["task_retry_attempts"].values == {}
        made.shelf.down_from = None
        await made.poll()
        assert made.tasks("completed") == 6_999


async def test_a_burst_is_not_held_in_memory() -> None:
    class Measuring(SqliteStorage):
        most = 0

        async def commit(self, agent: str, commit: Commit) -> None:
            self.most = max(self.most, len(commit.records))
            await super().commit(agent, commit)

    storage = await Measuring.open(None)
    assert isinstance(storage, Measuring)
    made = Desk(Shelf(history(2_000)), storage, NEVER)
    await made.poll()
    storage.most = 0
    for number in range(8_000):
        made.shelf.add(f"new{number}")
    assert (await made.poll()).changes["tasks_created"] == 8_000
    assert storage.most <= 1_000
    await storage.close()


async def test_tasks_that_arrive_while_pages_are_read_set_off_no_sweep() -> None:
    async with desk(history(5_000, open_at=(3, 700, 2_000, 4_000))) as made:
        await made.poll()
        made.shelf.arrives = True
        for _ in range(6):
            assert (await made.poll()).error is None
            assert not made.tracker.is_sweeping
            assert len(made.shelf.asked) <= 8
        made.shelf.arrives = False
        await made.poll()
        assert sum(made.tasks(status) for status in ("completed", "pending")) == len(made.shelf.tasks_now)


async def test_a_task_that_arrives_while_pages_are_read_does_not_stand_for_one_that_was_missed() -> None:
    async with desk(history(1_000, open_at=(500,))) as made:
        await made.poll()
        made.shelf.add("late", below=700)
        made.shelf.arrives = True
        await made.poll()
        assert made.tasks("completed") >= 1_000


async def test_a_clock_that_was_ahead_keeps_no_sweep_from_being_made() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(2_000), rules) as made:
        made.now += 3_650 * DAY
        await made.poll()
        made.now -= 3_650 * DAY
        made.shelf.change("T3", "failed")
        for _ in range(50):
            await made.poll(after=DAY / 24)
        assert made.tasks("failed") == 1


async def test_a_clock_that_was_ahead_keeps_no_gauge_fresh() -> None:
    async with desk(history(20)) as made:
        made.now += DAY
        await made.poll()
        made.now -= DAY
        made.shelf.down_from = 1
        await made.poll()
        until = made.tracker.report({}).fresh_until
        assert until == made.now + made.rules.max_staleness
        await made.poll()
        assert made.tracker.report({}).fresh_until == until


async def test_a_sweep_goes_on_after_a_restart() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(2_000), rules) as made:
        await made.poll()
        made.shelf.change("T3", "pending")
        for _ in range(50):
            made.restart()
            await made.poll(after=DAY / 24)
        assert made.tasks("pending") == 1


async def test_a_first_reading_goes_on_where_a_killed_process_has_left_it() -> None:
    async with desk(history(3_000)) as made:
        made.shelf.down_from = 10
        assert (await made.poll()).error is not None
        made.shelf.down_from = None
        for number in range(250):
            made.shelf.add(f"new{number}")
        made.restart()
        assert (await made.poll()).error is None
        assert made.tasks("completed") == 3_250
        assert len(made.shelf.asked) < 3_250 / 200 - 3


async def test_a_poisoned_page_is_not_asked_for_as_a_whole_again() -> None:
    async with desk(history(400, open_at=(5,))) as made:
        made.shelf.poison = {"T390"}
        await made.poll()
        await made.poll()
        assert made.tracker.report({}).families["tasks_unreadable"] == Gauge({(): 1})
        failing = [(page, size) for page, size in made.shelf.asked if (page - 1) * size <= 9 < page * size]
        assert all(size == 1 for _, size in failing), "it is asked for again by itself"


async def test_a_platform_that_delivers_no_task_is_not_taken_for_one_with_many_unreadable_ones() -> None:
    async with desk(history(5_000, open_at=(0, 5, 300))) as made:
        await made.poll()
        made.shelf.is_barren = True
        for _ in range(3):
            assert (await made.poll()).reason == "server_error"
            assert len(made.shelf.asked) <= 12
        made.shelf.is_barren = False
        made.shelf.change("T4999", "completed")
        assert (await made.poll()).error is None
        assert made.tracker.unreadable == 0
        assert made.tasks("pending") == 2


async def test_many_unreadable_tasks_at_the_top_are_walked_around() -> None:
    async with desk(history(1_000)) as made:
        await made.poll()
        made.shelf.poison = {f"T{number}" for number in range(990, 1_000)}
        assert (await made.poll()).error is None
        assert made.tracker.unreadable == 10


def tied(count: int, first: int, end: int) -> list[Task]:
    """A history whose tasks at these distances from the top were created together, and are open."""
    tasks = history(count, open_at=tuple(range(first, end)))
    return [
        msgspec.structs.replace(task, created=tasks[first].created) if first <= depth < end else task
        for depth, task in enumerate(tasks)
    ]


async def test_tasks_that_swap_places_with_their_ties_set_off_no_sweep() -> None:
    async with desk(tied(5_000, 780, 820)) as made:
        await made.poll()
        made.shelf.swaps = slice(780, 820)
        for number in range(60):
            if number == 20:
                made.shelf.change("T4200", "failed")
            assert (await made.poll()).error is None
            assert not made.tracker.is_sweeping
            assert len(made.shelf.asked) <= 16
        assert made.tasks("failed") == 1


async def test_a_watched_task_that_is_gone_from_among_its_ties_is_not_looked_for_for_ever() -> None:
    async with desk(tied(5_000, 780, 820)) as made:
        await made.poll()
        made.shelf.tasks_now[799] = msgspec.structs.replace(made.shelf.tasks_now[799], id="other", status="completed")
        for _ in range(30):
            await made.poll()
        assert not made.tracker.is_sweeping
        assert len(made.shelf.asked) <= 3


async def test_an_open_task_that_was_unreadable_for_one_poll_is_followed_again_in_the_next() -> None:
    async with desk(history(2_000, open_at=(700,))) as made:
        await made.poll()
        made.shelf.poison = {"T1299"}
        assert (await made.poll()).error is None
        assert made.tracker.unreadable == 1
        assert not made.tracker.is_sweeping, "it is known where it lies"
        made.shelf.poison.clear()
        made.shelf.change("T1299", "failed")
        await made.poll()
        assert made.tracker.unreadable == 0
        assert made.tasks("failed") == 1
        assert len(made.shelf.asked) <= 4


async def test_unreadable_tasks_are_asked_for_again_ever_more_rarely() -> None:
    async with desk(history(2_000, open_at=(700, 701, 702, 703))) as made:
        await made.poll()
        made.shelf.poison = {"T1299", "T1298", "T1297", "T1296"}
        polls = []
        for _ in range(200):
            assert (await made.poll()).error is None
            assert not made.tracker.is_sweeping
            polls.append(len(made.shelf.asked))
        assert max(polls[1:]) <= 6
        assert sum(polls[100:]) <= 4 * 100
        assert sum(size == 1 for _, size in made.shelf.asked) == 0


async def test_as_soon_as_some_unreadable_tasks_are_delivered_the_others_are_asked_for_as_well() -> None:
    async with desk(history(1_000)) as made:
        made.shelf.poison = {f"T{number}" for number in range(500, 550)}
        while made.tracker.tracked != 950:
            await made.poll()
        for _ in range(20):
            assert (await made.poll()).error is None
        assert made.tracker.unreadable == 50
        made.shelf.poison = {"T501"}
        polls = []
        while made.tracker.unreadable > 1:
            assert (await made.poll()).error is None
            polls.append(len(made.shelf.asked))
        assert max(polls) <= 20 + 2, "but so many at most that others get their turn"
        assert len(polls) <= 4
        assert made.tasks("completed") == 999


@pytest.mark.parametrize("depth", range(10))
async def test_what_is_known_to_be_unreadable_costs_few_requests(depth: int) -> None:
    async with desk(history(1_000)) as made:
        made.shelf.poison = {f"T{999 - depth}"}
        await made.poll()
        for _ in range(40):
            await made.poll()
        assert len(made.shelf.asked) <= 4
        read = {task for page, size in made.shelf.asked for task in range((page - 1) * size, page * size)}
        assert set(range(10)) - {depth} <= read
        assert depth not in read


async def test_a_task_that_alone_is_too_large_is_skipped_and_the_others_are_read() -> None:
    async with desk(history(1_000)) as made:
        made.shelf.giants = {"T970", "T200"}
        assert (await made.poll()).error is None
        assert made.tracker.report({}).families["tasks_unreadable"] == Gauge({(): 2})
        assert made.tasks("completed") == 998
        made.shelf.add("new")
        made.shelf.giants.add("new")
        assert (await made.poll()).error is None
        assert made.tracker.unreadable == 3


@pytest.mark.parametrize(("what", "reason"), [("giants", "too_large"), ("poison", "server_error")])
async def test_why_too_many_tasks_are_unreadable_is_told(what: str, reason: str) -> None:
    async with desk(history(1_000)) as made:
        setattr(made.shelf, what, {f"T{number}" for number in range(0, 1_000, 3)})
        assert (await made.poll()).reason == reason


async def test_a_platform_whose_every_answer_is_too_large_is_not_taken_for_one_with_many_such_tasks() -> None:
    async with desk(history(1_000)) as made:
        await made.poll()
        made.shelf.giants = {task.id for task in made.shelf.tasks_now}
        assert (await made.poll()).reason == "too_large"
        assert len(made.shelf.asked) <= 40
        assert made.tracker.unreadable == 0


async def test_a_cured_task_is_found_by_the_next_sweep() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=3600.0)
    async with desk(history(400), rules) as made:
        made.shelf.poison = {"T200"}
        await made.poll()
        made.shelf.poison.clear()
        for _ in range(3):
            await made.poll(after=3600.0)
        assert made.tracker.report({}).families["tasks_unreadable"] == Gauge({(): 0})
        assert made.tasks("completed") == 400


async def test_heavy_tasks_are_asked_for_in_smaller_pages_of_two_to_four_megabytes() -> None:
    async with desk(history(300), weight=100_000) as made:
        await made.poll()
        assert 2 * 2**20 <= max(size for _, size in made.shelf.asked) * made.shelf.weight <= 4 * 2**20


async def test_a_first_reading_takes_turns_a_poll_goes_first_and_a_sweep_gets_what_is_left() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(1_000), rules) as made:
        await made.poll()
        assert set(made.shelf.urgencies) == {Urgency.HISTORY}
        await made.poll()
        assert set(made.shelf.urgencies) == {Urgency.FRESH}
        await made.poll(after=DAY)
        await made.poll(after=DAY / 8)
        assert made.shelf.urgencies == [Urgency.FRESH, Urgency.SWEEP]


async def test_what_is_missed_is_searched_for_in_turns_with_fresh_data_however_busy_it_is() -> None:
    async with desk(history(1_000)) as made:
        await made.poll()
        made.shelf.add("deep", below=900)
        made.shelf.is_busy = True
        assert (await made.poll()).changes["tasks_created"] == 1
        assert set(made.shelf.urgencies) == {Urgency.FRESH, Urgency.HISTORY}


async def test_a_sweep_that_would_make_others_wait_is_put_off_but_not_for_ever() -> None:
    rules = msgspec.structs.replace(RULES, reconcile_interval=DAY)
    async with desk(history(1_000), rules) as made:
        await made.poll()
        made.shelf.is_busy = True
        polls = []
        for _ in range(63):
            assert (await made.poll(after=DAY / 8)).error is None
            polls.append(made.shelf.urgencies.count(Urgency.SWEEP))
        assert max(polls) == 1
        assert 2 <= sum(polls) <= 3
        made.shelf.is_busy = False
        await made.poll()
        assert made.shelf.urgencies.count(Urgency.SWEEP) > 1, "what was put off is made up for"
