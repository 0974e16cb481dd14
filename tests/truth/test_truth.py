"""Hours of traffic, polled at random moments, with faults, restarts and kills: every number equals the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import pytest

from exporter.simulator.faults import Fault
from exporter.simulator.profiles import DEFAULT_PROFILES
from exporter.tracking.rules import Rules
from tests.truth.faults import BREAKING, HARMLESS
from tests.truth.harness import LIMITS, Bench, Database, bench

READABLE = tuple(profile for profile in DEFAULT_PROFILES if not profile.no_access)
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
        live_tasks_per_hour=60.0,
        bulk_every=None,
    )
    for profile in READABLE
)
"""Tasks that are tried, redialled and restarted again and again."""


def on_both(files: int, databases: int = 1) -> pytest.MarkDecorator:
    """So many seeds with the state in a file, and so many with it in PostgreSQL."""
    runs = [("file", seed) for seed in range(files)] + [("database", seed) for seed in range(databases)]
    return pytest.mark.parametrize(("home", "seed"), runs, indirect=["home"])


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path | Database:
    """Where a state of the test's own is to be."""
    if request.param == "file":
        return tmp_path / "state.db"
    return Database(request.getfixturevalue("database"), request.getfixturevalue("postgres_server"))


async def wander(made: Bench, random: Random, polls: int, *, gap: float = 120.0) -> None:
    """Polls agents at random moments and checks each of them."""
    for _ in range(polls):
        made.clock.now += random.expovariate(1 / gap)
        handle = random.choice(made.world.handles)
        assert (await made.poll(handle)).error is None
        made.check(handle)


@pytest.mark.parametrize("seed", range(6))
async def test_polls_at_random_moments(tmp_path: Path, seed: int) -> None:
    async with bench(tmp_path / "state.db", READABLE, seed=seed, gzip=seed % 2 == 0) as made:
        await wander(made, Random(seed), 30)


@on_both(6)
async def test_tasks_that_are_tried_again_and_again(home: Path | Database, seed: int) -> None:
    async with bench(home, BUSY, seed=seed, history=1.0) as made:
        await wander(made, Random(seed), 40, gap=300.0)


@on_both(4)
async def test_restarts(home: Path | Database, seed: int) -> None:
    random = Random(seed)
    async with bench(home, BUSY, seed=seed, history=1.0) as made:
        for _ in range(10):
            await wander(made, random, 3)
            await made.stop()
            made.clock.now += random.expovariate(1 / 1800)
            await made.start()
            for handle in made.world.handles:
                made.check(handle)


