"""A steady poll, of a short history and of a long one side by side: its cost follows change."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.measure import in_process, platform, spent
from benchmarks.running import exporter
from benchmarks.table import Row, scaled

_SHORT: Final = 1_000
_LONG: Final = 1_000_000
_OPEN: Final = 50
_LIGHT: Final = 800
"""Bytes of a task while a long history is read into the state: its length matters here, not its weight."""
_HEAVY: Final = 10_000
_POLLS: Final = 12
_WARM: Final = 2
"""First polls of a process that are not counted."""


def rows(scale: float) -> Iterator[Row]:
    """Requests, bytes and CPU of a poll, and what it takes to know a long history."""
    short, long = _SHORT, scaled(_LONG, scale)
    few, many = _steady(short), _steady(long)
    for name, unit, factor in (("requests", "", 1), ("bytes", " KB", 1e-3), ("cpu", " ms CPU", 1e3)):
        yield Row(
            f"steady poll, {_OPEN} open, of {short:,} / {long:,} tasks: {name}",
            f"{few[name] * factor:.1f}{unit} / {many[name] * factor:.1f}{unit}",
            f"{many[name] / few[name]:.2f}",
            "at most 1.2",
        )
    yield Row(f"resident memory with {long:,} tasks known", f"{many['resident'] / 1e6:.0f} MB", goal="at most 150 MB")
    yield Row("state file, bytes a task", f"{many['disk']:.0f}", goal="at most 150")
    yield Row(f"taking up the state of {long:,} tasks", f"{many['load']:.2f} s")
    yield Row(
        f"from the start of the process until it is ready, with {short:,} / {long:,} tasks known",
        f"{few['start']:.2f} / {many['start']:.2f} s",
        goal="at most 3 s",
    )


def _steady(count: int) -> dict[str, float]:
    """What a poll costs once a history of this length is known, and what it takes to know it."""
    with tempfile.TemporaryDirectory() as folder, platform(count, _LIGHT, _OPEN) as url:
        state = Path(folder) / "state.db"
        in_process("poll", url, state, 1)
        disk = sum(file.stat().st_size for file in Path(folder).iterdir())
        spent(url, _HEAVY)
        polls = in_process("poll", url, state, _POLLS)
        used = spent(url)
        with exporter(Path(folder), url) as started:
            start = started.seconds
        return {
            "requests": used["requests"] / _POLLS,
            "bytes": used["bytes"] / _POLLS,
            "cpu": median(poll["cpu"] for poll in polls[_WARM:]),
            "load": polls[0]["load"],
            "resident": polls[-1]["resident"],
            "disk": disk / count,
            "start": start,
        }
