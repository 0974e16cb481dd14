"""Several exporters that share the agents without talking to each other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec

from tests.service.running import SALES, counts_of, platform, ran, samples, written

AGENTS = tuple(msgspec.structs.replace(SALES, handle=f"agent-{number}") for number in range(6))


def agents_of(shown: dict[str, float]) -> set[str]:
    return {found[1] for name in shown if (found := re.search(r'agent="([^"]*)"', name))}


async def shard(folder: Path, index: int, count: int, state: str = "") -> dict[str, float]:
    """What one shard shows, once it has polled."""
    flags = ("--shard.index", str(index), "--shard.count", str(count))
    told = await ran(folder, "once", "--state.path", state or f"{index}-of-{count}.db", *flags)
    assert told.code == 0, told.err
    return samples(told.out)


async def test_each_agent_is_polled_and_shown_by_exactly_one_shard_which_names_itself(tmp_path: Path) -> None:
    async with platform(*AGENTS) as made:
        for settings in (made.settings(), made.settings(agents=[], discovery={"enabled": True})):
            written(tmp_path, settings)
            found = [await shard(tmp_path, index, 3) for index in range(3)]
            handles = [handle for shown in found for handle in agents_of(shown)]
            assert sorted(handles) == sorted(made.world.handles)
            for index, shown in enumerate(found):
                assert shown[f'unpod_exporter_shard_info{{shard_index="{index}",shard_count="3"}}'] == 1


async def test_one_exporter_is_split_into_shards_by_copies_of_its_state_and_no_counter_begins_anew(
    tmp_path: Path,
) -> None:
    async with platform(*AGENTS) as made:
        written(tmp_path, made.settings(agents=[], discovery={"enabled": True}, polling={"backfill": "none"}))
        await shard(tmp_path, 0, 1, "all.db")
        made.clock.now += 3600
        before = await shard(tmp_path, 0, 1, "all.db")
        for index in range(2):
            shutil.copy(tmp_path / "all.db", tmp_path / f"{index}-of-2.db")
        found = [await shard(tmp_path, index, 2) for index in range(2)]
    for family in ("unpod_tasks_created_total", "unpod_calls_total", "unpod_task_transitions_total"):
        counted = [counts_of(shown, family) for shown in found]
        assert counted[0].keys().isdisjoint(counted[1])
        assert counted[0] | counted[1] == counts_of(before, family)
        assert sum(counts_of(before, family).values()) > 0
