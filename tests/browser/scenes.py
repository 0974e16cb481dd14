"""What a person may find on the pages: a made-up platform with something wrong, and a real exporter that polls it.

Time stands still but where a scene lets it pass, so that each scene looks the same whenever it is played.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, chdir
from pathlib import Path
from typing import Any

import msgspec

from exporter import service
from exporter.config import Config, load
from exporter.service.running import serving
from exporter.simulator.profiles import DEFAULT_PROFILES
from exporter.systemd import Notifier
from exporter.web.listen import Address
from tests.certificates import Authority
from tests.faults import disks
from tests.service.running import START, Answer, Clock, Platform, fetched, platform, until, written

AGENTS = tuple(
    msgspec.structs.replace(profile, live_tasks_per_hour=None, ties=0.0, older=False) for profile in DEFAULT_PROFILES
)
"""Without tasks that swap their places while they are read: each scene has one fault, its own."""
SALES, SUPPORT, COLLECTIONS, RENEWALS, OFFICE = (profile.handle for profile in AGENTS)
MINUTE = 60.0
HOUR = 3_600.0
DAY = 86_400.0
STATE = "unpod-exporter.db"
SETTINGS = "config.yaml"


class Silent:
    """A log for nobody, and a display of progress for nobody."""

    def debug(self, event: str, **fields: Any) -> None:
        pass

    info = warning = error = debug

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, agent: str, ratio: float) -> None:
        pass


class Time:
    """Stands still until it is told to pass; then whoever sleeps is woken in turn."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def __call__(self) -> float:
        return self._clock.now

    async def sleep(self, seconds: float) -> None:
        sleeper = (self() + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)

    @property
    def next(self) -> float:
        """When the first of the sleepers is due."""
        return min((due for due, _ in self._sleepers), default=float("inf"))

    def goes_to(self, moment: float) -> None:
        self._clock.now = max(self(), moment)
        for due, woken in self._sleepers:
            if due <= self():
                woken.set()


class Scene:
    """The platform, the exporter in its folder, and the time between them."""

    def __init__(self, made: Platform, exporter: Any, url: str, time: Time, folder: Path) -> None:
        self.made, self.exporter, self.url, self._time, self.folder = made, exporter, url, time, folder

    @property
    def polling(self) -> bool:
        trackers = self.exporter.fleet.trackers.values()
        return any(tracker.begun is not None or tracker.last is None for tracker in trackers)

    def until_poll(self, handle: str) -> float:
        """Seconds until an agent is polled next."""
        due = self.exporter.fleet.polling.due(handle)
        assert due is not None
        seconds: float = due - self._time()
        return seconds

    async def settles(self, unless: Callable[[], bool] = lambda: False) -> None:
        """Waits until no poll is under way, or until ``unless`` is so; whoever waits for a turn has it."""

        async def settled() -> bool:
            # The pace lets requests wait for seconds, the schedule lets agents wait for far longer.
            if self.polling and self._time.next - self._time() < 2.0:
                self._time.goes_to(self._time.next)
            woken = self._time.next <= self._time()
            return unless() or not (woken or self.polling)

        await until(settled)

    async def reloads(self, before: str, after: str) -> Answer:
        """What comes of a reload with other words in the settings."""
        file = self.folder / SETTINGS
        file.write_text(file.read_text().replace(before, after))
        return await fetched(f"{self.url}/-/reload", method="POST")

    def jumps(self, seconds: float) -> None:
        """Lets time pass while whatever is under way stays so."""
        self._time.goes_to(self._time() + seconds)

    async def passes(self, seconds: float) -> None:
        """Lets time pass, with every poll that is due meanwhile."""
        end = self._time() + seconds
        while self._time.next <= end:
            self._time.goes_to(self._time.next)
            await self.settles()
        self._time.goes_to(end)
        await self.settles()


def nothing(folder: Path) -> None:
    """Puts nothing into it."""


