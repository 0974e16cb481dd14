"""Moves a state out of the database that the settings name, into a file, and into another one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from exporter.config import Config
from exporter.service import parts
from exporter.service.assembly import opened
from exporter.service.clock import REAL
from exporter.tracking import moving
from exporter.tracking.damage import SetAside
from exporter.tracking.log import Log
from exporter.tracking.moving import Moved
from exporter.tracking.storage import State, StorageError


async def export_state(config: Config, file: Path | None, log: Log) -> Moved:
    """Writes the state to a file, which must not be there yet; None: to standard output.

    Raises ``StorageError`` where an exporter has it, where there is none, or where it cannot be read whole; then there
    is no file either.
    """
    path = config.state.path
    if config.state.url is None and (path is None or not path.exists()):
        raise StorageError(f"there is no state to export: state.path is {config.state.words}")
    async with _held(config, log) as state:
        if not await state.agents():
            raise StorageError(f"there is nothing to export in {config.state.words}")
        name = str(file or "standard output")
        with _written(file) as out:

            def write(line: bytes) -> None:
                # Here, since the state takes whatever fails while it is read for its own failure.
                with _telling(name):
                    out.write(line)

            return await state.move(partial(moving.export, write=write))


async def import_state(config: Config, file: Path | None, log: Log) -> Moved:
    """Writes what was exported into the state, which must hold nothing yet; None: from standard input.

    Raises ``StorageError`` where an exporter has the state, where it is not empty, or where the file is not whole; then
    nothing has changed.
    """
    if config.state.words == "memory":
        raise StorageError("state.path is memory, which keeps nothing; name a file, or a database in state.url")
    with _read(file) as lines:
        name = str(file or "standard input")

        def reader() -> moving.Reader:
            lines.seek(0)
            return moving.Reader(lines, name)

        # Once for nothing: what is wrong with it shows before anything is touched.
        for _ in reader().commits():
            pass
        with _removed_unless_filled(config):
            async with _held(config, log) as state:
                try:
                    return await state.move(partial(moving.fill, read=reader))
                except StorageError as error:
                    raise type(error)(f"{config.state.words}: {error}") from error


@asynccontextmanager
async def _held(config: Config, log: Log) -> AsyncIterator[State]:
    def told(what: SetAside) -> None:
        log.error("damaged state set aside", **parts.set_aside_in_words(what, config))

    state = await opened(config, REAL, committed=lambda seconds: None, told=told)
    try:
        yield state
    finally:
        await state.close()


@contextmanager
def _written(file: Path | None) -> Iterator[IO[bytes]]:
    """Where to write to: it becomes the file when all has been written."""
    if file is None:
        with _telling("standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    part = file.with_name(file.name + ".part")
    with _telling(str(file)):
        if file.exists():
            raise FileExistsError(17, "it exists already; name another file")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            try:
                yield out
            except BaseException:
                part.unlink()
                raise
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)


@contextmanager
def _read(file: Path | None) -> Iterator[IO[bytes]]:
    """What can be read more than once."""
    with (
        _telling(str(file or "standard input")),
        tempfile.TemporaryFile() if file is None else file.open("rb") as lines,
    ):
        if file is None:
            shutil.copyfileobj(sys.stdin.buffer, lines)
        yield lines


@contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{name}: {error.strerror or error}") from error


@contextmanager
def _removed_unless_filled(config: Config) -> Iterator[None]:
    """Leaves no state file behind that was not there, and is none."""
    path = config.state.path if config.state.url is None else None
    was_there = path is None or path.exists()
    try:
        yield
    except BaseException:
        if path is not None and not was_there:
            path.unlink(missing_ok=True)
        raise
