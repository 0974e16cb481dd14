"""SIGKILL at any moment: afterwards every number is exactly what the truth says, and none is less than before.

Time stands still while the exporter polls, so that what was seen at a moment is known exactly, however often and by
whichever process it was seen; then it jumps. The oracle is told one look at each task for each moment.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporter.exposition.catalog import Settings, families
from exporter.exposition.family import Family, Kind
from exporter.simulator.truth import Created
from exporter.simulator.world import World
from tests.service import clocked
from tests.service.running import (
    LEGACY,
    SALES,
    SUPPORT,
    Platform,
    Process,
    kept,
    platform,
    samples,
    started,
    written,
)
from tests.truth.oracle import BOUNDS, Key, Oracle, timelines

BUSY = tuple(
    msgspec.structs.replace(
        profile,
        redialled=0.3,
        restarted=0.8,
        recovered=0.3,
        retry_unanswered=0.9,
        retry_delay=(5.0, 120.0),
        redial_delay=(5.0, 300.0),
        restart_delay=(30.0, 300.0),
    )
    for profile in (SALES, SUPPORT, LEGACY)
)
CLOCKED = str(Path(clocked.__file__))
SETTLING, GRACE = 600.0, 300.0
GAUGES = (
    "tasks",
    "tasks_overdue",
    "oldest_open_task_timestamp_seconds",
    "open_runs",
    "last_call_end_timestamp_seconds",
)


@pytest.fixture
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a state of the test's own is to be: a file, or a database."""
    if request.param == "sqlite":
        return str(tmp_path / "state.db")
    url: str = request.getfixturevalue("database")
    return url


