"""Hours of traffic while the way to the database is cut again and again: in the end every number is the truth."""

from __future__ import annotations

from random import Random

import pytest

from exporter.tracking.storage import StorageError
from tests.postgres import Server
from tests.proxy import Fate, proxied
from tests.truth.harness import Database, bench
from tests.truth.test_truth import BUSY


@pytest.mark.parametrize("seed", range(2))
async def test_wherever_connections_are_cut_nothing_is_lost_and_nothing_counted_twice(
    database: str, postgres_server: Server, seed: int
) -> None:
    random = Random(seed)
    faulty = False
    failed = cut = 0

    def rule(direction: str, data: bytes) -> Fate:
        nonlocal cut
        if not faulty or random.random() > 0.15:
            return Fate.PASSED
        cut += 1
        return random.choice((Fate.CUT, Fate.PASSED_THEN_CUT))

    async with proxied(postgres_server.port) as proxy:
        proxy.rule = rule
        home = Database(proxy.url(database), postgres_server, proxy)
        async with bench(home, BUSY, seed=seed, history=1.0) as made:
            for handle in made.world.handles:
                assert (await made.poll(handle)).error is None
            for _ in range(60):
                made.clock.now += random.expovariate(1 / 120)
                faulty = random.random() < 0.7
                handle = random.choice(made.world.handles)
                outcome = await made.poll(handle)
                assert isinstance(outcome.error, StorageError | None)
                failed += outcome.error is not None
                made.check(handle)
            faulty = False
            for handle in made.world.handles:
                assert (await made.poll(handle)).error is None
                made.check(handle)
            assert made.uncommitted() == 0
            await made.stop()
            await made.start()
            for handle in made.world.handles:
                made.check(handle)
    assert cut > 10
    assert failed > 0
