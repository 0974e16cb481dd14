"""A state file is looked at before it is used: what would stand in the way is told, and nothing is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from exporter.tracking.probe import probe
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import StorageError
from tests.faults.disks import not_allowed


async def test_a_state_that_is_there_can_be_written_also_while_somebody_has_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    storage = await SqliteStorage.open(path)
    assert probe(path) == f"{path} can be written"
    await storage.close()
    assert probe(path) == f"{path} can be written"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that others than the user of the tests reach, as folders of tests are not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


async def test_one_that_may_not_be_written_is_told_with_who_may_not(open_to_all: Path) -> None:
    path = open_to_all / "state.db"
    for wanted in (path, open_to_all / "of" / "2026" / "state.db"):
        with (
            not_allowed(path),
            pytest.raises(StorageError, match=r"cannot be created: user \d+ may not write to its d"),
        ):
            probe(wanted)
    await (await SqliteStorage.open(path)).close()
    with not_allowed(path), pytest.raises(StorageError, match=r"cannot be written: user \d+ may not write to"):
        probe(path)


def test_one_that_cannot_be_reached_is_told(open_to_all: Path) -> None:
    (open_to_all / "closed").mkdir(mode=0o700)
    with not_allowed(open_to_all / "x", 0o700), pytest.raises(StorageError, match="cannot be reached: Permission den"):
        probe(open_to_all / "closed" / "state.db")


def test_folders_that_are_not_there_are_made_with_it_and_not_by_looking(tmp_path: Path) -> None:
    assert probe(tmp_path / "of" / "2026" / "state.db").endswith("is not there yet, the exporter creates it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "said"), [("", "is a directory"), ("notes", "is no state of this exporter")])
def test_what_was_never_a_state_is_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "notes").write_text("of somebody")
    with pytest.raises(StorageError, match=said):
        probe(tmp_path / name)
