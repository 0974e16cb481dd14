"""The first reading of a long history, by the exporter and by the obvious one side by side."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measure import in_process, platform
from benchmarks.table import Row, scaled

_TASKS: Final = 100_000
_BYTES: Final = 10_000
"""Of a task."""
_OPEN: Final = 50
_ROUNDS: Final = 3
"""Of each the cheapest run is told: what else the machine does only ever adds."""


def rows(scale: float) -> Iterator[Row]:
    """Tasks per CPU second, and peak memory."""
    tasks = scaled(_TASKS, scale)
    with platform(tasks, _BYTES, _OPEN) as url:
        rounds = [(_ours(url), in_process("obvious", url)) for _ in range(_ROUNDS)]
    ours, obvious = (min(found, key=lambda one: one["cpu"]) for found in zip(*rounds, strict=True))
    name = f"first reading of {tasks:,} tasks of {_BYTES / 1000:.0f} KB"
    yield Row(
        f"{name}: tasks per CPU second, ours / obvious",
        f"{tasks / ours['cpu']:.0f} / {tasks / obvious['cpu']:.0f}",
        f"{obvious['cpu'] / ours['cpu']:.2f}",
        "at least 4",
    )
    yield Row(
        f"{name}: peak memory, ours / obvious",
        f"{ours['peak'] / 1e6:.0f} / {obvious['peak'] / 1e6:.0f} MB",
        f"{ours['peak'] / obvious['peak']:.3f}",
        "at most 0.1",
    )


def _ours(url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, float] = in_process("poll", url, Path(folder) / "state.db", 1)[0]
        return found
