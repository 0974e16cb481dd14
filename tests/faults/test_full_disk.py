"""A disk that is really full: the exporter counts on, shows true numbers, and writes them when there is room again."""

from __future__ import annotations

import signal
from copy import deepcopy
from pathlib import Path
from resource import RLIMIT_FSIZE, prlimit

from tests.faults.disks import full_disk
from tests.faults.fleets import poll_all, read_once, shown_by
from tests.service.running import SALES, exporting, kept, platform, total


async def test_polls_succeed_and_every_number_is_true_while_the_disk_is_full(tmp_path: Path) -> None:
    async with read_once(tmp_path) as made:
        with full_disk():
            for _ in range(4):
                made.clock.now += 300
                await poll_all(made)
            assert made.uncommitted() > 0
            assert len(made.log.told("state cannot be written")) == 1
        made.clock.now += 300
        await poll_all(made)
        assert made.uncommitted() == 0
        assert len(made.log.told("state can be written again")) == 1
        before = shown_by(made)
        await made.stop()
        await made.start()
        assert shown_by(made) == before
        made.clock.now += 300
        await poll_all(made)


async def test_a_first_reading_goes_on_while_the_disk_is_full(tmp_path: Path) -> None:
    async with read_once(tmp_path, polls=0) as made:
        with full_disk():
            await poll_all(made)
            assert made.uncommitted() == sum(made.world.tasks(handle).count for handle in made.world.handles)
        made.clock.now += 300
        await poll_all(made)
        assert made.uncommitted() == 0
        await made.stop()
        await made.start()
        for handle in made.world.handles:
            made.check(handle)


async def test_stopped_when_there_is_room_again_it_has_lost_nothing(tmp_path: Path) -> None:
    async with read_once(tmp_path) as made:
        with full_disk():
            made.clock.now += 300
            await poll_all(made)
        before = shown_by(made)
        await made.stop()
        await made.start()
        assert shown_by(made) == before
        made.clock.now += 300
        await poll_all(made)


async def test_killed_while_the_disk_is_full_it_goes_back_to_the_last_commit_and_counts_from_there(
    tmp_path: Path,
) -> None:
    async with read_once(tmp_path) as made:
        committed, oracles = shown_by(made), deepcopy(made.oracles)
        with full_disk():
            for _ in range(3):
                made.clock.now += 300
                await poll_all(made)
        assert shown_by(made) != committed
        made.leave(tmp_path / "copy.db")
        await made.go_on(tmp_path / "copy.db")
        assert shown_by(made) == committed
        made.oracles.update(oracles)
        made.clock.now += 60
        await poll_all(made)


async def test_a_process_whose_disk_is_full_counts_on_and_commits_when_there_is_room(tmp_path: Path) -> None:
    created = f'unpod_tasks_created_total{{agent="{SALES.handle}",execution_type="call"}}'
    async with platform(SALES) as made:
        async with exporting(tmp_path, made.settings()) as process:
            before = await process.ready()
            unlimited = prlimit(process.pid, RLIMIT_FSIZE)
            wal = tmp_path / "state.db-wal"
            prlimit(process.pid, RLIMIT_FSIZE, (wal.stat().st_size, unlimited[1]))
            made.clock.now += 1800
            full = await process.until_shown(lambda shown: shown["unpod_exporter_state_uncommitted_tasks"] > 0)
            assert full["unpod_exporter_state_commit_failures_total"] > 0
            counted = made.world.tasks(SALES.handle).count
            shown = await process.until_shown(lambda shown: shown[created] == counted)
            assert counted > before[created]
            assert shown[f'unpod_agent_up{{agent="{SALES.handle}"}}'] == 1
            assert total(shown, "unpod_agent_poll_failures_total") == 0
            assert len(process.events("state cannot be written")) == 1
            prlimit(process.pid, RLIMIT_FSIZE, unlimited)
            healed = await process.until_shown(lambda shown: shown["unpod_exporter_state_uncommitted_tasks"] == 0)
            assert kept(healed) == kept(shown)
            assert len(await process.until(lambda: process.events("state can be written again"))) == 1
            await process.stop(signal.SIGKILL)
        settings = made.settings()
    async with exporting(tmp_path, settings) as process:
        assert kept(await process.numbers()) == kept(healed), "with nobody to ask but the disk"
