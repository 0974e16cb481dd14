"""A first reading looks up next to nothing in the state, and takes no task for a new one that it has met."""

from __future__ import annotations

import gc
from collections.abc import Collection

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.tracking.entry import Entry
from exporter.tracking.lookups import Lookups, Room
from exporter.tracking.pages import Slice
from exporter.tracking.records import Record
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Loaded
from exporter.tracking.tallies import Limits
from exporter.unpod.facts import Page, Task
from tests.tracking.states import BOOK
from tests.tracking.stories import BUCKETS, START

RULES = Rules(limits=Limits(buckets=BUCKETS), backfill=0.0)


class Asked(SqliteStorage):
    """Counts the tasks that are looked up."""

    number = 0

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        self.number += len(keys)
        return await super().records(agent, keys)


def page(numbers: Collection[int], status: str = "completed") -> Slice:
    tasks = tuple(
        Task(id=f"T{number}", status=status, execution_type="call", created=START + number) for number in numbers
    )
    return Slice(Page(tasks=tasks, total=len(tasks), received=len(tasks)), 0)


async def read(pages: list[tuple[list[int], str, bool]], lookups: Lookups | None) -> tuple[Loaded, int]:
    """What is known after these pages, some of them committed, and how many tasks were looked up for it."""
    storage = await Asked.open(None)
    assert isinstance(storage, Asked)
    state = Loaded(book=BOOK, numbers={}, watched={}, tracked=0)
    entry = Entry("agent", storage, state, RULES, lookups=lookups)
    for numbers, status, commits in pages:
        await entry.take(page(numbers, status), START + 1e6)
        if commits:
            await entry.commit(complete=False)
    known = await entry.commit(complete=True)
    loaded = await storage.load("agent")
    await storage.close()
    assert loaded is not None
    assert (loaded.numbers, loaded.tracked, loaded.watched) == (known.numbers, known.tracked, known.watched)
    return known, storage.number


numbers = st.lists(st.integers(0, 12), max_size=5)
pages = st.lists(st.tuples(numbers, st.sampled_from(["pending", "completed"]), st.booleans()), max_size=8)


@settings(deadline=None)
@given(pages=pages, most=st.sampled_from([0, 3, 1000]))
async def test_what_is_looked_up_changes_nothing_of_what_is_counted(
    pages: list[tuple[list[int], str, bool]], most: int
) -> None:
    assert (await read(pages, Room(most).first()))[0] == (await read(pages, None))[0]


async def test_a_first_reading_looks_up_those_alone_that_it_has_committed() -> None:
    _, looked_up = await read(
        [(list(range(100)), "completed", True), (list(range(98, 200)), "completed", True)], Room().first()
    )
    assert looked_up == 2


def test_there_is_room_for_so_many_of_all_readings_together() -> None:
    room = Room(most=10)
    one, other = room.first(), room.first()
    one.committed(range(6))
    other.committed(range(100, 106))
    assert other.needed({1, 2, 100}) == {1, 2, 100}, "it found no room, and looks up everything"
    assert one.needed({1, 2, 100}) == {1, 2}
    other.committed(range(200, 300))
    assert other.remembered == 0


def test_a_reading_that_is_over_leaves_its_room_to_others() -> None:
    room = Room(most=10)
    over = room.first()
    over.committed(range(10))
    del over
    gc.collect()
    after = room.first()
    after.committed(range(10))
    assert after.needed({1, 100}) == {1}
