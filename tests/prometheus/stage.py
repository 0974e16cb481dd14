"""The stage for dashboards and rules: a made-up platform, the exporter, and a real Prometheus that knows their past.

First, the exporter polls the platform in told time, as ``recorder`` says: hours pass in seconds, and what it shows at
each step becomes the past of Prometheus, at the very times at which it would have been scraped. Then the platform and
the exporter go on in real time, the exporter as an ordinary process with the same state, and Prometheus scrapes it.
In that past, things go wrong: ``STORY`` says what and when.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from exporter.simulator.faults import Fault, Faults
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile
from exporter.simulator.runner import serve
from exporter.simulator.world import World
from tests.prometheus import recorder
from tests.prometheus.running import Prometheus, prometheus
from tests.service.running import ORGANISATION, TOKEN, exporting, started, until, written

HOUR = 3600.0
SCRAPE_INTERVAL = 60.0
"""Seconds between two samples of the past."""
REPLICAS = ("exporter-0:10130", "exporter-1:10130")
"""The instances that Prometheus sees: two that show the same."""
RECORDING = 1800.0
"""Seconds after which a recording counts as stuck."""


class Trouble(NamedTuple):
    """A fault of the platform for a while."""

    begin: float
    """Seconds before the past ends."""
    end: float
    """Likewise; minus infinity: it stays on."""
    fault: Fault

    def is_on(self, before_end: float) -> bool:
        return self.begin >= before_end > self.end


STORY = (
    Trouble(5400, 5100, Fault(kind="server_error", probability=0.5)),
    Trouble(4500, 4320, Fault(kind="rate_limited", probability=0.3, retry_after=90.0)),
    Trouble(3300, 2700, Fault(kind="no_access", agent="renewals-legacy")),
    Trouble(2100, 1980, Fault(kind="reset", probability=0.4)),
    Trouble(900, 720, Fault(kind="bad_gateway", endpoint="agents")),
    Trouble(600, float("-inf"), Fault(kind="unavailable", agent="renewals-legacy")),
)
"""What goes wrong in the past; at its end, one agent is down."""


class Stage(NamedTuple):
    """What is on the stage, and since when."""

    prometheus: Prometheus
    platform: str
    """The URL of the made-up platform, where /_faults switches faults on and off."""
    exporter: str
    """The URL of the exporter."""
    begin: float
    """Unix seconds at which the past begins."""
    end: float
    """Unix seconds at which the past has ended, and real time goes on."""


def agents(pace: float = 0.2) -> tuple[Profile, ...]:
    """The agents of the demo with this share of its traffic, and without bulk runs."""
    return tuple(
        msgspec.structs.replace(profile, live_tasks_per_hour=pace * profile.live_tasks_per_hour, bulk_every=None)
        for profile in DEFAULT_PROFILES
        if profile.live_tasks_per_hour is not None
    )


class _Time:
    """The platform's: told by a file, then real. Faults come and go with it."""

    def __init__(self, file: Path, end: float, faults: Faults, story: Sequence[Trouble]) -> None:
        self._file, self._end, self._faults, self._story = file, end, faults, story
        self._on: list[Trouble] = []
        self.is_told = True

    def __call__(self) -> float:
        if not self.is_told:
            return time.time()
        now = float(self._file.read_text(encoding="utf-8"))
        on = [trouble for trouble in self._story if trouble.is_on(self._end - now)]
        if on != self._on:
            self._on = on
            self._faults.clear()
            for trouble in on:
                self._faults.add(trouble.fault)
        return now


@asynccontextmanager
async def staged(
    folder: Path,
    *,
    span: float = 2 * HOUR,
    rules: Sequence[Path] = (),
    profiles: Sequence[Profile] | None = None,
    replicas: Sequence[str] = REPLICAS,
    story: Sequence[Trouble] = STORY,
    seed: int = 7,
) -> AsyncIterator[Stage]:
    """A stage whose past is ``span`` seconds long. What it keeps is in ``folder``.

    ``rules`` are files of rules that Prometheus evaluates from now on. What is still on at the end of the story stays
    on until /_faults says otherwise.
    """
    end = time.time()
    begin = end - span
    file = folder / "clock"
    file.write_text(repr(begin), encoding="utf-8")
    world = World(seed=seed, now=begin, agents=profiles or agents(), history=1.0)
    faults = Faults(seed=seed)
    clock = _Time(file, end, faults, story)
    async with serve(world, clock=clock, token=TOKEN, org=ORGANISATION, faults=faults) as platform:
        config = written(folder, _settings(platform))
        await _record(folder, config, begin, replicas)
        clock.is_told = False
        async with exporting(folder, _settings(platform)) as exporter:
            url = await exporter.url()
            target = url.removeprefix("http://")
            scrape = {"targets": [target]}
            static = [scrape | {"labels": {"instance": replica}} for replica in replicas]
            scraping = {
                "scrape_configs": [{"job_name": recorder.JOB, "static_configs": static}],
                "rule_files": [str(path.resolve()) for path in rules],
            }
            async with prometheus(folder, scraping) as running:
                await _scraped(running, len(replicas))
                yield Stage(running, platform, url, begin, end)


def _settings(platform: str) -> dict[str, Any]:
    return {
        "api": {"base_url": platform, "token": TOKEN, "org_handle": ORGANISATION, "requests_per_minute": 6000},
        "polling": {"interval": "2s", "max_staleness": "15m"},
        "metrics": {"numbers_limit": 10},
    }


async def _record(folder: Path, config: Path, begin: float, replicas: Sequence[str]) -> None:
    text = folder / "past.om"
    words = (str(config), str(folder / "clock"), repr(begin), repr(SCRAPE_INTERVAL), ",".join(replicas), str(text))
    async with started(folder, *words, module=str(Path(recorder.__file__))) as process:
        ran = await process.end(RECORDING)
    assert ran.code == 0, ran.err
    importing = await asyncio.create_subprocess_exec(
        *("promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "tsdb"), "--quiet"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await importing.communicate()
    assert importing.returncode == 0, said.decode()
    text.unlink()


async def _scraped(running: Prometheus, targets: int) -> None:
    """Waits until every target is scraped, and has been polled."""

    async def asked() -> bool:
        return await running.number("sum(up)") == targets and bool(await running.asks("unpod_agent_up"))

    await until(asked)


@contextmanager
def in_background(folder: Path, **options: Any) -> Iterator[Stage]:
    """A stage that lives in a thread of its own, so that tests with event loops of their own may share it."""
    ready, done = threading.Event(), threading.Event()
    found: list[Stage | BaseException] = []

    async def live() -> None:
        async with staged(folder, **options) as stage:
            found.append(stage)
            ready.set()
            await asyncio.to_thread(done.wait)

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            found.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="stage")
    thread.start()
    ready.wait()
    try:
        if isinstance(found[0], BaseException):
            raise found[0]
        yield found[0]
    finally:
        done.set()
        thread.join()
    if isinstance(found[-1], BaseException):
        raise found[-1]
