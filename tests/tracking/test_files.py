"""A state whose files are deleted or replaced while it is open, or that cannot be written when it is opened: what was
known goes on, nothing of anybody's is overwritten, and it is told."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.tracking import damage, files
from exporter.tracking.damage import Rewritten, SetAside, set_aside_beside
from exporter.tracking.files import locked
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import StateInUse, StateSetAside, StateTaken, StateUnwritable
from tests.faults.disks import full_disk, not_allowed
from tests.tracking.states import BOOK, Place, a_commit, clock_at, created_between, is_whole
from tests.tracking.stories import START

JOURNALS = ("-wal", "-shm")


@pytest.fixture
def path() -> Iterator[Path]:
    """In a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "state.db"


@asynccontextmanager
async def opened(path: Path, **more: Any) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(path, **more)
    try:
        yield storage
    finally:
        await storage.close()


def at(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        at(path, suffix).unlink()


async def holds(path: Path, number: int, *agents: str) -> None:
    """What a process that starts now finds."""
    async with opened(path) as storage:
        for agent in agents:
            loaded = await storage.load(agent)
            assert loaded is not None
            assert is_whole(loaded, number)


def copied(path: Path, folder: Path) -> Path:
    """What a kill would leave at this moment."""
    folder.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / path.name


# Deleted


@pytest.mark.parametrize(
    "suffixes",
    [
        ("",),
        ("", "-wal", "-shm"),
        ("", "-wal", "-shm", ".lock"),
        ("-wal",),
        ("-shm",),
        ("-wal", "-shm"),
        (".lock",),
    ],
    ids=lambda suffixes: " ".join(suffix or "state" for suffix in suffixes),
)
async def test_whatever_is_deleted_the_next_commit_brings_all_of_it_back(
    path: Path, tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    told: list[Rewritten] = []
    async with opened(path, rewritten=told.append, clock=clock_at(START)) as storage:
        for agent in ("one", "two"):
            await storage.commit(agent, a_commit(1))
        delete(path, *suffixes)
        await storage.commit("one", a_commit(1, tasks=4))
        await holds(copied(path, tmp_path / "killed"), 1, "one", "two")
        with pytest.raises(StateInUse):
            await SqliteStorage.open(path)
        assert told == ([] if suffixes == (".lock",) else [Rewritten(state=path, file=None)])
        assert storage.created == START
        await storage.commit("two", a_commit(1, tasks=5))
        assert len(told) <= 1, "all is well again"
    await holds(path, 1, "one", "two")
    assert {file.name for file in path.parent.iterdir()} == {"state.db", "state.db.lock"}


async def test_a_folder_that_is_deleted_comes_back(path: Path) -> None:
    deep = path.parent / "deep" / "state.db"
    async with opened(deep) as storage:
        await storage.commit("one", a_commit(1))
        for file in deep.parent.iterdir():
            file.unlink()
        deep.parent.rmdir()
        await storage.commit("two", a_commit(1))
    await holds(deep, 1, "one", "two")


async def test_what_was_deleted_after_the_last_commit_is_there_when_it_has_stopped(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        delete(path, "", *JOURNALS)
    await holds(path, 1, "one")


async def test_a_deleted_state_for_which_there_is_no_room_is_written_once_there_is(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        delete(path, "", *JOURNALS)
        with full_disk(0):
            for _ in range(2):
                with pytest.raises(StateUnwritable):
                    await storage.commit("two", a_commit(1))
            loaded = await storage.load("one")
            assert loaded is not None
            assert is_whole(loaded, 1)
        await storage.commit("two", a_commit(1))
    await holds(path, 1, "one", "two")


# Replaced


async def test_a_file_that_was_put_in_its_place_is_set_aside_as_it_is(path: Path) -> None:
    told: list[Rewritten] = []
    async with opened(path, rewritten=told.append, clock=clock_at(START)) as storage:
        await storage.commit("one", a_commit(1))
        other = path.with_name("other")
        other.write_bytes(b"precious")
        other.rename(path)
        await storage.commit("two", a_commit(1))
        (file,) = set_aside_beside(path)
        assert file.read_bytes() == b"precious"
        assert told == [Rewritten(state=path, file=file)]
        assert storage.set_aside() == 1
    await holds(path, 1, "one", "two")


async def test_a_state_that_another_exporter_has_begun_in_its_place_is_left_alone_while_it_runs(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        delete(path, "", *JOURNALS, ".lock")
        async with opened(path) as other:
            await other.commit("one", a_commit(9))
            for _ in range(2):
                with pytest.raises(StateTaken, match=r"is in use by another exporter \(process"):
                    await storage.commit("one", a_commit(2))
            loaded = await other.load("one")
            assert loaded is not None
            assert is_whole(loaded, 9)
        await storage.commit("one", a_commit(3))
        assert storage.set_aside() == 1
    await holds(path, 3, "one")


async def test_what_another_exporter_has_written_once_the_lock_was_deleted_is_not_written_over(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        delete(path, ".lock")
        async with opened(path) as other:
            await other.commit("one", a_commit(9))
        with pytest.raises(StateTaken, match="has been written by another process"):
            await storage.commit("one", a_commit(2))
        loaded = await storage.load("one")
        assert loaded is not None
        assert is_whole(loaded, 9)
        await storage.commit("one", a_commit(10))
    await holds(path, 10, "one")


# Killed while a new state takes the place of another


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_at(step: int) -> Iterator[list[str]]:
    """Dies at some renaming or deletion of a file. Yields those that were made."""
    made: list[str] = []

    def deadly(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*words: Any, **more: Any) -> Any:
            if len(made) == step:
                raise Killed
            made.append(work.__name__)
            return work(*words, **more)

        return done

    with pytest.MonkeyPatch.context() as patched, suppress(Killed):
        for work in (Path.rename, Path.unlink):
            patched.setattr(Path, work.__name__, deadly(work))
        yield made


WHOLE = msgspec.structs.replace(a_commit(1), book=msgspec.structs.replace(BOOK, complete=True))


async def killed_while_it_is_replaced(path: Path, step: int, *, is_gone: bool) -> bool:
    """Whether a state is whole for the next process, and what it began is done; False: it was not killed any more."""
    async with opened(path) as storage:
        await storage.commit("one", WHOLE)
    with closing(sqlite3.connect(path)) as database, killed_at(step) as made:
        # What is open is read, as a running exporter has read it.
        database.execute("SELECT count(*) FROM tasks").fetchone()
        if is_gone:
            os.remove(path)
            damage.rewrite(path, database, START, database.close)
        else:
            damage.replace(path, START, database.close)
    was_ready = "rename" in made
    is_untold = at(path, ".ready").exists() and at(path, "").exists()
    told: list[SetAside] = []
    async with opened(path, told=told.append) as storage:
        loaded = await storage.load("one")
        assert not at(path, ".ready").exists()
        assert (loaded is not None) is (was_ready or not is_gone), "before that nobody but the process had it"
        assert [(what.kept, what.file.exists()) for what in told] == ([(("one",), True)] if is_untold else [])
        assert loaded is None or WHOLE.numbers.items() <= loaded.numbers.items()
    return len(made) == step


@pytest.mark.parametrize("is_gone", [False, True], ids=["damaged", "deleted"])
async def test_killed_at_any_step_of_replacing_a_state_the_next_process_has_it_whole(
    tmp_path: Path, *, is_gone: bool
) -> None:
    step = 0
    while await killed_while_it_is_replaced(tmp_path / str(step) / "state.db", step, is_gone=is_gone):
        step += 1
    assert step >= 7


async def test_who_knew_a_state_that_was_replaced_only_at_the_second_attempt_has_to_load_the_new_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, now: float) -> Path | None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE tasks SET record = x'c1'")
        with monkeypatch.context() as patched:
            patched.setattr(damage, "finish", broken)
            with pytest.raises(StateUnwritable):
                await storage.records("one", [1])
        with pytest.raises(StateSetAside):
            await storage.commit("one", a_commit(2))
        assert await storage.load("one") is None
        await storage.commit("one", a_commit(3))
    await holds(path, 3, "one")


# Cannot be written when it is opened


@contextmanager
def no_room(path: Path) -> Iterator[None]:
    with full_disk(0):
        yield


async def stopped(path: Path) -> Path:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
    return path


async def killed(path: Path) -> Path:
    """The last commit is in the journal."""
    async with opened(path) as storage:
        await storage.commit("one", a_commit(0))
        await storage.commit("one", a_commit(1))
        return copied(path, path.parent / "killed")


@pytest.mark.parametrize("unwritable", [no_room, not_allowed])
@pytest.mark.parametrize("left", [stopped, killed])
async def test_a_state_that_cannot_be_written_when_it_is_opened_is_read_and_written_once_it_can_be(
    path: Path,
    tmp_path: Path,
    unwritable: Callable[[Path], Any],
    left: Callable[[Path], Any],
) -> None:
    place = await left(path)
    with unwritable(place):
        storage = await SqliteStorage.open(place)
        for _ in range(2):
            loaded = await storage.load("one")
            assert loaded is not None
            assert is_whole(loaded, 1)
            with pytest.raises(StateUnwritable, match="cannot be written: "):
                await storage.commit("one", a_commit(2))
        with pytest.raises(StateInUse):
            await SqliteStorage.open(place)
    await storage.commit("two", a_commit(2))
    await storage.commit("one", a_commit(2))
    async with Place(str(copied(place, tmp_path / "copy"))).opened() as other:
        assert await other.agents() == ("one", "two")
    await storage.close()
    await holds(place, 2, "one", "two")


async def test_tasks_are_found_by_their_age_in_a_state_that_cannot_be_written_too(path: Path) -> None:
    await stopped(path)
    with not_allowed(path):
        async with opened(path) as storage:
            assert (await created_between(storage, "one", START + 1, START + 3)).keys() == {1, 2}


async def test_a_state_that_cannot_be_made_is_refused_in_words(path: Path) -> None:
    with not_allowed(path), pytest.raises(StateUnwritable) as refused:
        await SqliteStorage.open(path)
    assert str(refused.value).endswith("may not write to its directory")
    with full_disk(0), pytest.raises(StateUnwritable, match=r"state\.db cannot be created: "):
        await SqliteStorage.open(path)
    await holds(path, 0)


async def test_a_state_that_cannot_be_locked_is_refused_in_words(path: Path) -> None:
    await stopped(path)
    delete(path, ".lock")
    with not_allowed(path), pytest.raises(StateUnwritable, match=r"state\.db cannot be locked: user \d+ may not write"):
        await SqliteStorage.open(path)


async def test_a_state_that_may_not_be_read_is_refused_in_words(path: Path) -> None:
    await stopped(path)
    with not_allowed(path, 0o000), pytest.raises(StateUnwritable, match=r"user \d+ may not write to its directory"):
        await SqliteStorage.open(path)


async def test_a_state_in_a_folder_that_may_not_be_entered_is_refused_in_words(path: Path) -> None:
    inner = path.parent / "inner" / "state.db"
    async with opened(inner):
        pass
    inner.parent.chmod(0)
    with not_allowed(path, 0), pytest.raises(StateUnwritable, match=r"user \d+ may not write to its directory"):
        await SqliteStorage.open(inner)


async def test_where_it_cannot_be_told_whether_the_files_are_there_commits_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system whose server has forgotten them."""

    def stale(file: Path) -> files.Mark:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        with monkeypatch.context() as patched:
            patched.setattr(files, "mark", stale)
            with pytest.raises(StateUnwritable, match="cannot be written: Stale file handle"):
                await storage.commit("one", a_commit(2))
        await storage.commit("one", a_commit(3))
    await holds(path, 3, "one")


async def test_a_commit_whose_caller_has_gone_is_made_or_not_and_the_state_can_be_closed(path: Path) -> None:
    async with opened(path) as storage:
        await storage.commit("one", a_commit(1))
        gone = asyncio.create_task(storage.commit("one", a_commit(2, tasks=500)))
        await asyncio.sleep(0)
        gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with opened(path) as storage:
        loaded = await storage.load("one")
        assert loaded is not None
        assert is_whole(loaded, 1) or is_whole(loaded, 2)


def test_the_lock_is_held_though_a_full_disk_takes_no_word_of_who_holds_it(path: Path) -> None:
    with full_disk(0):
        held = locked(path, "state")
        with pytest.raises(StateInUse, match="process unknown"):
            locked(path, "state")
    held.close()