@pytest.mark.parametrize("seed", range(4))
async def test_faults_change_no_number(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with bench(tmp_path / "state.db", BUSY, seed=seed, history=1.0) as made:
        await wander(made, random, 10)
        for _ in range(60):
            made.clock.now += random.expovariate(1 / 60)
            handle = random.choice(made.world.handles)
            kind = random.choice(BREAKING)
            cut = random.choice(("plain", "chunked", "gzip", "json"))
            # A 500 of some pages alone is a poisoned document, which is no failure.
            page = None if kind == "server_error" else random.choice((1, None))
            made.faults.add(Fault(kind=kind, cut=cut, page=page, retry_after=1.0))
            outcome = await made.poll(handle)
            made.faults.clear()
            assert outcome.error is not None, kind
            made.check(handle)
        await wander(made, random, 10)


@on_both(4)
async def test_a_first_reading_that_fails_halfway_counts_nothing_twice(home: Path | Database, seed: int) -> None:
    random = Random(seed)
    rules = Rules(limits=LIMITS, page_size=20)
    async with bench(home, READABLE, seed=seed, history=4.0, rules=rules) as made:
        for handle in made.world.handles:
            for page in (2, 3, 5):
                made.faults.add(Fault(kind="bad_gateway", page=page))
                await made.poll(handle)
                made.faults.clear()
                made.clock.now += 60
        await wander(made, random, 20)


@pytest.mark.parametrize("kind", [*HARMLESS, "ignore_paging"])
async def test_odd_answers_that_can_be_read_are_read(tmp_path: Path, kind: str) -> None:
    async with bench(tmp_path / "state.db", READABLE, seed=3, history=1.0) as made:
        made.faults.add(Fault(kind=kind, probability=0.5))
        await wander(made, Random(3), 20)


@on_both(4)
async def test_tasks_that_arrive_while_pages_are_read(home: Path | Database, seed: int) -> None:
    random = Random(seed)

    async def time_passes(request: int) -> None:
        made.clock.now += random.expovariate(1 / 20)

    rules = Rules(limits=LIMITS, page_size=25)
    async with bench(home, READABLE, seed=seed, history=3.0, rules=rules) as made:
        made.before = time_passes
        await wander(made, random, 12)


@on_both(6)
async def test_a_kill_at_any_request(home: Path | Database, tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    rules = Rules(limits=LIMITS, page_size=25)
    async with bench(home, BUSY, seed=seed, history=1.0, rules=rules) as made:
        for number in range(12):
            handle = random.choice(made.world.handles)
            made.clock.now += random.expovariate(1 / 120)
            made.before = kill_at(random.randint(1, 3))
            with pytest.raises(asyncio.CancelledError):
                await poll_for_ever(made, handle)
            made.before = harmless
            await made.die(tmp_path / f"state-{number}.db")
            await wander(made, random, 3)


@on_both(3)
async def test_outages_that_are_caught_up_with_however_often_that_fails(
    home: Path | Database, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    rules = Rules(limits=LIMITS, page_size=10)
    async with bench(home, BUSY, seed=seed, history=1.0, rules=rules) as made:
        await wander(made, random, 8)
        for number in range(4):
            made.clock.now += random.uniform(3600, 4 * 3600)
            handle = random.choice(made.world.handles)
            for attempt in range(4):
                made.clock.now += random.expovariate(1 / 60)
                deadly = random.randint(4, 14)
                if random.random() < 0.5:
                    made.before = kill_at(deadly)
                    with suppress(asyncio.CancelledError):
                        await made.poll(handle)
                    made.before = harmless
                    await made.die(tmp_path / f"state-{number}-{attempt}.db")
                else:
                    made.before = failing_from(made, deadly)
                    await made.poll(handle)
                    made.before = harmless
                    made.faults.clear()
                made.check(handle)
            await wander(made, random, 3)
        assert made.committed_in_part >= 4


def failing_from(made: Bench, deadly: int) -> Callable[[int], Awaitable[None]]:
    async def before(request: int) -> None:
        if request == deadly:
            made.faults.add(Fault(kind="bad_gateway"))

    return before


async def poll_for_ever(made: Bench, handle: str) -> None:
    while True:
        await made.poll(handle)


def kill_at(deadly: int) -> Callable[[int], Awaitable[None]]:
    count = 0

    async def before(request: int) -> None:
        nonlocal count
        count += 1
        if count == deadly:
            raise asyncio.CancelledError

    return before


async def harmless(request: int) -> None:
    """Lets the request be."""


@pytest.mark.parametrize("seed", range(4))
async def test_a_ledger_without_backfill_starts_at_nothing(tmp_path: Path, seed: int) -> None:
    rules = Rules(limits=LIMITS, backfill=0.0)
    async with bench(tmp_path / "state.db", READABLE, seed=seed, history=2.0, rules=rules) as made:
        for handle in made.world.handles:
            await made.poll(handle)
            made.check(handle)
            assert not made.oracles[handle].numbers.total()
        await wander(made, Random(seed), 30)


async def test_a_backfill_counts_the_tasks_created_since_then(tmp_path: Path) -> None:
    rules = Rules(limits=LIMITS, backfill=3600.0)
    async with bench(tmp_path / "state.db", READABLE, seed=1, history=3.0, rules=rules) as made:
        await wander(made, Random(1), 30)


STEADY = tuple(
    msgspec.structs.replace(profile, redialled=0.0, restarted=0.0, recovered=0.0, slow_enrichment=0.0, judged_later=0.0)
    for profile in READABLE
)
"""Tasks that change no more once they are settled."""


@pytest.mark.parametrize(("seed", "ties"), [(0, 0.0), (1, 0.0), (1, 0.25), (2, 0.25)])
async def test_a_sparse_reader_tells_the_same_as_a_reader_of_everything(tmp_path: Path, seed: int, ties: float) -> None:
    random = Random(seed)
    everything = Rules(limits=LIMITS, page_size=50, reconcile_interval=1e-6)
    sparse = Rules(limits=LIMITS, page_size=50, reconcile_interval=0.0)
    async with (
        bench(tmp_path / "all.db", STEADY, seed=seed, history=24.0, rules=everything, restless_ties=ties) as whole,
        bench(tmp_path / "sparse.db", STEADY, seed=seed, history=24.0, rules=sparse, restless_ties=ties) as few,
    ):
        for _ in range(40):
            whole.clock.now = few.clock.now = few.clock.now + random.expovariate(1 / 60)
            handle = random.choice(few.world.handles)
            for made in (whole, few):
                assert (await made.poll(handle)).error is None
            assert few.numbers(handle) == whole.numbers(handle)
        assert few.tasks_read < 0.8 * whole.tasks_read
