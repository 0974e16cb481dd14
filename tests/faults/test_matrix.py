"""Every fault of the table: what the metrics show, that no number is wrong, that it heals by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from exporter.tracking.report import Counter, Gauge
from tests.faults import docs
from tests.faults.fleets import poll_all, read_once, shown_by
from tests.faults.matrix import ROWS, Row
from tests.proxy import proxied
from tests.truth.harness import Bench, Database

PATIENCE = 0.5
"""Seconds after which a request is given up: two of the faults last as long."""


def is_patient(row: Row) -> float:
    return PATIENCE if row.reason == "timeout" else 30.0


def health(made: Bench, handle: str) -> dict[str, object]:
    """What the metrics tell of an agent's polls."""
    families = made.report(handle).families
    failures = families["agent_poll_failures"]
    up = families.get("agent_up")
    assert isinstance(failures, Counter)
    assert isinstance(up, Gauge | None)
    return {"up": up and up.values[()], "failures": {labels[0] for labels in failures.values}}


@pytest.fixture
def home(request: pytest.FixtureRequest, row: Row) -> Iterator[Path | Database]:
    """Where the state is that a row wants: in a folder that every user may enter, or in a database."""
    if row.database:
        yield Database(request.getfixturevalue("database"), request.getfixturevalue("postgres_server"))
    else:
        with TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)


@asynccontextmanager
async def stood(home: Path | Database, row: Row, *, polls: int = 3) -> AsyncIterator[Bench]:
    """A fleet that was polled so many times, and is about to meet the fault."""
    async with AsyncExitStack() as stack:
        if isinstance(home, Database):
            proxy = await stack.enter_async_context(proxied(home.server.port))
            home = Database(proxy.url(home.url), home.server, proxy)
        yield await stack.enter_async_context(read_once(home, polls=polls, patience=is_patient(row)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fleet_that_was_read_meets_the_fault(home: Path | Database, row: Row) -> None:
    async with stood(home, row) as made:
        made.clock.now += 60
        before, fresh = shown_by(made), {one: made.report(one).fresh_until for one in made.world.handles}
        async with row.begins(made):
            for handle in made.world.handles:
                outcome = await made.poll(handle)
                assert outcome.reason == row.reason, outcome.error
                assert row.reason is None or made.requests(handle) <= row.requests
                assert health(made, handle) == {
                    "up": int(row.reason is None),
                    "failures": {row.reason} - {None},
                }
                made.check(handle, apart=row.apart)
                if row.reason:
                    assert made.report(handle).fresh_until == fresh[handle], "it grows stale"
            assert row.reason is None or shown_by(made) == before
        for _ in range(2):
            made.clock.now += 120
            await poll_all(made, apart=row.apart)
            assert all(health(made, handle)["up"] == 1 for handle in made.world.handles)
        await made.stop()
        await made.start()
        for handle in made.world.handles:
            made.check(handle, apart=row.apart)


@pytest.mark.parametrize("row", [row for row in ROWS if row.first], ids=lambda row: row.name)
async def test_a_first_reading_meets_the_fault(home: Path | Database, row: Row) -> None:
    async with stood(home, row, polls=0) as made:
        async with row.begins(made):
            for handle in made.world.handles:
                outcome = await made.poll(handle)
                assert outcome.reason == row.reason, outcome.error
                made.check(handle)
        for _ in range(2):
            made.clock.now += 120
            await poll_all(made)


@pytest.mark.parametrize("row", [row for row in ROWS if row.first and row.reason], ids=lambda row: row.name)
async def test_a_first_reading_meets_the_fault_halfway(home: Path | Database, row: Row) -> None:
    """From its third page on; what was read before is not lost, and nothing of it is counted again."""
    async with stood(home, row, polls=0) as made:
        handle = made.world.handles[0]
        fault = row.begins(made)

        async def begins(request: int) -> None:
            if request == 3:
                await fault.__aenter__()

        made.before = begins
        outcome = await made.poll(handle)
        assert outcome.reason == row.reason, outcome.error
        made.check(handle)
        await fault.__aexit__(None, None, None)

        async def nothing(request: int) -> None:
            """Leaves the poll alone."""

        made.before = nothing
        for _ in range(2):
            made.clock.now += 120
            await poll_all(made)


def test_the_page_of_faults_is_what_the_table_says() -> None:
    page = docs.PAGE.read_text(encoding="utf-8")
    assert docs.renewed(page) == page, "make docs"
