"""Months that the exporter has not seen, written by `backfill`, made blocks by promtool, in a real Prometheus that then
scrapes the exporter: on either side of the seam, and across it, it knows what really happened."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from exporter.simulator.world import World
from tests.prometheus.running import Labels, Prometheus, prometheus
from tests.service.running import SALES, SUPPORT, Platform, exporting, platform, ran, written
from tests.truth.oracle import Key, Oracle, Timeline, timelines

DAY = 86_400.0
DAYS = 40
SETTLING = 600.0
STEP = "10m"
INSTANCE = "exporter:10130"
AHEAD = 1_200.0
"""Seconds by which the platform's time stands still before now: what happens later has happened by then."""
PROFILES = tuple(
    msgspec.structs.replace(profile, tasks_per_hour=0.8, live_tasks_per_hour=120.0, stub=0.0)
    for profile in (SALES, SUPPORT)
)
FAMILIES = {
    "tasks_created": "unpod_tasks_created_total",
    "calls": "unpod_calls_total",
    "call_end_reasons": "unpod_call_end_reasons_total",
    "call_outcomes": "unpod_call_outcomes_total",
    "call_messages": "unpod_call_messages_total",
    "call_cost_dollars": "unpod_call_cost_dollars_total",
    "call_llm_tokens": "unpod_call_llm_tokens_total",
}
LABELS = {
    "tasks_created": ("execution_type",),
    "calls": ("direction", "call_status"),
    "call_end_reasons": ("end_reason",),
    "call_outcomes": ("outcome",),
    "call_messages": ("role",),
    "call_cost_dollars": (),
    "call_llm_tokens": ("kind",),
}
COUNTED = r"unpod_(calls?|number_calls|tasks_created|task_start_delay)\w*_(total|count|bucket|sum)"
RULES = Path(__file__).parents[2] / "prometheus" / "rules" / "recording.yml"
DASHBOARDS = Path(__file__).parents[2] / "grafana" / "dashboards"


class Event(NamedTuple):
    """What one task adds to a number, and when, as far as it tells."""

    agent: str
    key: Key
    amount: int
    at: float | None


class Stage(NamedTuple):
    """A Prometheus with months of past, that scrapes the exporter."""

    prometheus: Prometheus
    made: Platform
    seam: float
    """Unix seconds at which the past was written."""


def truth(made: Platform, *moments: tuple[float, float]) -> list[Event]:
    """What had happened by the last moment, when the tasks were looked at in all of these: by the platform's time, and
    by the exporter's."""
    return [
        event
        for (agent, task), timeline in timelines(made.world.truth).items()
        for event in _of_task(agent, task, timeline, moments)
    ]


def _of_task(agent: str, task: str, timeline: Timeline, moments: tuple[tuple[float, float], ...]) -> Iterator[Event]:
    oracle = Oracle(settling=SETTLING)
    looked = [(timeline.at(platform), now) for platform, now in moments if timeline.begins <= platform]
    for sight, now in looked:
        oracle.look(task, sight, now)
    for key, amount in oracle.numbers.items():
        sight = looked[-1][0]
        call = sight.call
        ended = None if call is None else call.end
        if call is not None and ended is None and call.start is not None:
            ended = call.start + (call.duration or 0.0)
        if amount and key[0] in FAMILIES:
            yield Event(agent, key, amount, sight.created if key[0] == "tasks_created" else ended)


def sums(events: list[Event], until: float | None = None) -> Counter[tuple[str, Key]]:
    """By agent and key what had happened by then, or at no time that is told; None: all."""
    found: Counter[tuple[str, Key]] = Counter()
    for event in events:
        if until is None or event.at is None or event.at <= until:
            found[(event.agent, event.key)] += event.amount
    return found


def named(agent: str, key: Key) -> tuple[str, Labels]:
    """The metric of a key, and its labels as Prometheus tells them."""
    labels = {"agent": agent, **dict(zip(LABELS[key[0]], key[1:], strict=True))}
    return FAMILIES[key[0]], tuple(sorted(labels.items()))


async def values(asked: Prometheus, at: float | None = None) -> dict[tuple[str, Labels], float]:
    """What Prometheus knows of the counters at a time; None: now."""
    modifier = "" if at is None else f" @ {at}"
    return {
        (metric, tuple(label for label in labels if label[0] != "__name__")): value
        for metric in FAMILIES.values()
        for labels, value in (await asked.asks(f"{metric}{modifier}")).items()
    }


