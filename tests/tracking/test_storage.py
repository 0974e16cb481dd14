"""Every state, in a file or in a database: all of a commit or nothing, exactly what was committed, one writer."""

from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from exporter.tracking.records import Record
from exporter.tracking.storage import AT_ONCE, Book, Commit, Loaded, StateInUse, StorageError
from tests.tracking.states import (
    BOOK,
    Place,
    a_commit,
    books,
    clock_at,
    created_between,
    is_whole,
    keys,
    numbers,
    records,
)
from tests.tracking.stories import START


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a state of the test's own is to be."""
    if request.param == "sqlite":
        return Place(str(tmp_path / "state.db"))
    return Place(request.getfixturevalue("database"))


# What is committed is what is loaded


@given(steps=st.lists(st.tuples(books, numbers, st.dictionaries(keys, records, max_size=6)), min_size=10, max_size=10))
@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
def test_what_was_committed_is_loaded_exactly(place: Place, steps: list[tuple[Book, Any, dict[int, Record]]]) -> None:
    async def story() -> None:
        async with place.opened() as storage:
            fresh = (f"agent {number}" for number in count(len(await storage.agents())))
            for (book, counted, known), agent in zip(steps, fresh, strict=False):
                await storage.commit(agent, Commit(book=book, numbers=counted, records=known))
                assert await storage.load(agent) == Loaded(
                    book=book,
                    numbers=counted,
                    watched={key: record for key, record in known.items() if record.watched},
                    tracked=len(known),
                )
                assert await storage.records(agent, known.keys()) == known

    asyncio.run(story())


async def test_a_later_commit_replaces_what_it_names_and_leaves_the_rest(place: Place) -> None:
    closed = Record(status="completed", execution_type="call")
    async with place.opened() as storage:
        await storage.commit("agent", a_commit(1))
        await storage.commit(
            "agent", Commit(book=BOOK, numbers={("calls", "outbound"): 7}, dropped=[("retries",)], records={2: closed})
        )
    async with place.opened() as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert loaded.book == BOOK
        assert loaded.numbers == {("calls", "outbound"): 7}
        assert loaded.watched.keys() == {1, 3}
        assert loaded.tracked == 3
        assert await storage.records("agent", [1, 2, 99]) == {1: a_commit(1).records[1], 2: closed}


async def test_agents_are_kept_apart(place: Place) -> None:
    async with place.opened() as storage:
        await storage.commit("one", a_commit(1))
        await storage.commit("two", a_commit(2))
        one, two = await storage.load("one"), await storage.load("two")
        assert one is not None
        assert two is not None
        assert is_whole(one, 1)
        assert is_whole(two, 2)
        assert await storage.agents() == ("one", "two")


async def test_an_agent_that_was_never_committed_is_unknown(place: Place) -> None:
    async with place.opened() as storage:
        assert await storage.load("agent") is None
        assert await storage.records("agent", [1]) == {}
        assert await created_between(storage, "agent", -math.inf, math.inf) == {}
        assert await storage.agents() == ()


async def test_tasks_are_found_by_when_they_were_created_the_end_excluded(place: Place) -> None:
    async with place.opened() as storage:
        undated = Record(status="pending", execution_type="call")
        commit = a_commit(1)
        await storage.commit("agent", msgspec.structs.replace(commit, records={**commit.records, 9: undated}))
        await storage.commit("other", commit)
        assert (await created_between(storage, "agent", START + 1, START + 3)).keys() == {1, 2}
        assert (await created_between(storage, "agent", 0.0, START + 9)).keys() == {1, 2, 3}


async def test_however_many_tasks_are_found_they_come_in_parts_each_of_them_once(place: Place) -> None:
    """Most were created at the same moments, as when they were uploaded together."""
    some = {
        key: Record(status="pending", execution_type="call", created=START + key % 2)
        for key in range(-AT_ONCE - 500, AT_ONCE + 500)
    }
    async with place.opened() as storage:
        await storage.commit("agent", Commit(book=BOOK, records=some))
        assert await created_between(storage, "agent", START, START + 2) == some
        first = {key: record for key, record in some.items() if record.created == START}
        assert await created_between(storage, "agent", START, START + 1) == first


