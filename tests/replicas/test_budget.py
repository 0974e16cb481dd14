"""Three replicas together keep within what one may ask for in a minute: as the platform counts it."""

from __future__ import annotations

from pathlib import Path

from tests.replicas.budget import budgeted, stays_within


async def test_all_replicas_together_ask_for_no_more_within_any_minute_than_is_allowed(
    tmp_path: Path, database: str
) -> None:
    """Their minutes, and those of the database and of the platform, last six seconds. In ``python -m tests.replicas``
    they are real ones."""
    async with budgeted(tmp_path, database, faster=10.0) as budget:
        await stays_within(budget, print)
