"""`backfill`: the past of all agents in a file, and a state from which the exporter goes on."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.tracking.files import locked
from tests.service.running import (
    SALES,
    SUPPORT,
    Platform,
    Ran,
    exporting,
    kept,
    logfmt,
    platform,
    ran,
    samples,
    started,
    states,
    written,
)

LABELS = ("--label", "job=unpod", "--label", "instance=exporter:10130")
ADDED = ',job="unpod",instance="exporter:10130"'
CLOSED = msgspec.structs.replace(SUPPORT, handle="closed", no_access=True)


async def backfill(
    folder: Path,
    made: Platform,
    *flags: str,
    output: str = "past.om",
    labels: tuple[str, ...] = LABELS,
    **sections: Any,
) -> Ran:
    written(folder, made.settings(**sections))
    # A year lies between the time of the platform and now.
    words = ("--state.path", "state.db", *labels, "--step", "12h", "-o", output, *flags)
    return await ran(folder, "backfill", *words)


def lasts(text: str) -> dict[str, float]:
    """The last value of each series, as the exporter would name it."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, value, _ = line.rsplit(" ", 2)
            found[series.replace(ADDED, "")] = float(value)
    return found


def texts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.om*"))


def suffixes(folder: Path) -> set[str]:
    return {path.suffix for path in folder.iterdir()}


def times(text: str) -> set[float]:
    return {float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}


def events(told: Ran, name: str) -> list[dict[str, str]]:
    return [event for event in map(logfmt, told.err.splitlines()) if event["msg"] == name]


def differing(past: Mapping[str, float], shown: Mapping[str, float]) -> dict[str, tuple[float, float | None]]:
    return {series: (value, shown.get(series)) for series, value in past.items() if shown.get(series) != value}


# Where there is no state yet


async def test_the_exporter_begins_with_the_very_numbers_with_which_the_past_ends(tmp_path: Path) -> None:
    async with platform() as made:
        told = await backfill(tmp_path, made)
        assert told.code == 0, told.err
        past = lasts((tmp_path / "past.om").read_text())
        assert past
        async with exporting(tmp_path, made.settings()) as process:
            shown = await process.ready()
        assert not events(told, "agent left out")
        assert differing(past, kept(shown)) == {}
    (event,) = events(told, "past written")
    assert (event["agents"], event["file"]) == ("2", "past.om")


async def test_nothing_else_is_left_in_the_folders(tmp_path: Path) -> None:
    async with platform() as made:
        await backfill(tmp_path, made)
    assert states(tmp_path) == ["state.db", "state.db.lock"]
    assert suffixes(tmp_path) == {".yaml", ".om", ".db", ".lock", ".out", ".err"}


async def test_the_past_goes_to_standard_output_too(tmp_path: Path) -> None:
    async with platform() as made:
        told = await backfill(tmp_path, made, output="-")
    assert told.code == 0
    assert told.out.startswith("# HELP unpod_tasks_created ")
    assert told.out.endswith("\n# EOF\n")


async def test_only_the_span_that_is_asked_for_is_written(tmp_path: Path) -> None:
    begin, end = 1_763_994_000, 1_763_998_200
    span = ("--from", "2025-11-24T14:20:00Z", "--to", "2025-11-24T15:30:00", "--step", "5m")
    async with platform() as made:
        told = await backfill(tmp_path, made, *span)
    assert told.code == 0, told.err
    assert times((tmp_path / "past.om").read_text()) == set(range(begin, end + 1, 300))