@pytest.mark.parametrize("handle", ["bücher/ä", "विक्रय", "'; DROP TABLE tasks; --", "%s", " "])
async def test_any_handle_can_be_stored(place: Place, handle: str) -> None:
    async with place.opened() as storage:
        await storage.commit(handle, a_commit(1))
    async with place.opened() as storage:
        assert await storage.agents() == (handle,)
        assert await storage.load(handle) is not None


async def test_a_handle_that_no_text_encoding_takes_is_a_storage_error_and_not_a_defect(place: Place) -> None:
    async with place.opened() as storage:
        with pytest.raises(StorageError):
            await storage.commit("\ud800", a_commit(1))
        assert await storage.agents() == ()


# All or nothing


class Explosive(dict[Any, Any]):
    """Explodes after some of its items have been written."""

    def items(self) -> Any:
        yield from list(super().items())[:1]
        raise RuntimeError("boom")


@pytest.mark.parametrize("part", ["numbers", "records"])
async def test_a_commit_that_fails_in_the_middle_changes_nothing(place: Place, part: str) -> None:
    async with place.opened() as storage:
        await storage.commit("agent", a_commit(1))
        broken = msgspec.structs.replace(a_commit(2), **{part: Explosive(getattr(a_commit(2), part))})
        for agent in ("agent", "new agent"):
            with pytest.raises(RuntimeError, match="boom"):
                await storage.commit(agent, broken)
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 1)
        assert await storage.agents() == ("agent",)
        await storage.commit("agent", a_commit(3))
    async with place.opened() as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 3)


async def test_a_number_beyond_what_a_database_holds_fails_its_commit_alone(place: Place) -> None:
    async with place.opened() as storage:
        await storage.commit("agent", a_commit(1))
        with pytest.raises(StorageError):
            await storage.commit("agent", Commit(book=BOOK, numbers={("calls",): 2**63}))
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 1)


COMMITS = """
import asyncio, sys
from tests.tracking.states import Place, a_commit

async def commit_for_ever():
    storage = await Place(sys.argv[1]).open()
    number = 0
    while True:
        number += 1
        await storage.commit("agent", a_commit(number, tasks=200))
        print(number, flush=True)

asyncio.run(commit_for_ever())
"""
HOLDS = """
import asyncio, sys
from tests.tracking.states import Place

async def hold():
    storage = await Place(sys.argv[1]).open()
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


def started(script: str, place: Place) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script, place.name], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> str:
    """What a process had still said when it was killed."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    return said


@pytest.mark.parametrize("after", [1, 4, 9, 16, 25])
async def test_a_kill_in_the_middle_of_commits_leaves_the_last_one_whole_or_absent(place: Place, after: int) -> None:
    process = started(COMMITS, place)
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(after)][-1]
    told = [last, *killed(process).split()]
    async with place.opened() as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert loaded.book.reported is not None
        assert int(told[-1]) <= loaded.book.reported <= int(told[-1]) + 1
        assert is_whole(loaded, loaded.book.reported)
        assert loaded.tracked == 200


# One writer


async def test_a_second_writer_in_this_process_is_refused(place: Place) -> None:
    async with place.opened():
        with pytest.raises(StateInUse, match="in use by another exporter"):
            await place.open()
    async with place.opened() as storage:
        assert await storage.agents() == ()


async def test_a_second_process_is_refused_and_told_who_holds_it_and_what_to_do_until_that_one_is_gone(
    place: Place,
) -> None:
    process = started(HOLDS, place)
    with pytest.raises(StateInUse) as refused:
        await place.open()
    holder = "unpod-exporter from 127.0.0.1" if place.name.startswith("postgresql") else f"process {process.pid}"
    assert f"in use by another exporter ({holder}); stop that one, or give this one a " in str(refused.value)
    killed(process)
    async with place.opened() as storage:
        assert await storage.agents() == ()


# What an operator is told


async def test_the_state_remembers_when_it_began(place: Place) -> None:
    async with place.opened(clock=clock_at(START)) as storage:
        assert storage.created == START
    async with place.opened(clock=clock_at(START + 999)) as storage:
        assert storage.created == START


async def test_every_commit_tells_how_long_it_took_and_a_failed_one_does_not(place: Place) -> None:
    took: list[float] = []
    async with place.opened(committed=took.append) as storage:
        await storage.commit("agent", a_commit(1))
        with pytest.raises(StorageError):
            await storage.commit("agent", Commit(book=BOOK, numbers={("calls",): 2**63}))
    assert len(took) == 1
    assert took[0] > 0
