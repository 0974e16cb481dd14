"""The history as the exporter reads and counts it, and where the past of each agent ends."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from exporter.exposition import catalog
from exporter.past.annals import Annals
from exporter.past.reading import Books, Historian
from exporter.past.seam import Seam
from exporter.past.writer import Span, Writer
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import Book
from exporter.tracking.tallies import Key, pack, unpack
from exporter.unpod import errors
from exporter.unpod.facts import Agent, Task
from tests.past.test_writer import Samples, Texts, all_of, shown
from tests.tracking.platform import RULES, Shelf, Time
from tests.tracking.stories import START, ended, stub, task
from tests.truth.harness import Notes

STEP = 600
DAY = 86_400.0
DOWN = errors.ServerError("HTTP 502", status=502)
COMPLETED = ("unpod_calls_total", (("call_status", "completed"), ("direction", "outbound")))
NOT_CONNECTED = ("unpod_calls_total", (("call_status", "not_connected"), ("direction", "unknown")))
SETTLED = START - 10 * DAY
"""Long before anything is read."""


def calls(count: int, *, begin: float = SETTLED, apart: float = 3_600.0) -> list[Task]:
    """Tasks with one call each, newest first."""
    return [
        task(
            "completed",
            ended(f"C{begin}/{place}", start=begin + place * apart, cost=0.5),
            id=f"T{begin}/{place}",
            created=begin + place * apart - 60,
        )
        for place in reversed(range(count))
    ]


@dataclass
class Study:
    """A historian at work on one agent."""

    annals: Annals
    storage: SqliteStorage
    books: Books | None = None
    rules: Rules = RULES
    shelf: Shelf = field(default_factory=Shelf)
    time: Time = field(default_factory=Time)
    log: Notes = field(default_factory=Notes)
    heals: bool = True
    """What fails works again after a while."""

    async def read(self, *tasks: Task) -> Seam | None:
        self.shelf.agents["sales"] = list(tasks)
        historian = Historian(
            self.shelf,
            self.storage,
            self.rules,
            self.annals,
            books=self.books,
            step=STEP,
            log=self.log,
            now=self.time,
            elapsed=self.time,
            sleep=self._sleep,
            progressed=lambda agent, ratio: None,
        )
        return await historian.read(Agent(handle="sales"))

    async def _sleep(self, seconds: float) -> None:
        self.time.now += seconds
        if self.heals:
            self.shelf.fails_at = {}

    def written(self, seam: Seam | None) -> Samples:
        assert seam is not None
        output = Texts()
        Writer(self.annals, {"sales": seam}, Span(step=STEP)).write(output)
        return all_of(output.texts)

    async def numbers(self) -> dict[Key, int]:
        loaded = await self.storage.load("sales")
        assert loaded is not None
        return loaded.numbers


@asynccontextmanager
async def study(folder: Path, books: Books | None = None, rules: Rules = RULES) -> AsyncIterator[Study]:
    annals = Annals(folder / "annals.db", catalog.families(catalog.Settings()))
    storage = await SqliteStorage.open(None)
    try:
        yield Study(annals, storage, books, rules)
    finally:
        await storage.close()
        annals.close()


def opening(since: float, numbers: dict[Key, int], **changes: object) -> Books:
    """The state of an exporter that showed these numbers first."""
    book = Book(since=since, count_from=0.0, complete=True, bounds=RULES.limits.buckets, opening=pack(numbers))
    return {"sales": msgspec.structs.replace(book, **changes)}


# Where there is no state yet


async def test_the_past_ends_with_the_numbers_from_which_the_exporter_goes_on(tmp_path: Path) -> None:
    async with study(tmp_path) as made:
        seam = await made.read(*calls(30), task("completed", stub(), id="timeless", created=None))
        found = made.written(seam)
        expected = shown(await made.numbers())
        assert {key: values[-1][1] for key, values in found.items()} == {key: expected[key] for key in found}
        assert seam == Seam(end=made.time.now)
        assert found[COMPLETED][-1] == (made.time.now, 30)


async def test_events_that_are_told_no_time_hold_from_the_beginning_or_are_left_out(tmp_path: Path) -> None:
    async with study(tmp_path) as made:
        timeless = [task("completed", stub(), id=f"timeless {place}", created=SETTLED) for place in range(3)]
        once = task("completed", stub(), id="once", created=SETTLED)
        once = msgspec.structs.replace(
            once, call=msgspec.structs.replace(stub(), start=SETTLED + DAY, direction="unknown")
        )
        found = made.written(await made.read(once, *timeless))
        assert [value for _, value in found[NOT_CONNECTED]][:2] == [3, 4]
        assert not any(name.startswith("unpod_task_transitions") for name, _ in found)


async def test_a_reading_that_fails_goes_on_and_counts_nothing_twice(tmp_path: Path) -> None:
    rules = msgspec.structs.replace(RULES, page_size=5)
    async with study(tmp_path, rules=rules) as made:
        made.shelf.fails_at = {3: DOWN, 5: DOWN}
        found = made.written(await made.read(*calls(30)))
        assert found[COMPLETED][-1][1] == 30
        assert made.log.told("reading failed")


async def test_an_agent_that_cannot_be_read_is_given_up(tmp_path: Path) -> None:
    async with study(tmp_path) as made:
        made.shelf.fails_at = {1: errors.NotFound("HTTP 404", status=404)}
        assert await made.read(*calls(3)) is None
        assert [event["reason"] for event in made.log.told("history not read")] == ["not_found"]


async def test_an_agent_whose_reading_comes_no_further_is_given_up(tmp_path: Path) -> None:
    async with study(tmp_path) as made:
        made.shelf.fails_at, made.heals = {1: DOWN}, False
        assert await made.read(*calls(3)) is None
        assert len(made.log.told("reading failed")) == 9


# Beside an exporter


async def test_the_past_leads_up_to_what_the_exporter_showed_first(tmp_path: Path) -> None:
    since = START - 2 * DAY
    first = {("calls", "outbound", "completed"): 12, ("call_cost_dollars",): 6_000_000_000}
    async with study(tmp_path, opening(since, first)) as made:
        before, later = calls(10), calls(5, begin=since + 3_600)
        seam = await made.read(*later, *before)
        assert seam is not None
        assert seam.end <= since - 6 * RULES.settling_time
        found = made.written(seam)
        assert found[COMPLETED][0][1] == 2, "two of twelve are no longer shown"
        assert found[COMPLETED][-1] == (seam.end, 12)
        assert found[("unpod_call_cost_dollars_total", ())][-1] == (seam.end, 6.0)


async def test_calls_that_may_have_been_counted_after_the_first_numbers_are_told_no_time(tmp_path: Path) -> None:
    since = START - 2 * DAY
    async with study(tmp_path, opening(since, {("calls", "outbound", "completed"): 10})) as made:
        seam = await made.read(*calls(1, begin=since - 600), *calls(10))
        found = made.written(seam)
        assert found[COMPLETED][0][1] == 0
        assert found[COMPLETED][-1][1] == 10


async def test_only_tasks_that_the_exporter_counted_are_in_the_past(tmp_path: Path) -> None:
    since = START - 2 * DAY
    count_from = SETTLED + 4.5 * 3_600.0
    books = opening(since, {("calls", "outbound", "completed"): 5}, count_from=count_from)
    async with study(tmp_path, books) as made:
        found = made.written(await made.read(*calls(10)))
        assert [found[COMPLETED][0][1], found[COMPLETED][-1][1]] == [0, 5]
        assert found[COMPLETED][0][0] >= count_from - STEP


async def test_an_exporter_that_began_at_0_has_the_whole_past_before_it(tmp_path: Path) -> None:
    books = opening(START - 2 * DAY, {}, count_from=None)
    async with study(tmp_path, books) as made:
        seam = await made.read(*calls(10))
        assert seam is not None
        assert seam.anew
        assert made.written(seam)[COMPLETED][-1][1] == 10


@pytest.mark.parametrize("books", [{}, opening(START, {}, opening=b"")])
async def test_an_agent_that_the_exporter_has_not_shown_yet_is_left_out(tmp_path: Path, books: Books) -> None:
    async with study(tmp_path, books) as made:
        assert await made.read(*calls(3)) is None
        assert made.shelf.asked == 0
        assert len(made.log.told("agent left out")) == 1


async def test_families_that_have_begun_anew_since_are_left_out(tmp_path: Path) -> None:
    first = {("calls", "outbound", "completed"): 10, ("call_duration_seconds", "outbound", "30.0"): 10}
    other = {**RULES.limits.buckets, "call_duration_seconds": (1.0, 2.0)}
    async with study(tmp_path, opening(START - 2 * DAY, first, bounds=other)) as made:
        found = made.written(await made.read(*calls(10)))
        assert COMPLETED in found
        assert not any(name.startswith("unpod_call_duration") for name, _ in found)
        assert [event["families"] for event in made.log.told("families left out")] == ["call_duration_seconds"]


async def test_what_the_exporter_showed_first_is_what_a_reading_of_then_counted(tmp_path: Path) -> None:
    """The first numbers of one exporter, and the past that is written of it a week later, agree."""
    async with study(tmp_path) as first:
        await first.read(*calls(10))
        loaded = await first.storage.load("sales")
    assert loaded is not None
    assert unpack(loaded.book.opening)[("calls", "outbound", "completed")] == 10
    folder = tmp_path / "later"
    folder.mkdir()
    async with study(folder, {"sales": loaded.book}) as later:
        later.time.now = START + 7 * DAY
        seam = await later.read(*calls(24 * 7, begin=START), *calls(10))
        found = later.written(seam)
        assert [found[COMPLETED][0][1], found[COMPLETED][-1][1]] == [0, 10]
        assert math.isclose(found[COMPLETED][-1][0], START - 6 * RULES.settling_time, abs_tol=STEP)
