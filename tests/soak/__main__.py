"""``python -m tests.soak [HOURS] [SEED]``: prints a row for each simulated hour; ends with an error where a number is
wrong, a line of the log tells of a defect, or memory grows."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from tests.service.running import platform
from tests.soak.soak import AGENTS, Measured, Soak

_GROWTH = 1.1
"""By how much more memory may be resident at the end than a quarter into the soak."""


async def soak(hours: float, seed: int) -> None:
    measured: list[Measured] = []

    def said(found: Measured) -> None:
        measured.append(found)
        row = (f"{found.hours:.0f}", found.moments, found.tasks, found.faults, found.kills, found.resident // 1_000_000)
        sys.stdout.write(f"| {' | '.join(map(str, row))} |\n")
        sys.stdout.flush()

    sys.stdout.write(
        "| hours | comparisons | tasks | faults | kills and stops | resident MB |\n|---|---|---|---|---|---|\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        async with platform(*AGENTS, seed=seed, history=1.0) as made, AsyncExitStack() as stack:
            said(await Soak(made, Path(folder), Random(seed), stack, said).run(hours, quiet_from=hours / 6))
    early = next(found for found in measured if found.hours >= hours / 4)
    assert measured[-1].resident <= early.resident * _GROWTH, "memory grows"


if __name__ == "__main__":
    given = [*map(float, sys.argv[1:]), *(24.0, 7.0)[len(sys.argv) - 1 :]]
    asyncio.run(soak(given[0], int(given[1])))
