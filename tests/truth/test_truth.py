"""Hours of traffic, polled at random moments, with faults, restarts and kills: every number equals the truth."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from exporter.simulator.profiles import DEFAULT_PROFILES
from tests.truth.harness import bench

READABLE = [profile for profile in DEFAULT_PROFILES if not profile.no_access]


@pytest.mark.parametrize("seed", range(4))
async def test_hours_of_traffic_polled_at_random_moments(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    async with bench(tmp_path / "state.db", READABLE, seed=seed) as made:
        for _ in range(40):
            made.clock.now += random.expovariate(1 / 120)
            handle = random.choice(made.world.handles)
            assert (await made.poll(handle)).error is None
            made.check(handle)