@asynccontextmanager
async def scene(
    *,
    history: float = 24.0,
    agents: Any = AGENTS,
    prepares: Callable[[Path], Path | None] = nothing,
    **sections: Any,
) -> AsyncIterator[Scene]:
    """An exporter that has just been started beside a platform, in a folder into which ``prepares`` may put a state, or
    a web config, which it returns then."""
    usual: dict[str, dict[str, Any]] = {
        "api": {"requests_per_minute": 120, "page_size": 200},
        "polling": {"interval": "60s", "backfill": "all"},
    }
    sections = {name: usual.get(name, {}) | sections.get(name, {}) for name in usual | sections}
    with tempfile.TemporaryDirectory() as name, chdir(name):
        folder = Path(name)
        rules = prepares(folder)
        async with platform(*agents, history=history) as made:
            time = Time(made.clock)
            written(folder, made.settings(**sections))

            def read() -> Config:
                return load(Path(SETTINGS), os.environ, state_path=STATE)

            quiet = Silent()
            clock = service.Clock(now=time, elapsed=time, sleep=time.sleep)
            web = service.Web(listen=(Address("127.0.0.1", 0),), config_file=rules)
            asked = {
                "source": service.Source(read=read),
                "hangup": asyncio.Event(),
                "notifier": Notifier({}, 0),
            }
            async with serving(read(), web, quiet, quiet, clock, **asked) as (exporter, bound):
                scheme = "http" if rules is None else "https"
                yield Scene(made, exporter, f"{scheme}://{bound[0]}", time, folder)


@asynccontextmanager
async def well(history: float = 24.0) -> AsyncIterator[Scene]:
    """Everything has been read, and some minutes have passed."""
    async with scene(history=history) as played:
        await played.settles()
        await played.passes(MINUTE * 5)
        await played.passes(17.0)
        yield played


@asynccontextmanager
async def bad_token(history: float = 24.0) -> AsyncIterator[Scene]:
    """The token was revoked a quarter of an hour ago."""
    async with well(history) as played:
        played.made.fails("unauthorized", endpoint=None)
        await played.passes(MINUTE * 14)
        yield played


@asynccontextmanager
async def no_access(history: float = 24.0) -> AsyncIterator[Scene]:
    """One agent lives in a space that the token's user may not see."""
    async with well(history) as played:
        played.made.fails("no_access", agent=COLLECTIONS)
        await played.passes(MINUTE * 7)
        yield played


@asynccontextmanager
async def platform_down(history: float = 24.0) -> AsyncIterator[Scene]:
    """The platform has gone away."""
    async with well(history) as played:
        played.made.fails("close", endpoint=None)
        await played.passes(MINUTE * 18)
        yield played


@asynccontextmanager
async def rate_limited(history: float = 24.0) -> AsyncIterator[Scene]:
    """The platform has just said to one agent that there were too many requests, and lets all of them wait."""
    async with well(history) as played:
        played.made.fails("rate_limited", agent=SALES, retry_after=90.0)
        await played.passes(played.until_poll(SALES) + 1.0)
        yield played


@asynccontextmanager
async def unreadable(history: float = 24.0) -> AsyncIterator[Scene]:
    """The platform cannot deliver three tasks of an agent."""
    async with scene(history=history) as played:
        for document in played.made.world.tasks(SUPPORT, page_size=0).documents[10:13]:
            one = json.loads(document)["task_id"]
            played.made.world.poison(SUPPORT, one)
        await played.settles()
        await played.passes(MINUTE * 3)
        yield played


@asynccontextmanager
async def first_reading(history: float = 96.0) -> AsyncIterator[Scene]:
    """Two histories are long, and are being read for the first time."""
    async with scene(history=history, api={"page_size": 50, "max_concurrent_requests": 8}) as played:
        for agent, page in ((SALES, history / 4), (COLLECTIONS, history / 10)):
            played.made.fails("black_hole", agent=agent, page=int(page), times=1)
        trackers = played.exporter.fleet.trackers

        def has_come_so_far() -> bool:
            stopped = not any(fault.times for fault in played.made.faults.active)
            return stopped and sum(tracker.last is None for tracker in trackers.values()) == 2

        await played.settles(has_come_so_far)
        yield played


