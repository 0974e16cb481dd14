"""``python -m tests.replicas [EVENTS] [SEED]``: lets so many things happen to three replicas, in any order; prints
what has happened, and ends with an error where a number is wrong or shown twice. Then it counts what replicas ask for
in real minutes, and ends with an error where that is more than is allowed."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

from tests import postgres
from tests.replicas.budget import budgeted, stays_within
from tests.replicas.stage import staged
from tests.replicas.story import EVENTS, ends_well, worst_gap

AGENTS: Final = 24
"""Fewer than in the short story, for time to be moved further: what is to be read grows with it."""


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


async def go_on(events: int, seed: int) -> None:
    random = Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        async with staged(Path(folder), many=AGENTS, seed=seed) as stage:
            try:
                await stage.start(*stage.replicas)
                await stage.true()
                await stage.even()
                for number in range(1, events + 1):
                    happens, began = random.choice(EVENTS), time.time()
                    await happens(stage)
                    await stage.even()
                    took, gap = time.time() - began, await worst_gap(stage, began)
                    moved = "nothing moved" if gap is None else f"moved agents missing for {gap:.1f} s at most"
                    say(f"{number} {happens.__name__} {took:.0f} s, {moved}")
                await ends_well(stage)
            except AssertionError:
                for one in stage.replicas:
                    say(f"{one.name}:\n{one.process.err[-5000:] if one.process else 'not running'}")
                raise


async def ask() -> None:
    with tempfile.TemporaryDirectory() as folder, postgres.running() as server:
        async with budgeted(Path(folder), server.database(), faster=1.0) as budget:
            await stays_within(budget, say)


if __name__ == "__main__":
    given = [*map(int, sys.argv[1:]), *(50, 7)[len(sys.argv) - 1 :]]
    asyncio.run(go_on(*given))
    asyncio.run(ask())
