"""What is read stands in memory only for as many agents as have a hand for it, however many read at once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from exporter.tracking.hands import Hands
from exporter.tracking.pages import Pages, Slice
from exporter.tracking.reading import Reading
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Commit, StateTaken, StorageError
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import BadResponse
from exporter.unpod.facts import Page, Task
from exporter.unpod.urgency import Urgency
from tests.service.running import until
from tests.tracking.platform import RULES, Shelf, Time
from tests.tracking.stories import START, task

AGENTS = 60
MOST = 2 + 8
OURS = "task-of-the-test-"


def history(agent: str, numbers: range) -> list[Task]:
    """Newest first; the higher the number, the older."""
    return [task("completed", id=f"{OURS}{agent}-{number}", created=START - 10_000 - number) for number in numbers]


class Slow(SqliteStorage):
    """One whose commits wait until they are allowed, from ``slow_down`` on."""

    _turns: asyncio.Semaphore | None = None
    _allowed = _waiting = 0

    def slow_down(self) -> None:
        self._turns = asyncio.Semaphore(0)

    def allow(self, commits: int) -> None:
        assert self._turns is not None
        self._allowed += commits
        for _ in range(commits):
            self._turns.release()

    async def holds_up_all(self) -> bool:
        """Whether all commits that are allowed have begun, and all hands wait to make another one."""
        return not self._allowed and self._waiting == MOST

    async def commit(self, agent: str, commit: Commit) -> None:
        if self._turns is not None:
            self._waiting += 1
            await self._turns.acquire()
            self._waiting -= 1
            self._allowed -= 1
        await super().commit(agent, commit)


def pages() -> int:
    """How many pages with tasks of this test are in memory; others may have left theirs.

    No other thread may be at work: what it lets go of would be held here for a moment, and SQLite minds that.
    """
    found = (one for one in gc.get_objects() if isinstance(one, Page) and one.tasks)
    return sum(page.tasks[0].id.startswith(OURS) for page in found)


async def settled() -> None:
    """Until nothing happens any more without a commit."""
    for _ in range(2_000):
        await asyncio.sleep(0)


@pytest.mark.parametrize("again", [False, True], ids=["first readings", "after an outage"])
async def test_pages_that_wait_to_be_committed_are_few_however_many_agents_there_are(again: bool) -> None:
    storage, hands, time = await Slow.open(None), Hands(2, lambda agent: False), Time()
    assert isinstance(storage, Slow)
    shelf = Shelf({str(agent): history(str(agent), range(300, 340)) for agent in range(AGENTS)})
    trackers = [Tracker(agent, shelf, storage, RULES, now=time, elapsed=time, hands=hands) for agent in shelf.agents]
    if again:
        await asyncio.gather(*(tracker.poll() for tracker in trackers))
        shelf.agents = {agent: history(agent, range(340)) for agent in shelf.agents}
    storage.slow_down()
    polls = asyncio.gather(*(tracker.poll() for tracker in trackers))
    for _ in range(5):
        await until(storage.holds_up_all)
        assert 0 < pages() <= MOST
        # Those whose commit has been made ask for their next page, or wait to do so.
        storage.allow(AGENTS // 4)
    storage.allow(1_000 * AGENTS)
    assert {outcome.error for outcome in await polls} == {None}
    assert [tracker.tracked for tracker in trackers] == [len(tasks) for tasks in shelf.agents.values()]
    await storage.close()


async def test_those_who_were_slow_take_no_hand_from_others_and_give_theirs_back_when_they_are_cancelled() -> None:
    hands, taken = Hands(0, lambda agent: agent.startswith("slow")), []

    async def parts(answers: asyncio.Event) -> AsyncIterator[Slice]:
        await answers.wait()
        yield Slice(Page(tasks=(), total=0, received=0), 0)

    async def reads(agent: str, answers: asyncio.Event) -> None:
        async def take(part: Slice) -> None:
            taken.append(agent)

        await hands.each(agent, Urgency.FRESH, parts(answers), take)

    never, now = asyncio.Event(), asyncio.Event()
    now.set()
    stuck = [asyncio.create_task(reads(f"slow-{number}", never)) for number in range(20)]
    await settled()
    await reads("quick", now)
    assert taken == ["quick"]
    for one in stuck:
        one.cancel()
    await asyncio.wait(stuck)
    await reads("slow", now)
    assert taken == ["quick", "slow"]


class Broken(SqliteStorage):
    """One that commits nothing."""

    error: Exception

    async def commit(self, agent: str, commit: Commit) -> None:
        try:
            raise OSError("beneath")
        except OSError as beneath:
            raise self.error from beneath


@pytest.mark.parametrize("kind", [BadResponse, StorageError, StateTaken])
async def test_a_poll_that_has_failed_holds_nothing_of_what_it_has_read(kind: type[Exception]) -> None:
    storage, time = await Broken.open(None), Time()
    assert isinstance(storage, Broken)
    storage.error = kind("somewhere")
    tracker = Tracker("sales", Shelf({"sales": history("sales", range(40))}), storage, RULES, now=time, elapsed=time)
    outcome = await tracker.poll()
    assert outcome.error is storage.error
    gc.collect()
    assert pages() == 0
    await storage.close()


class Watching(Shelf):
    """Looks how many pages are held by whoever asks for one."""

    held = 0

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        self.held = max(self.held, pages())
        return await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)


async def test_no_page_is_held_while_the_next_one_is_asked_for() -> None:
    whole = history("sales", range(1_200))
    shelf, time = Watching({"sales": [one for one in whole if one is not whole[1_100]]}), Time()
    storage = await SqliteStorage.open(None)
    tracker = Tracker("sales", shelf, storage, RULES, now=time, elapsed=time)
    assert (await tracker.poll()).error is None
    shelf.agents["sales"] = whole
    while tracker.tracked != len(whole):
        # The whole history is swept for the one that was missed.
        assert (await tracker.poll()).error is None
    assert shelf.held == 0
    await storage.close()


async def test_nor_while_pages_are_read_again_between_which_tasks_may_have_slipped() -> None:
    shelf = Watching({"sales": history("sales", range(300))})
    reading = Reading(Pages(shelf, "sales"), page_size=lambda: 100, known=lambda: 299, read_from=None)

    async def take(part: Slice) -> None:
        pass

    await Hands(1, lambda agent: False).each("sales", Urgency.FRESH, reading.slices(), take)
    assert shelf.asked == 2 * 3
    assert shelf.held == 0
