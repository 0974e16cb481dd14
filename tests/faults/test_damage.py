"""A damaged state is set aside; no counter falls that can be told, none counts twice, and nothing has to be done."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.tracking.damage import salvaged, set_aside_beside
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import StateSetAside, StorageError
from tests.faults.fleets import GAUGES, counters, poll_all, read_once, shown_by
from tests.tracking.states import BOOK, a_commit
from tests.truth.harness import START

Damage = Callable[[Path], None]
PAGE = 4096
LEAF_OF_A_TABLE = 0x0D
"""The first byte of such a page, but for the first one of the file."""


def damaged_by(statement: str) -> Damage:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA writable_schema = ON")
            database.execute(statement)

    return damage


def garbage(path: Path) -> None:
    path.write_bytes(b"minutes of the meeting\n" * 100)


def without_a_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(PAGE))


def too_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 2 * PAGE)


def hardly_anything_left(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(PAGE)


def without_tasks(path: Path) -> None:
    overwrite(path, root_of(path, "tasks"))


def without_numbers(path: Path) -> None:
    overwrite(path, root_of(path, "numbers"))


def root_of(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        return int(root)


def overwrite(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\x99" * PAGE)


LOSES_EVERYTHING = (
    garbage,
    without_a_header,
    hardly_anything_left,
    without_numbers,
    damaged_by("DELETE FROM sqlite_schema WHERE name = 'agents'"),
    damaged_by("UPDATE agents SET book = '{'"),
)
LOSES_WHAT_IS_OPEN = (without_tasks, damaged_by("UPDATE tasks SET record = x'c1'"))
LOSES_NOTHING_OF_THE_COUNTERS = (
    damaged_by("DELETE FROM sqlite_schema WHERE name = 'watched_tasks'"),
    damaged_by("DELETE FROM state"),
)


@pytest.mark.parametrize("damage", LOSES_NOTHING_OF_THE_COUNTERS)
async def test_whose_settled_tasks_alone_are_lost_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, damage: Damage
) -> None:
    async with read_once(tmp_path) as made:
        before = shown_by(made)
        await made.stop()
        damage(made.path)
        made.clock.now += 600
        await made.start()
        assert shown_by(made) == before, "shown before anything is read"
        await poll_all(made)
        made.clock.now += 600
        await poll_all(made)
        (what,) = made.told
        assert what.kept == made.world.handles
        assert what.lost == ()


@pytest.mark.parametrize("damage", LOSES_WHAT_IS_OPEN)
async def test_whose_tasks_are_all_lost_counts_none_of_them_twice(tmp_path: Path, damage: Damage) -> None:
    async with read_once(tmp_path) as made:
        before = shown_by(made)
        await made.stop()
        damage(made.path)
        await made.start()
        await poll_all(made, exact=False)
        assert shown_by(made) == before, "the same tasks, read again"
        made.clock.now += 600
        await poll_all(made, exact=False)
        for handle in made.world.handles:
            found, truth = made.numbers(handle), made.truth(handle)
            assert {key: found.get(key) for key in truth if key[0] in GAUGES} == {
                key: value for key, value in truth.items() if key[0] in GAUGES
            }
            counted, wanted = counters(found), counters(truth)
            assert {key for key in counted if counted[key] > wanted.get(key, 0)} == set()
            assert {key for key, value in before[handle].items() if counted[key] < value} == set()
            created = ("tasks_created", "call")
            assert counted[created] == wanted[created] > before[handle][created], "new tasks are counted"


async def test_of_the_open_tasks_those_alone_are_lost_that_lay_on_the_damaged_page(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    storage = await SqliteStorage.open(path)
    book = msgspec.structs.replace(BOOK, complete=True)
    await storage.commit("agent", msgspec.structs.replace(a_commit(1, tasks=2_000), book=book))
    await storage.close()
    pages = path.read_bytes()
    leaves = [page for page in range(1, len(pages) // PAGE + 1) if pages[(page - 1) * PAGE] == LEAF_OF_A_TABLE]
    assert len(leaves) > 10
    overwrite(path, leaves[len(leaves) // 2])
    kept, _ = salvaged(path)
    assert 1_800 < len(kept["agent"].watched) < 2_000


@pytest.mark.parametrize("damage", LOSES_EVERYTHING)
async def test_whose_counters_cannot_be_read_is_a_state_that_is_lost(tmp_path: Path, damage: Damage) -> None:
    async with read_once(tmp_path) as made:
        await made.stop()
        damage(made.path)
        await made.start()
        for handle in made.world.handles:
            made.forget(handle)
            made.check(handle)
        await poll_all(made)
        made.clock.now += 600
        await poll_all(made)
        (what,) = made.told
        assert what.kept == ()


@pytest.mark.parametrize("damage", [without_tasks, too_short, hardly_anything_left, without_a_header, without_numbers])
async def test_a_state_damaged_under_a_running_process_loses_nothing_that_is_in_memory(
    tmp_path: Path, damage: Damage
) -> None:
    async with read_once(tmp_path) as made:
        before = shown_by(made)
        with closing(sqlite3.connect(made.path)) as database:
            # What another has written makes the process read again what it holds of the file.
            database.execute("UPDATE state SET created = created + 1")
            database.commit()
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(made.path)
        made.clock.now += 600
        await poll_all(made)
        (what,) = made.told
        assert what.file.exists()
        for handle, counted in shown_by(made).items():
            assert {key for key, value in before[handle].items() if counted[key] < value} == set()
        made.clock.now += 600
        await poll_all(made)
        await made.stop()
        await made.start()
        for handle in made.world.handles:
            made.check(handle)
        assert len(made.told) == 1


REFUSALS = ("is a database of another program", "has version", "cannot be written: it is read-only")
"""What the header of the file may tell by mistake, and nobody can know to be one."""


def test_whatever_bits_are_flipped_the_state_opens_and_can_be_written(tmp_path: Path) -> None:
    async def written() -> None:
        storage = await SqliteStorage.open(tmp_path / "good.db")
        for agent in ("one", "two"):
            await storage.commit(agent, a_commit(1, tasks=100))
        await storage.close()

    async def survives(path: Path) -> None:
        try:
            storage = await SqliteStorage.open(path)
        except StorageError as error:
            assert any(words in str(error) for words in REFUSALS), error  # noqa: PT017 - any may be raised
            return
        for agent in ("one", "two"):
            await storage.load(agent)
            with suppress(StateSetAside):
                await storage.commit(agent, a_commit(2, tasks=100))
            await storage.load(agent)
            await storage.commit(agent, a_commit(3, tasks=100))
            loaded = await storage.load(agent)
            assert loaded is not None
            assert loaded.numbers[("calls", "outbound")] == 3
        await storage.close()

    asyncio.run(written())
    good = (tmp_path / "good.db").read_bytes()

    @given(place=st.integers(0, len(good) - 1), mask=st.integers(1, 255), run=st.integers(1, 64))
    @settings(max_examples=40, deadline=None)
    def flipped(place: int, mask: int, run: int) -> None:
        folder = Path(mkdtemp(dir=tmp_path))
        bad = bytearray(good)
        bad[place : place + run] = bytes(byte ^ mask for byte in bad[place : place + run])
        (folder / "state.db").write_bytes(bad)
        (folder / "state.db.lock").touch()
        asyncio.run(survives(folder / "state.db"))

    flipped()


async def test_a_file_set_aside_overwrites_no_other_and_is_no_more_counted_when_it_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    (tmp_path / "state.db.lock").touch()
    for number in range(1, 4):
        path.write_bytes(b"%d times nothing\n" % number * 100)
        storage = await SqliteStorage.open(path, clock=lambda: START)
        assert storage.set_aside() == number
        await storage.close()
    aside = set_aside_beside(path)
    assert sorted(file.read_bytes()[:1] for file in aside) == [b"1", b"2", b"3"]
    storage = await SqliteStorage.open(path)
    for file in aside:
        file.unlink()
    assert storage.set_aside() == 0
    await storage.close()


async def test_a_new_state_that_cannot_be_made_leaves_the_damaged_one_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    garbage(path)
    (tmp_path / "state.db.lock").touch()
    (tmp_path / "state.db.new").mkdir()
    with pytest.raises(StorageError):
        await SqliteStorage.open(path)
    assert path.read_bytes().startswith(b"minutes")
    (tmp_path / "state.db.new").rmdir()
    storage = await SqliteStorage.open(path)
    await storage.close()
