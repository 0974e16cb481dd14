"""The state in PostgreSQL and in SQLite, side by side: commits, a first reading, and moving one into the other.

The server is on the same machine and is reached over TCP; both write through to the disk at each commit.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.measure import in_process, opened, platform
from benchmarks.table import Row, scaled
from exporter.tracking.records import Record
from exporter.tracking.storage import Book, Commit
from tests.postgres import Server, running

_COMMITS: Final = 400
_ROUNDS: Final = 3
"""Of each the quickest run is told."""
_CHANGED: Final = 5
_NUMBERS: Final = 25
"""What a poll of a busy agent commits: the tasks that have changed, and the numbers."""
_READ: Final = 100_000
_BYTES: Final = 2_000
_MOVED: Final = 1_000_000
_LIGHT: Final = 800
_OPEN: Final = 50


def rows(scale: float) -> Iterator[Row]:
    """Figures of PostgreSQL / SQLite; the ratio is how many times as long PostgreSQL takes."""
    with tempfile.TemporaryDirectory() as folder, running(durable=True) as server:
        yield _commits(Path(folder), server)
        yield _first_reading(Path(folder), server, scaled(_READ, scale))
        yield from _moves(Path(folder), server, scaled(_MOVED, scale))


def _commits(folder: Path, server: Server) -> Row:
    url, file = server.database(), str(folder / "commits.db")
    rounds = [(asyncio.run(_committed(url)), asyncio.run(_committed(file))) for _ in range(_ROUNDS)]
    database, local = map(min, zip(*rounds, strict=True))
    return Row(
        f"commits of {_CHANGED} tasks and {_NUMBERS} numbers, PostgreSQL / SQLite",
        f"{_COMMITS / database:.0f} / {_COMMITS / local:.0f} a second",
        f"{database / local:.2f}",
    )


async def _committed(state: str) -> float:
    """Seconds of many commits, one after the other."""
    storage = await opened(state)
    await storage.load("bench")
    began = time.perf_counter()
    for number in range(_COMMITS):
        await storage.commit("bench", _commit(number))
    seconds = time.perf_counter() - began
    await storage.close()
    return seconds


def _commit(number: int) -> Commit:
    pending = Record(status="pending", execution_type="call", created=1_764_000_000.0, run=number)
    done = msgspec.structs.replace(pending, status="completed", run=0)
    # Half of them are new, and half of them are known and settle.
    new = range(number * _CHANGED, number * _CHANGED + _CHANGED // 2 + 1)
    known = range(max(0, (number - 1) * _CHANGED), max(0, (number - 1) * _CHANGED) + _CHANGED // 2)
    return Commit(
        book=Book(since=1_764_000_000.0, count_from=None, reported=number),
        numbers={("calls", "outbound", str(series)): number for series in range(_NUMBERS)},
        records=dict.fromkeys(new, pending) | dict.fromkeys(known, done),
    )


def _first_reading(folder: Path, server: Server, tasks: int) -> Row:
    with platform(tasks, _BYTES, _OPEN) as url:
        rounds = [
            (
                in_process("poll", url, server.database(), 1)[0],
                in_process("poll", url, folder / f"read-{number}.db", 1)[0],
            )
            for number in range(_ROUNDS)
        ]
    database, local = (min(one["wall"] for one in found) for found in zip(*rounds, strict=True))
    return Row(
        f"first reading of {tasks:,} tasks of {_BYTES / 1000:.0f} KB, PostgreSQL / SQLite",
        f"{database:.1f} / {local:.1f} s",
        f"{database / local:.2f}",
    )


def _moves(folder: Path, server: Server, tasks: int) -> Iterator[Row]:
    database, file = server.database(), folder / "state.jsonl"
    with platform(tasks, _LIGHT, _OPEN) as url:
        in_process("poll", url, folder / "state.db", 1)
        out = in_process("export", folder / "state.db", file)
        yield _moved("`state export` from SQLite", out, f", {file.stat().st_size / tasks:.0f} bytes a task")
        yield _moved("`state import` into PostgreSQL, compared", in_process("fill", database, file))
        taken_up = [in_process("poll", url, state, 1)[0]["load"] for state in (database, folder / "state.db")]
    yield Row(
        f"taking up the state of {tasks:,} tasks, PostgreSQL / SQLite",
        f"{taken_up[0]:.2f} / {taken_up[1]:.2f} s",
        f"{taken_up[0] / taken_up[1]:.2f}",
    )
    again = folder / "again.jsonl"
    yield _moved("`state export` from PostgreSQL", in_process("export", database, again))
    yield _moved("`state import` into SQLite, compared", in_process("fill", folder / "again.db", again))


def _moved(what: str, found: dict[str, float], more: str = "") -> Row:
    return Row(
        f"{what}: {found['tasks']:,.0f} tasks",
        f"{found['wall']:.1f} s, {found['peak'] / 1e6:.0f} MB at most{more}",
    )
