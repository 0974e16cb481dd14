"""Three replicas on one database, whatever happens to them: every number is true, and nobody shows it twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.replicas.stage import staged
from tests.replicas.story import EVENTS, ends_well


@pytest.mark.xdist_group("replicas")
async def test_whatever_happens_to_replicas_every_number_is_true_and_shown_by_one_of_them(tmp_path: Path) -> None:
    """The longer one is ``python -m tests.replicas``."""
    async with staged(tmp_path) as stage:
        await stage.start(*stage.replicas)
        await stage.true()
        await stage.even()
        for happens in EVENTS:
            await happens(stage)
            await stage.even()
        await ends_well(stage)
