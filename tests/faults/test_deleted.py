"""Processes whose state is deleted, or that start where nothing can be written."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.faults.disks import full_disk
from tests.service.running import SALES, exporting, kept, platform, started, written

FAILURES = "unpod_exporter_state_commit_failures_total"
LOG = 12_000
"""Bytes that the log needs: less than a journal does."""
UNCOMMITTED = "unpod_exporter_state_uncommitted_tasks"


async def test_a_process_whose_state_is_deleted_tells_and_loses_nothing_to_a_kill(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        async with exporting(tmp_path, made.settings()) as process:
            await process.ready()
            for suffix in ("", "-wal", "-shm", ".lock"):
                (tmp_path / f"state.db{suffix}").unlink()
            made.clock.now += 1800
            shown = await process.until_shown(lambda shown: shown[FAILURES] == 1)
            assert shown[UNCOMMITTED] == 0
            (told,) = await process.until(lambda: process.events("state file was gone"))
            assert told["state"].endswith("state.db")
            shown = await process.polled(2)
            await process.stop(signal.SIGKILL)
        settings = made.settings()
    async with exporting(tmp_path, settings) as process:
        assert kept(await process.numbers()) == kept(shown), "with nobody to ask but the disk"


async def test_a_process_that_starts_on_a_full_disk_shows_what_is_known_and_counts_on(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        async with exporting(tmp_path, made.settings()) as process:
            before = await process.ready()
            await process.stop(signal.SIGKILL)
        config = written(tmp_path, made.settings())
        flags = ("--config.file", str(config), "--web.listen-address", "127.0.0.1:0", "--state.path", "state.db")
        made.clock.now += 1800
        with full_disk(LOG):
            async with started(tmp_path, "run", *flags) as process:
                shown = await process.until_shown(lambda shown: shown.get(UNCOMMITTED, 0) > 0)
                assert kept(shown).keys() >= kept(before).keys()
                assert shown[f'unpod_agent_up{{agent="{SALES.handle}"}}'] == 1
                assert len(process.events("state cannot be written")) == 1
                await process.stop()


async def test_a_process_that_can_make_no_state_says_what_stands_in_the_way(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        config = written(tmp_path, made.settings())
        flags = ("--config.file", str(config), "--web.listen-address", "127.0.0.1:0", "--state.path", "state.db")
        with full_disk(LOG // 4):
            async with started(tmp_path, "run", *flags) as process:
                ran = await process.end()
                assert ran.code != 0
                assert "state.db cannot be created: " in ran.err
