"""SIGKILL just before and just after every single commit: afterwards every number is exactly what the truth says."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults import killed
from tests.postgres import Server
from tests.service.running import SALES, Platform, platform, states, surroundings, written
from tests.service.test_killing import numbers_of, truth

NEVER = 10**6
PAUSE = 600.0
OUTAGE = 4 * 3600.0


class Files:
    """A state file in each folder."""

    def of(self, folder: Path) -> str:
        """The state that belongs to a folder."""
        return str(folder / "state.db")

    def copy(self, folder: Path, to: Path) -> None:
        """What has been left there, for another folder."""
        for name in states(folder):
            shutil.copy(folder / name, to)

    def drop(self, folder: Path) -> None:
        """It is needed no more."""


class Databases:
    """A database for each folder."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._urls: dict[Path, str] = {}

    def of(self, folder: Path) -> str:
        """The state that belongs to a folder."""
        if folder not in self._urls:
            self._urls[folder] = self._server.database()
        return self._urls[folder]

    def copy(self, folder: Path, to: Path) -> None:
        """What has been left there, for another folder."""
        template = self.of(folder)
        # Whoever was killed may still have a session there.
        self._server.cut(template)
        self._urls[to] = self._server.database(template=template.rpartition("/")[2])

    def drop(self, folder: Path) -> None:
        """It is needed no more."""
        self._server.drop(self._urls.pop(folder))


@pytest.fixture(params=["sqlite", "postgresql"])
def homes(request: pytest.FixtureRequest) -> Files | Databases:
    """Where states are."""
    return Files() if request.param == "sqlite" else Databases(request.getfixturevalue("postgres_server"))


class Exporters:
    """Exporters that poll once each, in processes of their own that can be killed at a commit."""

    def __init__(
        self, process: asyncio.subprocess.Process, made: Platform, when: str, homes: Files | Databases
    ) -> None:
        self._process, self._made, self._when, self._homes = process, made, when, homes

    async def once(self, folder: Path, point: int = NEVER) -> str | None:
        """What one shows that is to be killed at this commit of its; None: it was."""
        config, out = written(folder, self._made.settings()), folder / "shown"
        line = [str(config), self._homes.of(folder), self._made.clock.now, str(out), self._when, point]
        reader, writer = self._process.stdout, self._process.stdin
        assert reader
        assert writer
        writer.write(json.dumps(line).encode() + b"\n")
        code = int(await reader.readline())
        assert code in (0, -signal.SIGKILL)
        return out.read_text(encoding="utf-8") if code == 0 else None

    async def killed_everywhere(self, folder: Path, moments: list[float]) -> int:
        """Kills one at each of its commits in turn, always from the same state; returns how many there are."""
        point = 0
        while True:
            point += 1
            copy = folder / f"{len(moments)}-{point}"
            copy.mkdir()
            self._homes.copy(folder, copy)
            if await self.once(copy, point):
                return point - 1
            shown = await self.once(copy)
            assert shown is not None
            assert numbers_of(shown, SALES.handle) == truth(self._made.world, SALES.handle, moments), point
            self._homes.drop(copy)


@asynccontextmanager
async def exporters(made: Platform, when: str, homes: Files | Databases) -> AsyncIterator[Exporters]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(killed.__file__)),
        env=surroundings(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Exporters(process, made, when, homes)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_of_a_first_reading(tmp_path: Path, when: str, homes: Files | Databases) -> None:
    async with platform(SALES, history=3.0) as made, exporters(made, when, homes) as run:
        points = await run.killed_everywhere(tmp_path, [made.clock.now])
        assert points >= 6, "the new state, several pages, and the end"


@pytest.mark.parametrize("homes", ["sqlite"], indirect=True)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_of_a_poll_that_catches_up_after_an_outage(tmp_path: Path, when: str, homes: Files | Databases) -> None:
    async with platform(SALES, history=3.0) as made, exporters(made, when, homes) as run:
        moments = [made.clock.now]
        await run.once(tmp_path)
        made.clock.now += OUTAGE
        moments.append(made.clock.now)
        assert await run.killed_everywhere(tmp_path, moments) >= 5, "several pages, and the end"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_of_the_polls_that_follow(tmp_path: Path, when: str, homes: Files | Databases) -> None:
    async with platform(SALES, history=3.0) as made, exporters(made, when, homes) as run:
        moments = [made.clock.now]
        await run.once(tmp_path)
        for _ in range(3):
            made.clock.now += PAUSE
            moments.append(made.clock.now)
            assert await run.killed_everywhere(tmp_path, moments) >= 1
            await run.once(tmp_path)
