"""A small fleet of agents on a bench, polled to and fro."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from exporter.tracking.rules import Rules
from tests.truth.harness import LIMITS, Bench, Database, bench
from tests.truth.oracle import Key
from tests.truth.test_truth import STEADY

PROFILES: Final = tuple(
    msgspec.structs.replace(profile, tasks_per_hour=60.0, live_tasks_per_hour=60.0, bulk_every=None)
    for profile in STEADY[:2]
)
RULES: Final = Rules(limits=LIMITS, page_size=25)
GAUGES: Final = (
    "tasks",
    "tasks_overdue",
    "oldest_open_task_timestamp_seconds",
    "open_runs",
    "last_call_end_timestamp_seconds",
)


@asynccontextmanager
async def read_once(home: Path | Database, *, polls: int = 3, patience: float = 10.0) -> AsyncIterator[Bench]:
    """A bench whose agents have been polled so many times; its state is in this folder, or in a database."""
    where = home / "state.db" if isinstance(home, Path) else home
    made = bench(where, PROFILES, seed=5, history=1.0, rules=RULES, restless_ties=0, patience=patience)
    async with made as opened:
        for _ in range(polls):
            opened.clock.now += 120
            await poll_all(opened)
        yield opened


async def poll_all(made: Bench, *, exact: bool = True, apart: tuple[str, ...] = ()) -> None:
    """Polls every agent well; every number is what the truth says, but for the families named."""
    for handle in made.world.handles:
        outcome = await made.poll(handle)
        assert outcome.error is None, outcome.error
        if exact:
            made.check(handle, apart=apart)


def counters(numbers: Mapping[Key, float]) -> dict[Key, float]:
    """The numbers that may not fall."""
    return {key: value for key, value in numbers.items() if key[0] not in GAUGES}


def shown_by(made: Bench) -> dict[str, dict[Key, float]]:
    """The counters of every agent, as they are shown."""
    return {handle: counters(made.numbers(handle)) for handle in made.world.handles}