async def test_a_file_for_each_block(tmp_path: Path) -> None:
    async with platform(history=5.0) as made:
        told = await backfill(tmp_path, made, "--block-duration", "2h", "--step", "5m", "--to", "2025-11-24T16:30:00")
        assert told.code == 0, told.err
    files = texts(tmp_path)
    assert all(re.fullmatch(r"past-\d{8}T\d{4}\.om", file.name) for file in files)
    blocks = [{time // 7_200 for time in times(file.read_text())} for file in files]
    assert len(files) > 2
    assert all(len(found) == 1 for found in blocks)
    assert all(file.read_text().endswith("# EOF\n") for file in files)


async def test_an_agent_that_cannot_be_read_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        told = await backfill(tmp_path, made)
        assert told.code == 1
        assert [event["agent"] for event in events(told, "history not read")] == ["closed"]
        agents = set(re.findall(r'agent="([^"]+)"', (tmp_path / "past.om").read_text()))
        assert agents == {SALES.handle}
        assert "state.db" in states(tmp_path)


async def test_one_agent_alone(tmp_path: Path) -> None:
    async with platform() as made:
        told = await backfill(tmp_path, made, "--agent", SUPPORT.handle)
    assert told.code == 0
    assert set(re.findall(r'agent="([^"]+)"', (tmp_path / "past.om").read_text())) == {SUPPORT.handle}


async def test_where_no_agent_can_be_read_nothing_is_written(tmp_path: Path) -> None:
    async with platform(CLOSED) as made:
        told = await backfill(tmp_path, made)
    assert told.code == 1
    assert "there is no agent whose past could be written" in told.err.splitlines()[-1]
    assert not texts(tmp_path)
    assert states(tmp_path) == ["state.db.lock"]


async def test_a_file_that_cannot_be_written_leaves_no_state_behind(tmp_path: Path) -> None:
    async with platform() as made:
        told = await backfill(tmp_path, made, output="x" * 254)
    assert told.code == 1
    assert "File name too long" in told.err.splitlines()[-1]
    assert states(tmp_path) == ["state.db.lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_who_stops_it_finds_nothing_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    # A shell without job control has what it starts in the background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        async with platform() as made:
            made.fails("black_hole", agent=SALES.handle)
            written(tmp_path, made.settings())
            words = ("backfill", "--state.path", "state.db", *LABELS, "-o", "past.om")
            async with started(tmp_path, *words) as process:
                await process.until(lambda: process.events("history read"))
                assert len(states(tmp_path)) == 2
                ended = await process.stop(number)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.code == 1
    assert states(tmp_path) == ["state.db.lock"]
    assert not texts(tmp_path)


# Beside an exporter


async def test_the_past_is_written_while_the_exporter_runs_and_leads_up_to_its_first_numbers(tmp_path: Path) -> None:
    async with platform() as made:
        async with exporting(tmp_path, made.settings()) as process:
            first = kept(await process.ready())
            made.clock.now += 1_800
            await process.polled(2)
            assert kept(await process.numbers()) != first
            told = await backfill(tmp_path, made)
            assert told.code == 0, told.err
            assert process.alive
        assert differing(lasts((tmp_path / "past.om").read_text()), first) == {}


async def test_agents_that_the_exporter_has_not_shown_yet_are_left_out(tmp_path: Path) -> None:
    async with platform() as made:
        await backfill(tmp_path, made, "--agent", SALES.handle)
        told = await backfill(tmp_path, made)
        assert told.code == 1
        assert [event["agent"] for event in events(told, "agent left out")] == [SUPPORT.handle]


async def test_the_first_numbers_may_be_in_postgresql(tmp_path: Path, database: str) -> None:
    async with platform() as made:
        written(tmp_path, made.settings(state={"url": database}))
        first = kept(samples((await ran(tmp_path, "once")).out))
        told = await ran(tmp_path, "backfill", *LABELS, "--step", "12h", "-o", "past.om")
        assert told.code == 0, told.err
    assert differing(lasts((tmp_path / "past.om").read_text()), first) == {}
    assert first


async def test_what_was_read_is_a_state_that_can_be_moved_to_postgresql(tmp_path: Path, database: str) -> None:
    async with platform() as made:
        await backfill(tmp_path, made, state={"url": database})
        past = lasts((tmp_path / "past.om").read_text())
        for words in (("export", "--state.path", "state.db"), ("import", "--state.url", database)):
            told = await ran(tmp_path, "state", *words, "state.jsonl")
            assert told.code == 0, told.err
        shown = kept(samples((await ran(tmp_path, "once")).out))
    assert differing(past, shown) == {}
    assert past


# What is wrong is said


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--label", "job=unpod"), "--label instance=... is missing"),
        ((*LABELS, "--label", "agent=sales"), "--label agent=...: not a name that Prometheus can add"),
        ((*LABELS, "--label", "le=1"), "--label le=...: not a name"),
        ((*LABELS, "--label", "job=again"), "--label job=...: not a name that Prometheus can add, or given before"),
        ((*LABELS, "--label", "__x=1"), "--label __x=...: not a name"),
        ((*LABELS, "--label", "cluster"), "'cluster' is no label; write for example job=unpod"),
        ((*LABELS, "--from", "yesterday"), "'yesterday' is no time; write for example 2026-05-01"),
        ((*LABELS, "--from", "1d", "--to", "2d"), "--from must be before --to"),
        ((*LABELS, "--step", "500ms"), "--step must be of whole seconds"),
        ((*LABELS, "--block-duration", "3h"), "'3h' is not one of '2h', '6h'"),
        ((*LABELS, "--block-duration", "2h", "-o", "-"), "--block-duration writes several files"),
        ((*LABELS, "-o", "/dev/null"), "is no regular file"),
        ((*LABELS, "-o", "nowhere/past.om"), "there is no folder nowhere"),
        ((*LABELS, "-o", "x" * 300), "--output: File name too long"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
async def test_flags_that_cannot_be(tmp_path: Path, flags: tuple[str, ...], complaint: str) -> None:
    told = await ran(tmp_path, "backfill", "-o", "past.om", *flags)
    assert told.code == 2
    assert complaint in told.err
    assert not texts(tmp_path)


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"polling": {"backfill": "none"}}, "polling.backfill is none: counters that begin at 0 have no past"),
        ({"state": {"path": "memory"}}, "state.path is memory: each start begins anew"),
    ],
)
async def test_settings_with_which_there_is_no_past(tmp_path: Path, sections: Any, complaint: str) -> None:
    async with platform() as made:
        written(tmp_path, made.settings(**sections))
        told = await ran(tmp_path, "backfill", *LABELS, "-o", "past.om")
    assert told.code == 1
    assert complaint in logfmt(told.complaint)["error"]


async def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("a letter")
    async with platform() as made:
        told = await backfill(tmp_path, made)
    assert told.code == 1
    assert "is no state of this exporter" in logfmt(told.complaint)["error"]
    assert (tmp_path / "state.db").read_text() == "a letter"


async def test_an_exporter_that_is_about_to_begin_the_same_state_is_told(tmp_path: Path) -> None:
    held = locked(tmp_path / "state.db", "state.db")
    try:
        async with platform() as made:
            told = await backfill(tmp_path, made)
    finally:
        held.close()
    assert told.code == 1
    assert "is in use by another exporter" in logfmt(told.complaint)["error"]
    assert not texts(tmp_path)
