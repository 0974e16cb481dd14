"""What cannot be committed is kept in memory: nobody who reads can tell, and in the end it is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.tracking.overlay import Overlay, Unwritable
from exporter.tracking.records import Record
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Book, Commit, StateUnwritable, StorageError
from tests.tracking.states import a_commit, created_between
from tests.tracking.stories import START
from tests.truth.harness import Notes

AGENTS = ("one", "two")


class Flaky(SqliteStorage):
    """A state whose disk is full at will."""

    full = False

    async def commit(self, agent: str, commit: Commit) -> None:
        if self.full:
            raise StateUnwritable("the disk is full")
        await super().commit(agent, commit)


@asynccontextmanager
async def covered(path: Path | None = None, **more: int) -> AsyncIterator[tuple[Overlay, Flaky, Notes]]:
    log = Notes()
    flaky = await Flaky.open(path)
    assert isinstance(flaky, Flaky)
    overlay = Overlay(flaky, log, clock=lambda: START, **more)
    try:
        yield overlay, flaky, log
    finally:
        await overlay.close()


keys = st.integers(1, 6)
series = st.tuples(st.sampled_from(["calls", "retries", "tasks"]))
commits = st.builds(
    Commit,
    book=st.builds(Book, since=st.just(START), count_from=st.none(), reported=st.integers(0, 9)),
    numbers=st.dictionaries(series, st.integers(0, 99), max_size=3),
    records=st.dictionaries(
        keys,
        st.builds(
            Record,
            status=st.sampled_from(["pending", "completed"]),
            execution_type=st.just("call"),
            created=st.none() | st.integers(0, 5).map(float),
            retry_attempt=st.integers(0, 3),
        ),
        max_size=3,
    ),
)
dropping = st.builds(
    lambda commit, dropped: msgspec.structs.replace(commit, dropped=dropped - commit.numbers.keys()),
    commits,
    st.sets(series, max_size=2),
)
steps = st.lists(st.tuples(st.booleans(), st.sampled_from(AGENTS), commits | dropping), max_size=12)


@given(steps=steps)
@settings(max_examples=80, deadline=None)
def test_whatever_fails_and_in_whatever_order_what_is_read_is_what_was_told(
    steps: list[tuple[bool, str, Commit]],
) -> None:
    async def story() -> None:
        async with covered() as (overlay, flaky, _):
            plain = await SqliteStorage.open(None)
            for full, agent, commit in steps:
                flaky.full = full
                await overlay.commit(agent, commit)
                await plain.commit(agent, commit)
                assert set(await overlay.agents()) == set(await plain.agents())
                for one in AGENTS:
                    assert await overlay.load(one) == await plain.load(one)
                    assert await overlay.records(one, range(1, 6)) == await plain.records(one, range(1, 6))
                    assert await created_between(overlay, one, 1.0, 4.0) == await created_between(plain, one, 1.0, 4.0)
                if not full:
                    assert overlay.uncommitted() == 0
                    assert [await flaky.load(one) for one in AGENTS] == [await plain.load(one) for one in AGENTS]
            flaky.full = False
            await plain.close()

    asyncio.run(story())


async def test_it_is_told_once_that_the_state_cannot_be_written_and_once_that_it_can_be_again() -> None:
    async with covered() as (overlay, flaky, log):
        flaky.full = True
        for number in range(3):
            await overlay.commit("one", a_commit(number))
            await overlay.commit("two", a_commit(number))
        assert overlay.uncommitted() == 6
        (told,) = log.told("state cannot be written")
        assert told["error"] == "the disk is full"
        assert overlay.unwritable == Unwritable(START, "the disk is full")
        assert not log.told("state can be written again")
        flaky.full = False
        await overlay.commit("one", a_commit(4))
        assert len(log.told("state can be written again")) == 1
        assert overlay.uncommitted() == 0
        assert (await flaky.load("two")) == (await overlay.load("two"))
        flaky.full = True
        await overlay.commit("one", a_commit(5))
        assert len(log.told("state cannot be written")) == 2, "another time"
        flaky.full = False


async def test_no_more_is_kept_than_memory_should_hold() -> None:
    async with covered(most=10) as (overlay, flaky, _):
        flaky.full = True
        await overlay.commit("one", a_commit(1, tasks=6))
        with pytest.raises(
            StorageError, match="the disk is full; no more than 10 tasks are kept in memory until it can"
        ):
            await overlay.commit("two", a_commit(2, tasks=6))
        await overlay.commit("one", a_commit(3, tasks=8))
        assert overlay.uncommitted() == 8
        flaky.full = False
        await overlay.commit("two", a_commit(4, tasks=6))
        loaded = await flaky.load("one")
        assert loaded is not None
        assert loaded.tracked == 8


async def test_a_commit_that_fails_for_what_it_holds_is_not_kept_and_hinders_no_other() -> None:
    async with covered() as (overlay, flaky, _):
        flaky.full = True
        await overlay.commit("one", Commit(book=a_commit(1).book, numbers={("calls",): 2**63}))
        flaky.full = False
        await overlay.commit("two", a_commit(1))
        with pytest.raises(StorageError):
            await overlay.commit("one", a_commit(2))
        await overlay.commit("one", Commit(book=a_commit(1).book, numbers={("calls",): 2**62}))
        assert overlay.uncommitted() == 0


async def test_stopping_writes_what_is_kept_or_says_that_it_could_not(tmp_path: Path) -> None:
    async with covered(tmp_path / "state.db") as (overlay, flaky, log):
        flaky.full = True
        await overlay.commit("one", a_commit(1))
        flaky.full = False
    assert not log.told("state not written")
    async with covered(tmp_path / "state.db") as (overlay, flaky, log):
        assert await overlay.load("one") is not None
        flaky.full = True
        await overlay.commit("one", a_commit(2, tasks=4))
    (told,) = log.told("state not written")
    assert (told["agents"], told["tasks"]) == ("one", 4)


class Slow(Flaky):
    """Commits slowly, so that somebody who waits may give up."""

    async def commit(self, agent: str, commit: Commit) -> None:
        await super().commit(agent, commit)
        await asyncio.Event().wait()


async def test_who_gives_up_waiting_for_a_commit_finds_nothing_older_later(tmp_path: Path) -> None:
    log = Notes()
    slow = await Slow.open(tmp_path / "state.db")
    assert isinstance(slow, Slow)
    overlay = Overlay(slow, log, clock=lambda: START)
    slow.full = True
    await overlay.commit("one", a_commit(1))
    slow.full = False
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await overlay.commit("one", a_commit(2))
    loaded = await overlay.load("one")
    assert loaded is not None
    assert loaded.book.reported == 2
    await slow.close()
