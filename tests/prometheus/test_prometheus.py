"""A real Prometheus scrapes the exporter; what it answers over its HTTP API is what really happened."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from exporter.simulator.truth import Created
from tests.prometheus.running import scraping
from tests.service.running import PATIENCE, SALES, SUPPORT, Platform, Process, exporting, platform, total

PROGRAMS = ("prometheus", "promtool")
KEPT = (
    'label_replace({__name__=~"unpod_(tasks?|calls?)_.*(total|count|bucket|sum)"}, "family", "$1", "__name__", "(.+)")'
)
"""Every counter that outlives a restart; functions of ranges drop the name, so it is kept in a label."""


def test_prometheus_is_there() -> None:
    """Without it the tests below would prove nothing: they fail, and are never skipped."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    assert not missing, f"{missing}: make test says how to install them"


async def address_of(process: Process) -> str:
    return urlsplit(await process.url()).netloc


async def test_prometheus_knows_what_really_happened(tmp_path: Path) -> None:
    async with (
        platform() as made,
        exporting(tmp_path, made.settings()) as process,
        scraping(tmp_path, await address_of(process)) as prometheus,
    ):
        shown = await process.ready()
        await prometheus.until("up", 1)
        for handle, kinds in created(made).items():
            for kind, count in kinds.items():
                await prometheus.until(f'unpod_tasks_created_total{{agent="{handle}",execution_type="{kind}"}}', count)
        calls = total(shown, "unpod_calls_total")
        assert calls > 50
        for query, wanted in (
            ("sum(unpod_calls_total)", calls),
            ("sum(unpod_call_end_reasons_total)", calls),
            ("sum(unpod_call_end_codes_total)", calls),
            ("sum(unpod_tasks)", sum(made.world.tasks(handle).count for handle in made.world.handles)),
            ("sum(unpod_tasks_reported)", sum(made.world.tasks(handle).count for handle in made.world.handles)),
            ("sum(unpod_agent_up)", 2),
            ('count(unpod_agent_info{name!="",agent_type="voice"})', 2),
        ):
            assert await prometheus.number(query) == wanted, query
        quantile = "histogram_quantile({}, sum by (le) (unpod_call_duration_seconds_bucket))"
        median = await prometheus.number(quantile.format(0.5))
        longest = await prometheus.number(quantile.format(1))
        assert median is not None
        assert longest is not None
        assert 5 < median < longest <= 60, "people talk for 5 to 60 seconds"
        mean = "sum(unpod_call_duration_seconds_sum) / sum(unpod_call_duration_seconds_count)"
        found = await prometheus.number(mean)
        assert found is not None
        assert 5 < found < 60
        # Only OpenMetrics tells since when a counter counts: Prometheus has asked for it, and reads it.
        begun = await prometheus.asks("unpod_calls_created")
        assert begun
        assert all(since == pytest.approx(time.time(), abs=PATIENCE) for since in begun.values())


def created(made: Platform) -> dict[str, Counter[str]]:
    """How many tasks of each kind each agent has been given, by the truth."""
    found: dict[str, Counter[str]] = {handle: Counter() for handle in made.world.handles}
    for event in made.world.truth:
        if isinstance(event, Created):
            found[event.agent][event.execution_type] += 1
    return found


async def test_a_restart_is_neither_a_reset_nor_an_increase(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        settings = made.settings()
        async with exporting(tmp_path, settings) as first:
            await first.ready()
            address = await address_of(first)
            async with scraping(tmp_path, address) as prometheus:
                await prometheus.until("up", 1)
                before = await prometheus.number("sum(unpod_tasks_created_total)")
                assert before == made.world.tasks(SALES.handle).count
                await prometheus.scraped()
                await first.stop()
                await prometheus.until("up", 0)
                async with exporting(tmp_path, settings, listen=address):
                    await prometheus.until("up", 1)
                    await prometheus.scraped(3)
                    assert len(await prometheus.asks(f"{KEPT} > 0")) > 30
                    assert await prometheus.asks(f"resets({KEPT}[1h:1s]) > 0") == {}
                    assert await prometheus.asks(f"increase({KEPT}[1h:1s]) > 0") == {}
                    assert await prometheus.number("resets(unpod_agent_polls_total[1h])") == 1, "a restart was seen"
                    made.clock.now += 1800
                    made.world.advance(made.clock.now)
                    count = made.world.tasks(SALES.handle).count
                    assert count > before
                    await prometheus.until("sum(unpod_tasks_created_total)", count)
                    assert await prometheus.asks(f"resets({KEPT}[1h:1s]) > 0") == {}
                    grown = "sum(unpod_tasks_created_total) - sum(min_over_time(unpod_tasks_created_total[1h]))"
                    assert await prometheus.number(grown) == count - before


async def test_promtool_has_nothing_to_say_about_the_real_output(tmp_path: Path) -> None:
    async with platform(SALES, SUPPORT) as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        text = (await process.get()).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)  # noqa: ASYNC221 - nobody else waits
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
