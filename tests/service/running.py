"""A made-up platform in this process, the exporter in processes of its own, and patience for what they do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec
import yaml

from exporter.simulator.faults import Fault, Faults
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile
from exporter.simulator.runner import serve
from exporter.simulator.world import World

T = TypeVar("T")

START = 1_764_000_000.0
TOKEN = "made-up-token"
ORGANISATION = "made-up-org"
PATIENCE = 60.0
"""Seconds until what should have happened counts as never happening: long, for slow machines."""
SALES, SUPPORT, LEGACY = (
    msgspec.structs.replace(DEFAULT_PROFILES[place], tasks_per_hour=pace, live_tasks_per_hour=60.0, bulk_every=None)
    for place, pace in ((0, 30.0), (1, 20.0), (3, 10.0))
)


class Clock:
    """The platform's time: it stands still until it is moved."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Platform:
    """A made-up platform that is being served."""

    def __init__(self, world: World, clock: Clock, faults: Faults, url: str) -> None:
        self.world, self.clock, self.faults, self.url = world, clock, faults, url
        self.hears: Callable[[], None] = lambda: None
        """Called after each page of tasks that is about to be sent."""

    def fails(self, kind: str, **options: Any) -> None:
        """From now on."""
        self.faults.add(Fault(kind=kind, **options))

    def settings(self, **sections: Any) -> dict[str, Any]:
        """Settings of an exporter that polls its agents quickly; ``sections`` change single keys."""
        settings: dict[str, Any] = {
            "api": {
                "base_url": self.url,
                "token": TOKEN,
                "org_handle": ORGANISATION,
                "requests_per_minute": 100_000,
                "page_size": 25,
            },
            "polling": {"interval": "200ms"},
            "agents": list(self.world.handles),
            "metrics": {"end_codes_limit": 1000},
        }
        for name, changes in sections.items():
            settings[name] = settings.get(name, {}) | changes if isinstance(changes, dict) else changes
        return settings

    def environ(self) -> dict[str, str]:
        """Variables that lead an exporter here."""
        return {"UNPOD_BASE_URL": self.url, "UNPOD_API_TOKEN": TOKEN, "UNPOD_ORG_HANDLE": ORGANISATION}


@asynccontextmanager
async def platform(
    *profiles: Profile, history: float = 2.0, seed: int = 7, port: int = 0, world: World | None = None
) -> AsyncIterator[Platform]:
    """A platform whose time stands still; its agents are SALES and SUPPORT unless others are named."""
    clock, faults = Clock(), Faults()
    world = world or World(seed=seed, now=START, agents=profiles or (SALES, SUPPORT), history=history)

    def served(handle: str, ids: Sequence[str], now: float) -> None:
        made.hears()

    made = Platform(world, clock, faults, "")
    async with serve(
        world, clock=clock, port=port, token=TOKEN, org=ORGANISATION, faults=faults, on_served=served
    ) as made.url:
        yield made


def written(folder: Path, settings: Mapping[str, Any] | str, name: str = "config.yaml") -> Path:
    """A file of settings."""
    path = folder / name
    path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(dict(settings)), encoding="utf-8")
    return path


class Ran(NamedTuple):
    """What is left of a process."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that it has written to standard error."""
        (line,) = self.err.splitlines()
        return line


class Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Process:
    """A command of the exporter, running. What it writes goes to files in ``folder``."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path, err: Path) -> None:
        self._process, self._out, self._err = process, out, err
        self._url: str | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has written to standard error so far."""
        return self._err.read_text(encoding="utf-8")

    def events(self, name: str | None = None) -> list[dict[str, str]]:
        """The events in its log so far; those of this name alone."""
        lines = self.err.splitlines() if self.err.endswith("\n") else self.err.splitlines()[:-1]
        return [event for event in map(logfmt, lines) if name in (None, event["msg"])]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self, patience: float = PATIENCE) -> Ran:
        """Waits until it is gone."""
        async with asyncio.timeout(patience):
            code = await self._process.wait()
        return Ran(code, self.out, self.err)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> Ran:
        """Sends a signal, and waits until it is gone."""
        self.send(number)
        return await self.end()

    async def url(self) -> str:
        """Where it listens; waits until it does."""
        if self._url is None:
            (event,) = await self.until(lambda: self.events("listening"))
            self._url = "http://" + event["addresses"].partition(",")[0]
        return self._url

    async def get(self, path: str = "/metrics", method: str = "GET", **headers: str) -> Answer:
        """An answer of its web server, as it was sent."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await fetched(await self.url() + path, method=method, headers=named)

    async def numbers(self) -> dict[str, float]:
        """All samples that it shows, by name and labels as they are written."""
        return samples((await self.get()).text)

    async def until(self, wanted: Callable[[], T]) -> T:
        """What ``wanted`` gives once that is true. Fails where the process ends before."""

        async def asked() -> T:
            found = wanted()
            assert found or self.alive, f"it ended: {self.err[-2000:]}"
            return found

        return await until(asked)

    async def until_shown(self, wanted: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """The samples that it shows once ``wanted`` likes them."""

        async def asked() -> dict[str, float] | None:
            assert self.alive, f"it ended: {self.err[-2000:]}"
            shown = await self.numbers()
            return shown if wanted(shown) else None

        found = await until(asked)
        assert found is not None
        return found

    async def ready(self) -> dict[str, float]:
        """The samples once every agent has some to show, or has been polled, well or badly."""

        async def asked() -> bool:
            assert self.alive, f"it ended: {self.err[-2000:]}"
            return (await self.get("/-/ready")).status == 200

        await until(asked)
        return await self.numbers()

    async def polled(self, times: int = 1) -> dict[str, float]:
        """The samples after every agent has been polled so many times more, well or badly."""
        before = counts_of(await self.numbers(), "unpod_agent_polls_total")
        return await self.until_shown(
            lambda shown: all(
                count >= before.get(key, 0.0) + times
                for key, count in counts_of(shown, "unpod_agent_polls_total").items()
            )
        )


async def until(asked: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """What ``asked`` gives once that is true; asks again and again."""
    deadline = time.monotonic() + patience
    while not (found := await asked()):
        assert time.monotonic() < deadline, "what was waited for never came"
        await asyncio.sleep(0.02)
    return found


async def fetched(url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """An answer over HTTP, not unpacked."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    options: dict[str, Any] = {"skip_auto_headers": ("Accept", "Accept-Encoding"), "timeout": timeout}
    async with (
        aiohttp.ClientSession(auto_decompress=False, **options) as session,
        session.request(method, url, headers=headers) as answer,
    ):
        return Answer(answer.status, dict(answer.headers), await answer.read())