@asynccontextmanager
async def full_disk(history: float = 24.0) -> AsyncIterator[Scene]:
    """The disk of the state has been full for nine minutes."""
    async with well(history) as played:
        with disks.full_disk():
            await played.passes(MINUTE * 9)
        yield played


@asynccontextmanager
async def bad_settings(history: float = 24.0) -> AsyncIterator[Scene]:
    """Somebody has changed the settings, made two mistakes, and reloaded them."""
    async with well(history) as played:
        told = await played.reloads("interval: 60s", "interval: often\n  max_stalenes: 1h")
        assert told.status == 500
        await played.passes(MINUTE * 12)
        yield played


@asynccontextmanager
async def stretched(history: float = 24.0) -> AsyncIterator[Scene]:
    """Somebody has allowed so few requests that they do not suffice for five agents."""
    async with well(history) as played:
        assert (await played.reloads("requests_per_minute: 120", "requests_per_minute: 2")).status == 200
        yield played


@asynccontextmanager
async def slow_platform(history: float = 24.0) -> AsyncIterator[Scene]:
    """The platform has taken more than two minutes to answer a poll of one agent."""
    async with well(history) as played:
        tracker = played.exporter.fleet.trackers[SALES]

        def takes_long() -> None:
            if tracker.begun is not None:
                played.made.hears = lambda: None
                played.jumps(MINUTE * 2.1)

        played.made.hears = takes_long
        await played.passes(played.until_poll(SALES))
        yield played


@asynccontextmanager
async def set_aside(history: float = 24.0) -> AsyncIterator[Scene]:
    """The exporter was started with a state that a broken disk has left behind."""

    def prepares(folder: Path) -> None:
        (folder / STATE).write_bytes(b"SQLite format 3\0" + b"\x99" * 65_520)

    async with scene(history=history, prepares=prepares) as played:
        await played.settles()
        await played.passes(MINUTE * 2)
        yield played


@asynccontextmanager
async def old_certificate(history: float = 24.0, left: float = DAY * 6) -> AsyncIterator[Scene]:
    """The exporter serves with a certificate of 90 days, whose last ones they are."""

    def prepares(folder: Path) -> Path:
        ends = START + HOUR + left
        Authority(folder).issue("127.0.0.1", file="server", valid=(ends - DAY * 90, ends))
        return written(Path(), {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}}, "web.yml")

    async with scene(history=history, prepares=prepares) as played:
        await played.settles()
        yield played


@asynccontextmanager
async def expired_certificate(history: float = 24.0) -> AsyncIterator[Scene]:
    """It has expired two days ago."""
    async with old_certificate(history, left=-DAY * 2 - HOUR * 2) as played:
        yield played


@asynccontextmanager
async def bad_web_config(history: float = 24.0) -> AsyncIterator[Scene]:
    """Somebody has renewed the certificate and forgotten its key."""
    async with old_certificate(history, left=DAY * 60) as played:
        key = (played.folder / "server.key").read_bytes()
        Authority(played.folder).issue("127.0.0.1", file="server")
        (played.folder / "server.key").write_bytes(key)
        await played.passes(5.0)
        yield played


SCENES: dict[str, Callable[..., AbstractAsyncContextManager[Scene]]] = {
    "fine": well,
    "bad-token": bad_token,
    "no-access": no_access,
    "platform-down": platform_down,
    "rate-limited": rate_limited,
    "unreadable-tasks": unreadable,
    "first-reading": first_reading,
    "full-disk": full_disk,
    "bad-settings": bad_settings,
    "bad-web-config": bad_web_config,
    "stretched": stretched,
    "slow-platform": slow_platform,
    "set-aside": set_aside,
    "old-certificate": old_certificate,
    "expired-certificate": expired_certificate,
}
"""By the names of their pictures. Each can be told how many hours of history the platform has."""
