"""The state on disk: all of a commit or nothing, exactly what was committed, one writer, and nobody else's file."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.tracking.records import NO_AMOUNTS, Amounts, KnownCall, Record, digest, pack, unpack
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Book, Commit, Loaded, StateInUse, StorageError
from exporter.unpod.facts import Call, Latency, Messages
from exporter.unpod.vocabulary import EXECUTION_TYPES, STATUSES
from tests.tracking.stories import START

BOOK = Book(since=START, count_from=None)

moments = st.none() | st.floats(min_value=-1e12, max_value=1e12)
whole = st.integers(0, 2**63 - 1)
keys = st.integers(-(2**63), 2**63 - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
calls = st.builds(
    Call,
    id=words,
    start=moments,
    end=moments,
    duration=st.none() | st.floats(0, 1e7),
    over=st.booleans(),
    number=words,
    messages=st.none() | st.builds(Messages, whole, whole, whole),
    silent=st.none() | st.booleans(),
    outcome=st.none() | words,
    cost=st.floats(0, 1e6),
    latency=st.none() | st.builds(Latency, whole, st.floats(0, 1e9)),
    digest=whole,
)
known_calls = st.builds(
    KnownCall,
    id=keys,
    start=moments,
    digest=whole,
    seen=st.integers(0, 4095),
    ended=moments,
    held=st.none() | calls,
    amounts=st.none() | st.builds(Amounts, *[whole] * len(Amounts.__struct_fields__)),
)
records = st.builds(
    Record,
    status=st.sampled_from(STATUSES),
    execution_type=st.sampled_from(EXECUTION_TYPES),
    retry_attempt=whole,
    failure_count=whole,
    created=moments,
    scheduled=moments,
    changed=moments,
    entered=moments,
    run=keys,
    odd=whole,
    started=st.booleans(),
    call=st.none() | known_calls,
    past=st.lists(keys, max_size=5).map(tuple),
    settles=moments,
    place=st.none() | whole,
)
numbers = st.dictionaries(st.lists(words, min_size=1, max_size=4).map(tuple), st.integers(-(2**62), 2**62), max_size=5)
books = st.builds(
    Book,
    since=st.floats(0, 1e12),
    count_from=moments,
    complete=st.booleans(),
    read_from=moments,
    newest=moments,
    last_success=moments,
    last_call_end=moments,
    reported=st.none() | whole,
    unreadable=st.lists(whole, max_size=3).map(tuple),
    task_bytes=st.floats(0, 1e9),
    sweep=st.none() | whole,
    swept=moments,
    hurry=st.booleans(),
    missing=whole,
    began=st.dictionaries(words, st.floats(0, 1e12), max_size=3),
    bounds=st.dictionaries(words, st.lists(st.floats(0, 1e9), max_size=4).map(tuple), max_size=3),
    capped=st.lists(words, max_size=3).map(tuple),
)
in_memory = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@asynccontextmanager
async def opened(path: Path | None = None, **more: Any) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(path, **more)
    try:
        yield storage
    finally:
        await storage.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def a_commit(number: int, *, tasks: int = 3) -> Commit:
    """A commit in which everything tells the same number."""
    return Commit(
        book=msgspec.structs.replace(BOOK, reported=number),
        numbers={("calls", "outbound"): number, ("retries",): number},
        records={
            key: Record(status="pending", execution_type="call", retry_attempt=number, created=START + key)
            for key in range(1, tasks + 1)
        },
    )


def is_whole(loaded: Loaded, number: int) -> bool:
    records = loaded.watched.values()
    told = {loaded.book.reported, *loaded.numbers.values(), *(record.retry_attempt for record in records)}
    return told == {number}


# What is committed is what is loaded


@given(record=records)
def test_packing_a_record_loses_nothing(record: Record) -> None:
    assert unpack(pack(record), record.created) == record


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\xc1", None)


@given(book=books, counted=numbers, known=st.dictionaries(keys, records, max_size=6))
@in_memory
def test_what_was_committed_is_loaded_exactly(book: Book, counted: Any, known: dict[int, Record]) -> None:
    async def story() -> None:
        async with opened() as storage:
            await storage.commit("agent", Commit(book=book, numbers=counted, records=known))
            assert await storage.load("agent") == Loaded(
                book=book,
                numbers=counted,
                watched={key: record for key, record in known.items() if record.watched},
                tracked=len(known),
            )
            assert await storage.records("agent", known.keys()) == known

    asyncio.run(story())


async def test_a_later_commit_replaces_what_it_names_and_leaves_the_rest(path: Path) -> None:
    closed = Record(status="completed", execution_type="call")
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
        await storage.commit(
            "agent", Commit(book=BOOK, numbers={("calls", "outbound"): 7}, dropped=[("retries",)], records={2: closed})
        )
    async with opened(path) as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert loaded.book == BOOK
        assert loaded.numbers == {("calls", "outbound"): 7}
        assert loaded.watched.keys() == {1, 3}
        assert loaded.tracked == 3
        assert await storage.records("agent", [1, 2, 99]) == {1: a_commit(1).records[1], 2: closed}


async def test_agents_are_kept_apart(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        await storage.commit("two", a_commit(2))
        one, two = await storage.load("one"), await storage.load("two")
        assert one is not None
        assert two is not None
        assert is_whole(one, 1)
        assert is_whole(two, 2)
        assert await storage.agents() == ("one", "two")


async def test_an_agent_that_was_never_committed_is_unknown() -> None:
    async with opened() as storage:
        assert await storage.load("agent") is None
        assert await storage.records("agent", [1]) == {}
        assert await storage.created_between("agent", -math.inf, math.inf) == {}
        assert await storage.agents() == ()


async def test_tasks_are_found_by_when_they_were_created_the_end_excluded() -> None:
    async with opened() as storage:
        undated = Record(status="pending", execution_type="call")
        commit = a_commit(1)
        await storage.commit("agent", msgspec.structs.replace(commit, records={**commit.records, 9: undated}))
        await storage.commit("other", commit)
        assert (await storage.created_between("agent", START + 1, START + 3)).keys() == {1, 2}
        assert (await storage.created_between("agent", 0.0, START + 9)).keys() == {1, 2, 3}


@pytest.mark.parametrize("handle", ["bücher/ä", "विक्रय", "'; DROP TABLE tasks; --", "\x00", " "])
async def test_any_handle_can_be_stored(path: Path, handle: str) -> None:
    async with opened(path) as storage:
        await storage.commit(handle, a_commit(1))
    async with opened(path) as storage:
        assert await storage.agents() == (handle,)
        assert await storage.load(handle) is not None


async def test_a_handle_that_no_text_encoding_takes_is_a_storage_error_and_not_a_defect(path: Path) -> None:
    async with opened(path) as storage:
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
async def test_a_commit_that_fails_in_the_middle_changes_nothing(path: Path, part: str) -> None:
    async with opened(path) as storage:
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
    async with opened(path) as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 3)


async def test_a_number_beyond_what_a_database_holds_fails_its_commit_alone(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
        with pytest.raises(StorageError):
            await storage.commit("agent", Commit(book=BOOK, numbers={("calls",): 2**63}))
        loaded = await storage.load("agent")
        assert loaded is not None
        assert is_whole(loaded, 1)


COMMITS = """
import asyncio, sys
from pathlib import Path
from exporter.tracking.sqlite import SqliteStorage
from tests.tracking.test_sqlite import a_commit

