"""The platform fails, in part or as a whole, and comes back; the exporter is started while it is away."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from exporter.config import Config, load
from exporter.service import Clock, Exporter, assembled
from tests.service.running import (
    SALES,
    SUPPORT,
    TOKEN,
    counts_of,
    exporting,
    kept,
    platform,
    samples,
    written,
)
from tests.truth.harness import Notes

GAUGES = (
    "unpod_tasks",
    "unpod_tasks_reported",
    "unpod_tasks_overdue",
    "unpod_tasks_unreadable",
    "unpod_oldest_open_task_timestamp_seconds",
    "unpod_open_runs",
    "unpod_last_call_end_timestamp_seconds",
)
LAG = "unpod_exporter_schedule_lag_seconds"


def of(shown: Mapping[str, float], family: str, handle: str = SALES.handle) -> float | None:
    return shown.get(f'{family}{{agent="{handle}"}}')


def loaded(folder: Path, settings: Mapping[str, Any]) -> Config:
    return load(written(folder, settings), os.environ, state_path=str(folder / "state.db"))


def gauges_of(shown: Mapping[str, float]) -> dict[str, float]:
    return {key: value for family in GAUGES for key, value in counts_of(shown, family).items()}


async def test_started_while_the_platform_is_away_it_shows_what_it_knows(tmp_path: Path) -> None:
    async with platform() as made:
        settings = made.settings()
        async with exporting(tmp_path, settings) as process:
            before = await process.ready()
            await process.stop()
    async with exporting(tmp_path, settings) as process:
        at_once = await process.numbers()
        assert kept(at_once) == kept(before)
        assert gauges_of(at_once) == gauges_of(before) != {}
        failed = await process.ready()
        assert kept(failed) == kept(before)
        assert gauges_of(failed) == gauges_of(before)
        for handle in (SALES.handle, SUPPORT.handle):
            assert of(failed, "unpod_agent_up", handle) == 0
            last = of(before, "unpod_agent_last_success_timestamp_seconds", handle)
            assert last is not None
            assert of(failed, "unpod_agent_last_success_timestamp_seconds", handle) >= last
            assert counts_of(failed, "unpod_agent_poll_failures_total")[
                f'unpod_agent_poll_failures_total{{agent="{handle}",reason="connection"}}'
            ]
        await process.stop()
    impatient = settings | {"polling": {"interval": "200ms", "max_staleness": "1s"}}
    async with exporting(tmp_path, impatient) as process:
        stale = await process.until_shown(lambda shown: not gauges_of(shown))
        assert kept(stale) == kept(before), "counters stay"
        assert of(stale, "unpod_agent_last_success_timestamp_seconds") is not None


async def test_gauges_vanish_at_max_staleness_and_not_before(tmp_path: Path) -> None:
    now = 1_800_000_000.0
    async with platform(SALES) as made:
        config = loaded(tmp_path, made.settings(polling={"max_staleness": "15m"}))
        async with assembled(config, Notes(), Clock(now=lambda: now)) as exporter:
            await exporter.fleet.once()
            fresh = samples(exporter.text())
            made.fails("bad_gateway")
            now += 899.0
            await exporter.fleet.once()
            assert gauges_of(samples(exporter.text())) == gauges_of(fresh)
            now += 2.0
            assert gauges_of(samples(exporter.text())) == {}
            assert kept(samples(exporter.text())) == kept(fresh)
            made.faults.clear()
            await exporter.fleet.once()
            assert gauges_of(samples(exporter.text())).keys() == gauges_of(fresh).keys()


@pytest.mark.parametrize("kind", ["no_access", "server_error", "black_hole", "redirect", "wrong_json"])
async def test_an_agent_that_fails_disturbs_no_other(tmp_path: Path, kind: str) -> None:
    async with platform() as made:
        alone = made.settings(api={"timeout": "1s"})
        async with exporting(tmp_path, alone) as process:
            before = await process.ready()
            made.fails(kind, agent=SALES.handle)
            made.clock.now += 3600
            await process.until_shown(lambda shown: of(shown, "unpod_agent_up") == 0)
            created = f'unpod_tasks_created_total{{agent="{SUPPORT.handle}",execution_type="call"}}'
            after = await process.until_shown(lambda shown: shown[created] > before[created])
            assert of(after, "unpod_agent_up", SUPPORT.handle) == 1
            mine = {key: value for key, value in kept(after).items() if SALES.handle in key}
            assert mine == {key: value for key, value in kept(before).items() if SALES.handle in key}


async def test_a_state_with_words_of_a_later_vocabulary_fails_its_agent_alone(tmp_path: Path) -> None:
    async with platform() as made:
        async with exporting(tmp_path, made.settings()) as process:
            await process.ready()
            await process.stop()
        with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
            changed = database.execute(
                "UPDATE numbers SET series = replace(series, 'outbound', 'telepathic')"
                " WHERE agent = (SELECT id FROM agents WHERE handle = ?) AND series LIKE '[\"calls\"%'",
                (SALES.handle,),
            )
            assert changed.rowcount > 0
        async with exporting(tmp_path, made.settings()) as process:
            shown = await process.ready()
            assert of(shown, "unpod_agent_up", SUPPORT.handle) == 1
            assert of(shown, "unpod_agent_up", SALES.handle) == 0
            failures = f'unpod_agent_poll_failures_total{{agent="{SALES.handle}",reason="internal"}}'
            assert shown[failures] > 0
            assert "telepathic" not in process.err
            assert process.alive


async def test_the_platform_goes_away_and_comes_back(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        before = await process.ready()
        made.fails("bad_gateway")
        await process.until_shown(lambda shown: of(shown, "unpod_agent_up") == 0)
        made.clock.now += 1800
        made.faults.clear()
        healed = await process.until_shown(lambda shown: of(shown, "unpod_agent_up") == 1)
        await process.until(lambda: process.events("agent works again"))
        created = f'unpod_tasks_created_total{{agent="{SALES.handle}",execution_type="call"}}'
        assert healed[created] == made.world.tasks(SALES.handle).count > before[created]
        assert len(process.events("poll failed")) == 1, "a failure that lasts is told once"


async def test_a_platform_that_is_gone_and_started_again_is_found_again(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        settings, port, world = made.settings(), urlsplit(made.url).port, made.world
    async with exporting(tmp_path, settings) as process:
        await process.ready()
        assert of(await process.numbers(), "unpod_agent_up") == 0
        async with platform(world=world, port=port or 0):
            shown = await process.until_shown(lambda shown: of(shown, "unpod_agent_up") == 1)
            assert sum(counts_of(shown, "unpod_tasks_created_total").values()) == world.tasks(SALES.handle).count


async def test_a_token_file_that_is_mended_heals_without_a_restart(tmp_path: Path) -> None:
    """In the time of the test: the exporter tries a rejected token again after minutes."""
    token = tmp_path / "token"
    token.write_text("revoked")
    async with platform(SALES) as made:
        api = {key: value for key, value in made.settings()["api"].items() if key != "token"}
        config = loaded(tmp_path, {**made.settings(), "api": api | {"token_file": str(token)}})
        log = Notes()
        async with assembled(config, log) as exporter:
            assert await reason(exporter) == "unauthorized"
            token.write_text(TOKEN + "\n")
            assert await reason(exporter) is None
            token.unlink()
            assert await reason(exporter) == "unauthorized"
            token.write_text(TOKEN)
            assert await reason(exporter) is None
        assert [told["reason"] for told in log.told("poll failed")] == ["unauthorized"] * 2
        assert f"the token file {token} cannot be read" in log.told("poll failed")[1]["error"]
        assert len(log.told("agent works again")) == 2


async def reason(exporter: Exporter) -> str | None:
    """Why the next poll fails."""
    (outcome,) = (await exporter.fleet.once()).values()
    return outcome.reason


async def test_many_processes_of_one_organisation_keep_apart(tmp_path: Path) -> None:
    """Two exporters with a state each: both count everything, neither disturbs the other."""
    async with (
        platform(SALES) as made,
        exporting(tmp_path, made.settings(), state="one.db") as one,
        exporting(tmp_path, made.settings(), state="two.db") as two,
    ):
        first, second = await asyncio.gather(one.ready(), two.ready())
        assert kept(first) == kept(second) != {}
        status = json.loads((await one.get("/api/agents")).body)
        assert [agent["handle"] for agent in status["agents"]] == [SALES.handle]


async def test_a_platform_that_answers_slowly_is_told_by_how_much_polls_come_later_and_that_it_is_the_platform(
    tmp_path: Path,
) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        made.fails("slow_drip", piece=2**14, pause=0.05)
        await process.until_shown(lambda shown: shown[LAG] > 0.1)
        told, *_ = await process.until(lambda: process.events("polls take too long for their interval"))
        assert (told["agent"], told["reason"]) == (SALES.handle, "slow_platform")
        assert float(told["seconds"]) > float(told["instead_of"]) == 0.2
        made.faults.clear()
        await process.until_shown(lambda shown: shown[LAG] == 0.0)