def samples(text: str) -> dict[str, float]:
    """The samples of a text of Prometheus, by name and labels as they are written."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def counts_of(shown: Mapping[str, float], family: str) -> dict[str, float]:
    """The samples of one family."""
    return {key: value for key, value in shown.items() if re.match(rf"{family}(?:{{|$)", key)}


def total(shown: Mapping[str, float], family: str) -> float:
    """The sum of the samples of one family."""
    return sum(counts_of(shown, family).values())


RESTARTING = re.compile(r"unpod_agent_poll|unpod_exporter_(?!unknown_values)|process_|python_")
"""Counters of the process, which begin anew with it."""
COUNTER = re.compile(r"\w+_(?:total|count|bucket|sum)(?:{|$)")


def kept(shown: Mapping[str, float]) -> dict[str, float]:
    """The samples that no restart may take back: counters, histograms and summaries of what the platform told."""
    return {key: value for key, value in shown.items() if COUNTER.match(key) and not RESTARTING.match(key)}


def logfmt(line: str) -> dict[str, str]:
    """A line of logfmt. Raises ValueError where it is none."""
    pairs = [word.partition("=") for word in shlex.split(line)]
    assert all(key and equals for key, equals, _ in pairs), line
    return {key: value for key, _, value in pairs}


def json_line(line: str) -> dict[str, Any]:
    """A line of JSON as the standard has it: without NaN and infinities."""

    def no(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    event: dict[str, Any] = json.loads(line, parse_constant=no)
    return event


def surroundings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process: this one's, without what leads an exporter elsewhere, and ``environ``."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("UNPOD_")}
    return {**ours, "PYTHONWARNINGS": "error", "COLUMNS": "200", **(environ or {})}


def _fresh(folder: Path) -> tuple[Path, Path]:
    """Files for what a process writes."""
    number = len(list(folder.glob("*.out")))
    return folder / f"{number}.out", folder / f"{number}.err"


def states(folder: Path) -> list[str]:
    """The state files in a folder, by name."""
    return sorted(path.name for path in folder.glob("*.db*"))


@asynccontextmanager
async def started(
    folder: Path,
    *words: str,
    environ: Mapping[str, str] | None = None,
    stderr: int | None = None,
    module: str = "exporter",
) -> AsyncIterator[Process]:
    """A command of the exporter, started in ``folder``; killed at the end, where it is still there."""
    out, err = _fresh(folder)
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(("-m", module) if "/" not in module else (module,)),
            *words,
            cwd=folder,
            env=surroundings(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file if stderr is None else stderr,
        )
    try:
        yield Process(process, out, err)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ran(folder: Path, *words: str, environ: Mapping[str, str] | None = None) -> Ran:
    """What is left of a command that ends by itself."""
    async with started(folder, *words, environ=environ) as process:
        return await process.end()


@asynccontextmanager
async def exporting(
    folder: Path, settings: Mapping[str, Any], *words: str, state: str | None = "state.db", listen: str = "127.0.0.1:0"
) -> AsyncIterator[Process]:
    """``run`` with these settings, on any free port, with its state in ``folder``; None: where they say."""
    config = written(folder, settings)
    kept = () if state is None else ("--state.path", state)
    flags = ("--config.file", str(config), "--web.listen-address", listen, *kept)
    async with started(folder, "run", *flags, *words) as process:
        yield process
