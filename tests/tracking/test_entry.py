"""A poll whose history has another limit than the one before: exact, however many tasks leave or come back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from weakref import ReferenceType, ref

from exporter.tracking.entry import Entry
from exporter.tracking.records import Record
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import AT_ONCE, Commit
from exporter.tracking.tallies import TASKS, Limits
from tests.tracking.states import BOOK
from tests.tracking.stories import START

RULES = Rules(limits=Limits(buckets={}))
MANY = 2 * AT_ONCE + 500
PENDING, COMPLETED = (TASKS, "call", "pending"), (TASKS, "call", "completed")


def a_history() -> Commit:
    """Tasks one second apart, but for the oldest, which were created together; every second one is open."""
    records = {
        key: Record(
            status="pending" if key % 2 else "completed", execution_type="call", created=START + max(0, key - AT_ONCE)
        )
        for key in range(MANY)
    }
    return Commit(book=BOOK, numbers={PENDING: MANY // 2, COMPLETED: MANY // 2}, records=records)


async def test_however_many_tasks_leave_the_history_or_come_back_the_gauges_are_exact() -> None:
    storage = await SqliteStorage.open(None)
    await storage.commit("agent", a_history())
    state = await storage.load("agent")
    assert state is not None
    for read_from, left in ((START + 1, MANY - AT_ONCE - 1), (START + 1000, 500), (None, MANY), (START + 1e6, 0)):
        entry = Entry("agent", storage, state, RULES)
        await entry.limit(read_from)
        state = await entry.commit(complete=True)
        assert state.numbers.get(PENDING, 0) + state.numbers.get(COMPLETED, 0) == left
        assert state.numbers.get(PENDING, 0) == len(state.watched)
    await storage.close()


class Part(dict[int, Record]):
    """One that can be asked for whether it is still held."""


class Watching(SqliteStorage):
    """Counts the parts that are held at once."""

    most = 0

    async def created_between(self, agent: str, start: float, end: float) -> AsyncIterator[dict[int, Record]]:
        told: dict[int, ReferenceType[Part]] = {}
        async for found in super().created_between(agent, start, end):
            part = Part(found)
            told[len(told)] = ref(part)
            yield part
            del part
            self.most = max(self.most, sum(one() is not None for one in told.values()))


async def test_no_more_than_a_part_of_those_that_leave_is_held_at_once() -> None:
    storage = await Watching.open(None)
    assert isinstance(storage, Watching)
    await storage.commit("agent", a_history())
    state = await storage.load("agent")
    assert state is not None
    await Entry("agent", storage, state, RULES).limit(START + 1e6)
    assert storage.most == 1
    await storage.close()