def scaled(metric: str, amount: int) -> float:
    return amount / 1e9 if "dollars" in metric else amount


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    begin = time.time() - AHEAD
    world = World(seed=11, now=begin, agents=PROFILES, history=DAYS * 24.0)
    async with platform(world=world) as made:
        made.clock.now = begin
        written(folder, made.settings())
        await imported(folder)
        seam = time.time()
        async with exporting(folder, made.settings()) as process, scraping(folder, await process.url()) as running:
            yield Stage(running, made, seam)


@asynccontextmanager
async def scraping(folder: Path, url: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that keeps what is a year old, and has scraped the exporter."""
    static = {"targets": [url.removeprefix("http://")], "labels": {"instance": INSTANCE}}
    config = {"scrape_configs": [{"job_name": "unpod", "static_configs": [static]}]}
    async with prometheus(folder, config, "--storage.tsdb.retention.time=1y") as running:
        await running.until("up", 1)
        await running.until("sum(unpod_agent_history_complete)", len(PROFILES))
        await running.scraped()
        yield running


async def imported(folder: Path) -> None:
    """The past is written, and what promtool makes of the files is the past of Prometheus."""
    labels = ("--label", "job=unpod", "--label", f"instance={INSTANCE}", "--state.path", "state.db")
    told = await ran(folder, "backfill", *labels, "--step", STEP, "--block-duration", "162h", "-o", "past.om")
    assert told.code == 0, told.err
    for file in sorted(folder.glob("past-*.om")):  # noqa: ASYNC240 - a handful of names
        await promtool("openmetrics", "--quiet", "--max-block-duration=162h", str(file), str(folder / "tsdb"))


async def promtool(*words: str) -> None:
    """Makes blocks."""
    process = await asyncio.create_subprocess_exec(
        *("promtool", "tsdb", "create-blocks-from", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_the_past_and_what_follows_it_are_one(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        asked, made, seam = stage
        begin = made.clock.now
        past = truth(made, (begin, seam))

        # Before the seam: at every midnight, what had happened by then.
        begins = {}
        for midnight in (seam // DAY * DAY - days * DAY for days in range(DAYS - 1)):
            found = await values(asked, midnight)
            for (agent, key), amount in sums(past, midnight).items():
                metric, labels = named(agent, key)
                if (metric, labels) in found:
                    assert found[(metric, labels)] == pytest.approx(scaled(metric, amount), rel=1e-12), midnight
                else:
                    assert not any(
                        event.at is not None and event.at <= midnight
                        for event in past
                        if (event.agent, event.key) == (agent, key)
                    )
                begins[(metric, labels)] = midnight
        assert len(begins) > 25

        # After it: what has happened since is counted on.
        made.clock.now = begin + AHEAD - 60.0
        made.world.advance(made.clock.now)
        whole = sums(truth(made, (begin, seam), (made.clock.now, time.time())))
        assert sum(whole.values()) > sum(sums(past).values())
        for (agent, key), amount in whole.items():
            metric, labels = named(agent, key)
            inside = ",".join(f'{name}="{value}"' for name, value in labels)
            await asked.until(f"{metric}{{{inside}}}", scaled(metric, amount))

        # Across it: no value falls, and the increase over all of it is what happened at a known time.
        await no_value_falls(asked)
        for metric in FAMILIES.values():
            expected = sum(scaled(metric, amount) for (a, key), amount in whole.items() if named(a, key)[0] == metric)
            timeless = sum(
                scaled(metric, event.amount)
                for event in past
                if event.at is None and named(event.agent, event.key)[0] == metric
            )
            increase = await asked.number(f"sum(increase({metric}[{DAYS + 1}d]))")
            assert increase == pytest.approx(expected - timeless, rel=0.002), metric
        before = (seam - DAY) // 600 * 600
        yesterday, then, now = sums(past, before), await values(asked, before), await values(asked)
        spanning = [(one, amount) for one, amount in whole.items() if named(*one) in then]
        assert len(spanning) > 25
        for one, amount in spanning:
            series = named(*one)
            happened = scaled(series[0], amount - yesterday[one])
            assert now[series] - then[series] == pytest.approx(happened, abs=1e-6), series
        for metric in ("unpod_calls_total", "unpod_tasks_created_total"):
            happened = sum(amount - yesterday[one] for one, amount in spanning if named(*one)[0] == metric)
            increase = await asked.number(f"sum(increase({metric}[{time.time() - before:.0f}s]))")
            assert increase == pytest.approx(happened, rel=0.05), metric

        await _dashboards_show_the_past(asked, seam)
        await _rules_have_a_past(asked, tmp_path, seam)


async def test_a_past_that_is_written_later_leads_up_to_what_was_scraped_first(tmp_path: Path) -> None:
    begin = time.time() - AHEAD
    async with platform(world=World(seed=12, now=begin, agents=PROFILES, history=240.0)) as made:
        made.clock.now = begin
        async with exporting(tmp_path, made.settings()) as process:
            async with scraping(tmp_path, await process.url()) as running:
                begun, first = time.time(), await values(running)
            made.clock.now += AHEAD - 60.0
            await process.polled(2)
            await imported(tmp_path)
            async with scraping(tmp_path, await process.url()) as asked:
                assert await values(asked) != first
                await no_value_falls(asked)
                ends = (begun - 6 * SETTLING) // 600 * 600 - 600
                then = await values(asked, ends)
                assert len(then) > 25
                assert [series for series, value in then.items() if value > first[series]] == []
                past = [one for one in truth(made, (begin, begun)) if one.at is not None and one.at <= ends]
                for metric in ("unpod_calls_total", "unpod_tasks_created_total"):
                    happened = sum(one.amount for one in past if named(one.agent, one.key)[0] == metric)
                    increase = await asked.number(f"sum(increase({metric}[{DAYS}d] @ {begun}))")
                    assert increase == pytest.approx(happened, rel=0.01), metric


async def no_value_falls(asked: Prometheus) -> None:
    """No counter of all that have a past ever begins anew."""
    names = [name for name in await asked.api("label/__name__/values") if re.fullmatch(COUNTED, name)]
    assert len(names) > 20
    for name in names:
        assert await asked.number(f"max(resets({name}[{DAYS + 1}d]))") == 0, name


async def _dashboards_show_the_past(asked: Prometheus, seam: float) -> None:
    """Every panel whose families have a past is filled, day by day."""
    told = set(re.findall(r"\| `(\w+)` \| \w+ \| when ", _documented()))
    shown, empty = [], []
    for board in ("unpod-fleet.json", "unpod-agent.json"):
        for title, query in _queries(json.loads((DASHBOARDS / board).read_text(encoding="utf-8"))):
            families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"unpod_\w+", query)}
            if families and families <= told:
                found = await asked.ranges(query, seam - 30 * DAY, seam - DAY, DAY)
                points = sum(len(series["values"]) for series in found)
                (shown if points > 14 else empty).append(title)
    assert empty == []
    assert {"Calls per hour by status", "Duration of calls", "Outcomes per hour", "Cost per hour of each agent"} <= {
        *shown
    }


async def _rules_have_a_past(asked: Prometheus, folder: Path, seam: float) -> None:
    """What promtool makes of the recording rules and the past."""
    # It ends at the first of its two hours in which nothing is evaluated, so it should begin with two whole ones.
    begin = (seam - 2 * DAY) // 7_200 * 7_200
    span = ("--start", f"{begin:.0f}", "--end", f"{begin + DAY / 4:.0f}", "--eval-interval", "30m")
    await promtool("rules", *span, "--url", asked.url, "--output-dir", str(folder / "rules"), str(RULES))
    # It dumps no folder of blocks alone.
    (folder / "rules" / "wal").mkdir()
    found = await asyncio.create_subprocess_exec(
        *("promtool", "tsdb", "dump", str(folder / "rules")), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await found.communicate()
    assert b'__name__="agent_call:unpod_calls:increase1h"' in said


def _documented() -> str:
    return (Path(__file__).parents[2] / "docs" / "backfill.md").read_text(encoding="utf-8")


def _queries(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The titles and queries of all panels, as Grafana asks them for thirty days."""
    for panel in board["panels"]:
        yield from _queries(panel) if "panels" in panel else ()
        for target in panel.get("targets", ()):
            query = re.sub(r'"\$(job|instance|agent)"', '".+"', target["expr"])
            query = query.replace("$__rate_interval", "1d").replace("$__range", "30d")
            yield panel["title"], query
