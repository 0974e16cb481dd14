from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from tests.service.running import platform
from tests.soak.soak import AGENTS, Soak


@pytest.mark.parametrize("seed", range(2))
async def test_half_an_hour_of_faults_kills_and_stops_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    """The day that docs/performance.md tells of is ``python -m tests.soak``."""
    async with platform(*AGENTS, seed=seed, history=0.5) as made, AsyncExitStack() as stack:
        soak = Soak(made, tmp_path, Random(seed), stack, lambda found: None)
        found = await soak.run(0.5, quiet_from=0.4)
    assert found.moments >= 20
    assert found.faults >= 2