async def commit_for_ever():
    storage = await SqliteStorage.open(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        await storage.commit("agent", a_commit(number, tasks=200))
        print(number, flush=True)

asyncio.run(commit_for_ever())
"""
HOLDS = """
import asyncio, sys
from pathlib import Path
from exporter.tracking.sqlite import SqliteStorage

async def hold():
    storage = await SqliteStorage.open(Path(sys.argv[1]))
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    """A process that has said its first line."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(  # noqa: S603 - this interpreter, with the script above
        [sys.executable, "-c", script, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> str:
    """What a process had still said when it was killed."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    return said


@pytest.mark.parametrize("after", [1, 4, 9, 16, 25])
async def test_a_kill_in_the_middle_of_commits_leaves_the_last_one_whole_or_absent(path: Path, after: int) -> None:
    process = started(COMMITS, path)
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(after)][-1]
    told = [last, *killed(process).split()]
    async with opened(path) as storage:
        loaded = await storage.load("agent")
        assert loaded is not None
        assert loaded.book.reported is not None
        assert int(told[-1]) <= loaded.book.reported <= int(told[-1]) + 1
        assert is_whole(loaded, loaded.book.reported)
        assert loaded.tracked == 200


# One writer


async def test_a_second_writer_in_this_process_is_refused(path: Path) -> None:
    async with opened(path):
        with pytest.raises(StateInUse, match=rf"state\.db is in use by another exporter \(process {os.getpid()}\)"):
            await SqliteStorage.open(path)
    async with opened(path) as storage:
        assert await storage.agents() == ()


async def test_a_second_process_is_refused_and_told_who_holds_it_and_what_to_do_until_that_one_is_gone(
    path: Path,
) -> None:
    process = started(HOLDS, path)
    with pytest.raises(StateInUse) as refused:
        await SqliteStorage.open(path)
    assert f"process {process.pid}" in str(refused.value)
    assert "stop that one, or give this one a file of its own in state.path" in str(refused.value)
    killed(process)
    async with opened(path) as storage:
        assert await storage.agents() == ()


async def test_a_link_to_a_state_in_use_is_refused_too(path: Path) -> None:
    async with opened(path):
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(StateInUse):
            await SqliteStorage.open(link)


