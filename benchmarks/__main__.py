"""Measures what the exporter costs and prints it as a table: ``python -m benchmarks [SMALL] [LARGE] [READ]``.

SMALL and LARGE are the histories, in tasks, between which a steady poll is compared; READ is the history that is read
for the first time by the exporter and by the obvious one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.measure import in_process, platform, spent

_OPEN = 50
_LIGHT = 800
"""Bytes of a task while a long history is read into the state: its length matters here, not its weight."""
_HEAVY = 10_000
_POLLS = 12
_WARM = 2
"""First polls of a process that are not counted."""

Row = tuple[str, str, str]


def steady(count: int) -> dict[str, float]:
    """What a poll costs once a history of this length is known, and what it takes to know it."""
    with tempfile.TemporaryDirectory() as folder, platform(count, _LIGHT, _OPEN) as url:
        state = Path(folder) / "state.db"
        first = in_process("poll", url, state, 1)[0]
        disk = sum(file.stat().st_size for file in Path(folder).iterdir())
        spent(url, _HEAVY)
        polls = in_process("poll", url, state, _POLLS)
        used = spent(url)
        return {
            "requests": used["requests"] / _POLLS,
            "bytes": used["bytes"] / _POLLS,
            "cpu": median(poll["cpu"] for poll in polls[_WARM:]),
            "load": polls[0]["load"],
            "resident": polls[-1]["resident"],
            "disk": disk / count,
            "first": first["cpu"] / count,
        }


def rows(small: int, large: int, read: int) -> Iterator[Row]:
    """What is measured, how much it is, and how it compares."""
    few, many = steady(small), steady(large)
    for name, unit, scale in (("requests", "", 1), ("bytes", " KB", 1e-3), ("cpu", " ms CPU", 1e3)):
        values = f"{few[name] * scale:.1f}{unit} / {many[name] * scale:.1f}{unit}"
        yield (
            f"steady poll, {_OPEN} open, of {small:,} / {large:,} tasks: {name}",
            values,
            f"{many[name] / few[name]:.2f}",
        )
    yield f"resident memory with {large:,} tasks known", f"{many['resident'] / 1e6:.0f} MB", ""
    yield "state file, bytes a task", f"{many['disk']:.0f}", ""
    yield f"taking up the state of {large:,} tasks", f"{many['load']:.2f} s", ""
    with tempfile.TemporaryDirectory() as folder, platform(read, _HEAVY, _OPEN) as url:
        ours = in_process("poll", url, Path(folder) / "state.db", 1)[0]
        obvious = in_process("obvious", url)
    name = f"first reading of {read:,} tasks of {_HEAVY / 1000:.0f} KB"
    values = f"{read / ours['cpu']:.0f} / {read / obvious['cpu']:.0f}"
    yield f"{name}: tasks per CPU second, ours / obvious", values, f"{obvious['cpu'] / ours['cpu']:.2f}"
    values = f"{ours['peak'] / 1e6:.0f} / {obvious['peak'] / 1e6:.0f} MB"
    yield f"{name}: peak memory, ours / obvious", values, f"{ours['peak'] / obvious['peak']:.3f}"


def main() -> None:
    """Prints the table."""
    given = [int(argument) for argument in sys.argv[1:4]]
    small, large, read = given + [1_000, 1_000_000, 100_000][len(given) :]
    sys.stdout.write("| what | measured | ratio |\n|---|---|---|\n")
    for row in rows(small, large, read):
        sys.stdout.write(f"| {' | '.join(row)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
