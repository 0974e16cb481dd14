"""What the shipped recording rules make of counters whose agents move, held against the truth.

Where Prometheus has one series of each agent, as docs/replicas.md has it, nothing that happened is missing, however
often the agent has moved, and nothing is in it twice. Where each replica has its own, the largest part is what remains.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from tests.replicas.stage import AS_ONE, EVALUATION, SCRAPE, SCRAPED, Seen, Stage
from tests.service.running import until

INCREASES: Final = {
    "agent_call:unpod_calls:increase1h": "unpod_calls_total",
    "agent_status:unpod_task_transitions:increase1h": "unpod_task_transitions_total",
    "agent:unpod_task_retries:increase1h": "unpod_task_retries_total",
}
WINDOW: Final = 3600.0
EXTRAPOLATED: Final = 2.2
"""Intervals between two samples by which ``increase()`` stretches a series, at most: 1.1 at each end. Before the first
sample of a series that began within the window it is so much only where the counter comes to 0 there (1, 2 becomes 2.8
after 1.8 intervals), else half of one."""
LATE: Final = 10 * EVALUATION
"""Seconds for which what is told of a rule may be from before, on a slow machine."""

Bounds: TypeAlias = tuple[float, float]


async def increases_are_true(stage: Stage) -> None:
    """Every increase of the last hour is what has happened since an agent was first scraped."""
    for rule, family in INCREASES.items():
        await _comes_true(stage, rule, AS_ONE, _of_each(await _all_scraped(stage, family), grown))
        await _comes_true(stage, rule, SCRAPED, _of_each(await stage.scraped(family, SCRAPED), largest_part))


async def increases_were_never_too_high(stage: Stage, rule: str = next(iter(INCREASES))) -> None:
    """At no moment was anything in an increase twice, and at none was there no increase."""
    found = await stage.scraped(INCREASES[rule], AS_ONE)
    end = max(one.at for kinds in found.values() for seen in kinds.values() for one in seen)
    query = f'sum by (agent) ({rule}{{job="{AS_ONE}"}})'
    for series in await stage.prometheus.ranges(query, max(stage.begun, end - WINDOW), end, SCRAPE):
        agent = series["metric"]["agent"]
        told = [(float(at), float(value)) for at, value in series["values"]]
        assert all(after - before <= SCRAPE for (before, _), (after, _) in pairwise(told)), f"{agent}: {rule} was away"
        for at, value in told:
            most = sum(grown_until(seen, at) for seen in found[agent].values())
            until_then = {kind: [one for one in seen if one.at <= at] for kind, seen in found[agent].items()}
            assert value <= most * (1 + 1e-9), f"{agent}: {rule} was {value} at {at}, {most} at most of {until_then}"


async def _all_scraped(stage: Stage, family: str) -> dict[str, dict[str, list[Seen]]]:
    """The samples of a family, once the last ones are what has happened."""
    found: dict[str, dict[str, list[Seen]]] = {}

    async def is_all() -> bool:
        nonlocal found
        await asyncio.sleep(SCRAPE)
        found = await stage.scraped(family, AS_ONE)
        last = {agent: sum(seen[-1].value for seen in kinds.values()) for agent, kinds in found.items()}
        return last == {agent: stage.happened(agent, family) for agent in stage.made.world.handles}

    await until(is_all)
    return found


def grown(seen: Sequence[Seen]) -> Bounds:
    """By how much a series has grown, and the most that ``increase()`` makes of that."""
    change = seen[-1].value - seen[0].value
    return change, change * (1 + EXTRAPOLATED / max(1, len(seen) - 1))


def grown_until(seen: Sequence[Seen], at: float) -> float:
    """The most that ``increase()`` makes of what a series had grown by at some moment."""
    known = seen[: bisect_right(seen, at, key=lambda one: one.at)]
    certain = bisect_right(seen, at - LATE, key=lambda one: one.at)
    return (known[-1].value - known[0].value) * (1 + EXTRAPOLATED / max(1, certain - 1)) if known else 0.0


def largest_part(seen: Sequence[Seen]) -> Bounds:
    """By how much the series of a replica has grown, and the most that ``increase()`` makes of that: each as it is
    where it is largest."""
    parts: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        parts[one.instance].append(one)
    least, most = zip(*map(grown, parts.values()), strict=True)
    return max(least), max(most)


def _of_each(
    found: Mapping[str, Mapping[str, Sequence[Seen]]], bounds: Callable[[Sequence[Seen]], Bounds]
) -> dict[str, Bounds]:
    """Of each agent, the sums over the last hour of its series."""
    told = {}
    for agent, kinds in found.items():
        begin = max(seen[-1].at for seen in kinds.values()) - WINDOW
        recent = [[one for one in seen if one.at > begin] for seen in kinds.values()]
        least, most = zip(*(bounds(seen) for seen in recent if seen), strict=True)
        told[agent] = sum(least), sum(most)
    return told


async def _comes_true(stage: Stage, rule: str, job: str, bounds: Mapping[str, Bounds]) -> None:
    wrong: dict[str, tuple[float | None, Bounds]] = {}

    async def is_true() -> bool:
        nonlocal wrong
        asked = await stage.prometheus.asks(f'sum by (agent) ({rule}{{job="{job}"}})')
        told = {dict(labels)["agent"]: value for labels, value in asked.items()}
        wrong = {
            agent: (told.get(agent), (least, most))
            for agent, (least, most) in bounds.items()
            if not least * (1 - 1e-9) <= told.get(agent, -1.0) <= most * (1 + 1e-9)
        }
        return not wrong

    try:
        await until(is_true)
    except AssertionError:
        raise AssertionError(f"{rule} of {job}, found and wanted: {wrong}") from None