async def test_states_in_memory_do_not_exclude_each_other() -> None:
    async with opened() as one, opened() as two:
        await one.commit("agent", a_commit(1))
        assert await two.agents() == ()


# Only our own files


MINUTES = b"minutes of the meeting\n" * 100


def content(path: Path) -> bytes:
    return path.read_bytes()


def write_minutes(path: Path) -> None:
    path.write_bytes(MINUTES)


def remove(path: Path) -> None:
    path.unlink()


def made_by_sqlite(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


@pytest.mark.parametrize("version", [0, 2, 7])
async def test_another_version_of_the_state_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
    made_by_sqlite(path, f"PRAGMA user_version = {version}")
    before = content(path)
    with pytest.raises(StorageError, match=rf"has version {version}, this exporter reads version 1; run the exporter"):
        await SqliteStorage.open(path)
    assert content(path) == before


async def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    made_by_sqlite(path, "CREATE TABLE precious (thing TEXT)")
    before = content(path)
    with pytest.raises(StorageError, match=r"is a database of another program; name another file in state\.path"):
        await SqliteStorage.open(path)
    assert content(path) == before


async def test_a_state_that_is_no_database_any_more_is_set_aside_as_it_is(path: Path) -> None:
    async with opened(path):
        pass
    write_minutes(path)
    async with opened(path, clock=clock_at(START)) as storage:
        assert storage.set_aside() == 1
    assert content(path.with_name("state.db.corrupt-20251124T160000Z")) == MINUTES


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=rf"{tmp_path} is a directory; name a file in state\.path"):
        await SqliteStorage.open(tmp_path)


async def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"state\.db"):
        await SqliteStorage.open(tmp_path / "file" / "state.db")


async def test_a_directory_that_is_missing_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path / "a" / "b" / "state.db") as storage:
        assert await storage.agents() == ()


async def test_a_state_that_could_not_be_opened_can_be_opened_once_that_is_mended(path: Path) -> None:
    made_by_sqlite(path, "CREATE TABLE precious (thing TEXT)")
    with pytest.raises(StorageError):
        await SqliteStorage.open(path)
    remove(path)
    async with opened(path) as storage:
        assert await storage.agents() == ()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE agents SET book = '{'",
        "UPDATE tasks SET record = x'c1'",
        "UPDATE tasks SET record = x'93636300'",
        "UPDATE OR REPLACE numbers SET series = '['",
        "UPDATE OR REPLACE numbers SET series = '5'",
    ],
    ids=["no book", "no record", "a status that a later vocabulary has", "no series", "a number for a series"],
)
async def test_a_state_that_cannot_be_read_gives_way_to_a_new_one(path: Path, damage: str) -> None:
    async with opened(path) as storage:
        await storage.commit("agent", a_commit(1))
    made_by_sqlite(path, "UPDATE tasks SET watched = 1", damage)
    async with opened(path) as storage:
        assert await storage.load("agent") is None
        assert storage.set_aside() == 1
        await storage.commit("agent", a_commit(2))


# What an operator is told


def clock_at(moment: float) -> Callable[[], float]:
    return lambda: moment


async def test_the_state_remembers_when_it_began(path: Path) -> None:
    async with opened(path, clock=clock_at(START)) as storage:
        assert storage.created == START
    async with opened(path, clock=clock_at(START + 999)) as storage:
        assert storage.created == START


async def test_the_size_is_that_of_the_file_and_its_journal(path: Path) -> None:
    async with opened(path) as storage:
        empty = storage.size()
        await storage.commit("agent", a_commit(1, tasks=2000))
        assert storage.size() > empty > 0
    async with opened() as storage:
        assert storage.size() == 0


async def test_every_commit_tells_how_long_it_took_and_a_failed_one_does_not(path: Path) -> None:
    took: list[float] = []
    async with opened(path, committed=took.append) as storage:
        await storage.commit("agent", a_commit(1))
        with pytest.raises(StorageError):
            await storage.commit("agent", Commit(book=BOOK, numbers={("calls",): 2**63}))
    assert len(took) == 1
    assert took[0] > 0


async def test_an_id_is_kept_as_a_digest_that_fits_a_database_and_is_never_nought() -> None:
    found = {digest(text) for text in ("", "T1", "T2", "\ud800", "विक्रय")}
    assert len(found) == 5
    assert all(-(2**63) <= key < 2**63 and key for key in found)
    assert Amounts() == NO_AMOUNTS


async def test_a_file_that_was_never_a_state_stays_where_it_is(path: Path) -> None:
    """It was named by mistake, and may be the settings."""
    write_minutes(path)
    with pytest.raises(StorageError, match=r"is no state of this exporter; name another file in state\.path"):
        await SqliteStorage.open(path)
    assert content(path) == MINUTES
    assert not path.with_name("state.db.lock").exists()
