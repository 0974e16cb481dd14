"""Where a text goes: to standard output, or to files that are there as a whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol


class Output(Protocol):
    """Takes the texts."""

    def begin(self, at: float) -> BinaryIO:
        """Begins the text whose first sample is not older than this Unix time."""


class Standard:
    """Standard output, for one text."""

    def begin(self, at: float) -> BinaryIO:
        return sys.stdout.buffer


class Files:
    """A file, or as many as there are texts, with the time of their begin in the name. Nothing is there before all are
    whole: until then they are called ``.part``."""

    def __init__(self, path: Path, *, several: bool = False) -> None:
        self._path = path
        self._several = several
        self._open: BinaryIO | None = None
        self.written: list[Path] = []

    def begin(self, at: float) -> BinaryIO:
        self._end()
        path = self._path
        if self._several:
            path = path.with_name(f"{path.stem}-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M}{path.suffix}")
        self.written.append(path)
        self._open = _part(path).open("wb", buffering=2**20)
        return self._open

    def keep(self) -> None:
        """All texts are whole. Raises OSError."""
        self._end()
        for path in self.written:
            _part(path).rename(path)

    def drop(self) -> None:
        """Leaves nothing of what is not whole."""
        self._end()
        for path in self.written:
            _part(path).unlink(missing_ok=True)

    def _end(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


@contextmanager
def writing(files: Files) -> Iterator[Files]:
    """Keeps the files if all goes well."""
    try:
        yield files
        files.keep()
    finally:
        files.drop()