@pytest.mark.parametrize(
    ("state", "seed"), [("sqlite", 0), ("sqlite", 1), ("sqlite", 2), ("postgresql", 0)], indirect=["state"]
)
async def test_kills_at_random_moments_cost_nothing_and_count_nothing_twice(
    tmp_path: Path, state: str, seed: int
) -> None:
    random = Random(seed)
    async with platform(*BUSY, seed=seed, history=1.0) as made, AsyncExitStack() as stack:
        reader = Reader(made, tmp_path, state, random, stack)
        for _ in range(4):
            for _ in range(random.randint(1, 3)):
                await reader.dies()
            shown = await reader.reads()
            reader.moments.append(made.clock.now)
            for handle in made.world.handles:
                found, wanted = numbers_of(shown, handle), truth(made.world, handle, reader.moments)
                wrong = {key: (found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys()}
                assert {key: pair for key, pair in wrong.items() if pair[0] != pair[1]} == {}, handle
            reader.waits(random.expovariate(1 / 600))
        assert reader.kills >= 4


class Reader:
    """An exporter that is killed and started again on the same state; what it shows may never go back."""

    def __init__(self, made: Platform, folder: Path, state: str, random: Random, stack: AsyncExitStack) -> None:
        self.moments: list[float] = []
        self.kills = 0
        self._made, self._folder, self._state, self._random, self._stack = made, folder, state, random, stack
        self._seen: dict[str, float] = {}
        self._process: Process | None = None
        self._config = str(written(folder, made.settings(polling={"interval": "100ms"})))
        self._clock = folder / "clock"
        self.waits(0.0)

    def waits(self, seconds: float) -> None:
        """Lets time jump, for the platform and for the exporter."""
        self._made.clock.now += seconds
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(repr(self._made.clock.now))
        fresh.replace(self._clock)

    async def dies(self) -> None:
        """Lets some pages be sent, and kills the process while one is under way, or just after."""
        made, random = self._made, self._random
        pages, delay = random.randint(1, 12), random.choice((0.0, 0.0, 0.002, 0.01, 0.03))
        enough = asyncio.Event()
        count = 0

        def hears() -> None:
            nonlocal count
            count += 1
            if count == pages:
                asyncio.get_running_loop().call_later(delay, enough.set)

        made.hears = hears
        process = await self._alive()
        async with asyncio.timeout(60):
            await enough.wait()
        made.hears = lambda: None
        assert (await process.stop(signal.SIGKILL)).code == -signal.SIGKILL
        self.kills += 1

    async def reads(self) -> str:
        """What is shown after every agent has been read whole at this moment."""
        process = await self._alive()
        await process.ready()
        # The second poll from now on has surely begun in this moment.
        await process.polled(2)
        text = (await process.get()).text
        self._never_goes_back(text)
        return text

    async def _alive(self) -> Process:
        if self._process is None or not self._process.alive:
            words = (self._config, self._state, str(self._clock))
            self._process = await self._stack.enter_async_context(started(self._folder, *words, module=CLOCKED))
            # What is known is shown before anything is polled.
            self._never_goes_back((await self._process.get()).text)
        return self._process

    def _never_goes_back(self, text: str) -> None:
        now = kept(samples(text))
        assert {key: (value, now.get(key)) for key, value in self._seen.items() if now.get(key, -1) < value} == {}
        self._seen = now


def truth(world: World, handle: str, moments: Sequence[float]) -> dict[Key, float]:
    """What every number of an agent must be, if all its tasks were looked at in these moments."""
    oracle = Oracle(settling=SETTLING)
    made = {event.task: event.at for event in world.truth if isinstance(event, Created)}
    for (agent, task), timeline in timelines(world.truth).items():
        for moment in moments:
            if agent == handle and made[task] <= moment:
                oracle.look(task, timeline.at(moment), moment)
    numbers = oracle.numbers | oracle.gauges(moments[-1], grace=GRACE)
    return {key: value for key, value in numbers.items() if value}


OF_THE_EXPORTER = ("unpod_agent_", "unpod_exporter_")
CATALOG = {
    family.name: family
    for family in families(Settings())
    if family.source in GAUGES or (family.kind is not Kind.GAUGE and not family.name.startswith(OF_THE_EXPORTER))
}
IN_BILLIONTHS = ("unpod_call_cost_dollars_total", "unpod_call_stt_seconds_total")


def numbers_of(text: str, agent: str) -> dict[Key, float]:
    """What is shown of an agent in the oracle's terms: numbers above 0, buckets one by one, sums in billionths."""
    found: Counter[Key] = Counter()
    for shown in text_string_to_metric_families(text):
        family = CATALOG.get(shown.name) or CATALOG.get(f"{shown.name}_total")
        for sample in shown.samples if family else ():
            if sample.labels.get("agent") == agent:
                found[_key(family, sample)] += _value(family, sample)
    return _apart({key: value for key, value in found.items() if value})


def _key(family: Family, sample: Sample) -> Key:
    labels = tuple(sample.labels[label.name] for label in family.labels)
    part = sample.name.removeprefix(family.name).removeprefix("_")
    if family.kind is Kind.HISTOGRAM and part == "bucket":
        part = repr(float(sample.labels["le"])).replace("inf", "+Inf")
    return (family.source, *labels, *([part] if part else []))


def _value(family: Family, sample: Sample) -> float:
    in_billionths = family.name in IN_BILLIONTHS or sample.name.endswith("_sum")
    return round(sample.value * 1e9) if in_billionths else sample.value


def _apart(numbers: Mapping[Key, float]) -> dict[Key, float]:
    """Histograms with what fell into each bucket alone; their counts are those of the last bucket."""
    found: dict[Key, float] = {}
    below: dict[Key, float] = {}
    for key, value in numbers.items():
        if key[0] not in BOUNDS or key[-1] == "sum":
            found[key] = value
        elif key[-1] == "count":
            assert below[key[:-1]] == value, "the last bucket holds everything"
        else:
            found[key] = value - below.get(key[:-1], 0)
            below[key[:-1]] = value
    return {key: value for key, value in found.items() if value}
