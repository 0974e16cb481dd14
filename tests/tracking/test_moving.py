"""A state that is moved, from a file to a database or back, is the same state; what is not whole moves nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from exporter.tracking import moving
from exporter.tracking.records import Record, pack
from exporter.tracking.storage import Book, Commit, State, StorageError
from tests.postgres import Server
from tests.tracking.states import BOOK, Place, a_commit, books, clock_at, created_between, keys, numbers, records
from tests.tracking.stories import START


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, Place]:
    """From where, and to where."""
    made = []
    for number, kind in enumerate(request.param.split(" to ")):
        made.append(
            Place(request.getfixturevalue("database") if kind == "postgresql" else str(tmp_path / f"{number}.db"))
        )
    return made[0], made[1]


async def exported(state: State) -> list[bytes]:
    lines: list[bytes] = []
    await state.move(partial(moving.export, write=lines.append))
    return lines


async def imported(state: State, lines: list[bytes]) -> moving.Moved:
    return await state.move(partial(moving.fill, read=lambda: moving.Reader(lines, "backup")))


def many(number: int) -> Commit:
    """More tasks than fit a line, and more than one agent."""
    return a_commit(number, tasks=2 * moving.TASKS_AT_ONCE + 1)


async def test_what_is_moved_is_all_there_and_goes_on_as_if_nothing_had_been(places: tuple[Place, Place]) -> None:
    source, target = places
    async with source.opened(clock=clock_at(START)) as one, target.opened(clock=clock_at(START + 999)) as other:
        await one.commit("b", many(2))
        await one.commit("a", a_commit(1))
        lines = await exported(one)
        moved = await imported(other, lines)
        assert (moved.agents, moved.numbers, moved.tasks) == (2, 4, 3 + 2 * moving.TASKS_AT_ONCE + 1)
        assert await exported(other) == lines
        assert set(await other.agents()) == {"a", "b"}
        for agent in "ab":
            assert await other.load(agent) == await one.load(agent)
        old = [await created_between(state, "b", START, START + 10) for state in (one, other)]
        assert len(old[0]) == 9
        assert old[0] == old[1]
        await other.commit("b", many(3))
        await other.commit("c", a_commit(4))
    async with target.opened() as other:
        assert other.created == START
        loaded = await other.load("b")
        assert loaded is not None
        assert loaded.book.reported == 3


@given(
    agents=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9),
        st.tuples(books, numbers, st.dictionaries(keys, records, max_size=6)),
        max_size=4,
    )
)
@example(agents={"a": (BOOK, {}, dict.fromkeys((-(2**63), 2**63 - 1), Record(status="hold", execution_type="call")))})
@settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
def test_whatever_a_state_holds_makes_the_same_lines_wherever_it_is(
    tmp_path: Path, postgres_server: Server, agents: dict[str, tuple[Book, Any, dict[int, Record]]]
) -> None:
    async def story(database: str) -> None:
        file = tmp_path / "state.db"
        file.unlink(missing_ok=True)
        async with Place(str(file)).opened() as one, Place(database).opened() as other:
            for agent, (book, counted, known) in agents.items():
                await one.commit(agent, Commit(book=book, numbers=counted, records=known))
            lines = await exported(one)
            await imported(other, lines)
            assert await exported(other) == lines
            for agent in agents:
                assert await other.load(agent) == await one.load(agent)

    with postgres_server.lent() as database:
        asyncio.run(story(database))


def without_the_end(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


def in_the_middle_of_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2][:100]]


def one_line_less(lines: list[bytes]) -> list[bytes]:
    return lines[:2] + lines[3:]


def one_line_twice(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[2:]]


def another_number(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"outbound"],1', b'"outbound"],2') for line in lines]


def another_version(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]]


def tasks_first(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def more_behind_the_end(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[1]]


def a_task_that_is_none(lines: list[bytes]) -> list[bytes]:
    return [
        msgspec.json.encode({"line": "tasks", "tasks": [[1, 2.0, b"\xc1"]]}) if b'"tasks"' in line else line
        for line in lines
    ]


def nothing_at_all(lines: list[bytes]) -> list[bytes]:
    return []


def something_else(lines: list[bytes]) -> list[bytes]:
    return [b"SQLite format 3\0\n"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (without_the_end, "ends too early: it is not a whole state"),
        (in_the_middle_of_a_line, r"is damaged, or ends too early \(line 3\)"),
        (one_line_less, "is not what was exported: its digest or its counts do not fit"),
        (one_line_twice, "is not what was exported"),
        (another_number, "is not what was exported"),
        (another_version, "has version 9, this exporter reads version 1; export it again"),
        (tasks_first, "tasks come before any agent"),
        (more_behind_the_end, "what stands here belongs elsewhere"),
        (a_task_that_is_none, "a task cannot be read"),
        (nothing_at_all, "ends too early"),
        (something_else, r"is no state that was exported \(line 1\)"),
    ],
)
async def test_what_is_not_whole_changes_nothing(places: tuple[Place, Place], broken: Any, said: str) -> None:
    source, target = places
    async with source.opened() as one, target.opened() as other:
        await one.commit("a", many(1))
        lines = await exported(one)
        with pytest.raises(StorageError, match=f"backup.*{said}"):
            await imported(other, broken(lines))
        assert await other.agents() == ()
        await imported(other, lines)
        assert await exported(other) == lines


@pytest.mark.parametrize("seed", range(20))
def test_no_flipped_bit_goes_unnoticed(seed: int) -> None:
    rows = Shelf()
    lines = b"".join(moving.lines(rows))
    random = Random(seed)
    bits = bytearray(lines)
    bits[random.randrange(len(bits))] ^= 1 << random.randrange(8)
    with pytest.raises(StorageError, match="backup"):
        list(moving.Reader(bytes(bits).splitlines(keepends=True), "backup").commits())


async def test_a_state_that_holds_something_is_not_written_over(places: tuple[Place, Place]) -> None:
    source, target = places
    async with source.opened() as one, target.opened() as other:
        await one.commit("a", a_commit(1))
        await other.commit("b", a_commit(2))
        before = await exported(other)
        with pytest.raises(StorageError, match="it is not empty; name another one, or take away what is there"):
            await imported(other, await exported(one))
        assert await exported(other) == before


class Shelf:
    """A state in memory, as rows."""

    def __init__(self) -> None:
        self._commit = a_commit(1, tasks=5)

    def begun(self) -> float:
        return START

    def begin(self, at: float) -> None:
        """It has."""

    def agents(self) -> list[str]:
        return ["a"]

    def agent(self, handle: str) -> tuple[Book, Any]:
        return BOOK, self._commit.numbers

    def tasks(self, handle: str, after: int | None, most: int) -> list[moving.Row]:
        return [
            (key, record.created, pack(record))
            for key, record in sorted(self._commit.records.items())
            if after is None or key > after
        ][:most]

    def write(self, handle: str, commit: Commit) -> None:
        """Nothing is kept."""


class Forgetful(Shelf):
    """Loses what is written to it."""

    def agents(self) -> list[str]:
        return []


def test_a_state_that_loses_what_is_written_to_it_is_noticed() -> None:
    lines = list(moving.lines(Shelf()))
    with pytest.raises(
        StorageError, match=r"it does not hold what was read: 0 agents, 0 numbers and 0 tasks in place of"
    ):
        moving.fill(Forgetful(), lambda: moving.Reader(lines, "backup"))
