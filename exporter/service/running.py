"""Serves the exporter until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from exporter import __version__
from exporter.config import Config
from exporter.logs import Verbosity
from exporter.progress import Display
from exporter.service.assembly import Exporter, assembled
from exporter.service.clock import REAL, Clock
from exporter.service.entrance import Entrance, Refusals
from exporter.service.parts import state_in_words
from exporter.service.readings import Readings
from exporter.service.reloading import Reloader, Source
from exporter.systemd import Notifier, notified
from exporter.tracking.log import Log
from exporter.web.access import Access
from exporter.web.listen import Address, serve
from exporter.web.pages import Pages
from exporter.web.passwords import Passwords
from exporter.web.server import create_app


class Web(msgspec.Struct, frozen=True, kw_only=True):
    """Where the exporter is served."""

    listen: tuple[Address, ...] = ()
    sockets: tuple[socket.socket, ...] = ()
    """Those that listen already."""
    config_file: Path | None = None
    """Who may ask, and how; None: everybody, in the clear."""
    telemetry_path: str = "/metrics"
    prefix: str = ""
    """In front of every path."""

    def __post_init__(self) -> None:
        """Raises ValueError where the path cannot be that of the metrics, or the prefix none."""
        create_app(
            Pages(
                metrics=_nothing,
                ready=_nothing,
                status=_nothing,
                agent=_nothing,
                config=_nothing,
                reload=_nothing,
                telemetry_path=self.telemetry_path,
                prefix=self.prefix,
            )
        )


def _nothing(*_: object) -> NoReturn:
    raise NotImplementedError


@asynccontextmanager
async def guarded(web: Web, log: Log, readings: Readings, clock: Clock) -> AsyncIterator[tuple[Entrance, Access]]:
    """The web config in force, and whom it lets in. Raises ConfigError where it is bad."""
    entrance = Entrance(web.config_file, log, elapsed=clock.elapsed, told=readings.of("web config"))
    readings.certificate = entrance.certificate
    with Passwords() as passwords:
        yield entrance, Access(entrance.policy, passwords, Refusals(log, clock.elapsed), elapsed=clock.elapsed)


@asynccontextmanager
async def serving(
    config: Config,
    web: Web,
    log: Log,
    display: Display,
    clock: Clock = REAL,
    *,
    source: Source,
    hangup: asyncio.Event,
    notifier: Notifier,
) -> AsyncIterator[tuple[Exporter, tuple[Address, ...]]]:
    """The exporter, polling and answering; with the addresses that it is bound to. It reads its settings anew from
    ``source`` when it is asked to, and when ``hangup`` is set.

    Raises what ``assembled`` and ``guarded`` raise, ``ListenError`` where an address cannot be had, and as an exception
    group whatever ends the polling.
    """
    async with assembled(config, log, clock) as exporter, guarded(web, log, exporter.readings, clock) as guard:
        entrance, access = guard
        reloader = Reloader(exporter, entrance, source, log, notifier, read=exporter.readings.of("settings"))
        pages = Pages(
            metrics=exporter.scrape,
            ready=exporter.waits_for,
            status=exporter.overview.status,
            agent=exporter.overview.agent,
            config=reloader.config,
            reload=partial(reloader.reload, "asked for over HTTP"),
            telemetry_path=web.telemetry_path,
            prefix=web.prefix,
        )
        async with serve(create_app(pages, access), web.listen, web.sockets, access) as bound:
            log.info(
                "listening",
                addresses=", ".join(map(str, bound)),
                metrics=web.telemetry_path,
                tls=access.policy().tls is not None,
            )
            with display:
                exporter.shows_progress(display)
                async with asyncio.TaskGroup() as group:
                    polling = group.create_task(exporter.run(), name="polling")
                    watching = group.create_task(reloader.watch(hangup, clock.sleep), name="reloading")
                    looking = group.create_task(entrance.watch(clock.sleep), name="web config")
                    settling = group.create_task(_settled(exporter, clock), name="settling")
                    yield exporter, bound
                    if exporter.member is not None:
                        await exporter.member.leave()
                    for task in (settling, looking, watching, polling):
                        task.cancel()


async def _settled(exporter: Exporter, clock: Clock) -> None:
    """Once every agent has been polled, what there is stays: the garbage collector need not look through it again and
    again, while scrapes wait."""
    while exporter.waits_for() is not None:
        await clock.sleep(1.0)
    gc.collect()
    gc.freeze()


def stop_signals() -> asyncio.Event:
    """What SIGTERM and SIGINT set from now on, instead of ending the process where it stands."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def hangups() -> asyncio.Event:
    """What SIGHUP sets from now on, instead of ending the process."""
    hangup = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.set)
    return hangup


def toggles_level(verbosity: Verbosity, log: Log) -> None:
    """SIGUSR1 makes the log tell everything from now on, and as much as before when it comes again."""

    def toggle() -> None:
        log.info("log level toggled by SIGUSR1", to=verbosity.toggle())

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, toggle)


async def run(
    config: Config,
    web: Web,
    log: Log,
    display: Display,
    clock: Clock = REAL,
    *,
    stop: asyncio.Event | None = None,
    listening: Callable[[tuple[Address, ...]], None] = lambda addresses: None,
    verbosity: Verbosity | None = None,
    source: Source | None = None,
) -> None:
    """Serves until ``stop`` is set (None: until SIGTERM or SIGINT). ``listening`` is told the addresses;
    ``verbosity`` is what SIGUSR1 changes, and ``source`` where the settings are read anew from (None: they stay).

    Raises what ``serving`` raises.
    """
    stop = stop or stop_signals()
    if verbosity is not None:
        toggles_level(verbosity, log)
    log.info(
        "starting",
        version=__version__,
        config=config.source,
        platform=config.api.base_url,
        agents=len(config.agents),
        discovery=config.discovery.enabled,
        shard=f"{config.shard.index} of {config.shard.count}",
        state=state_in_words(config),
    )
    notifier = Notifier(os.environ, os.getpid())
    source = source or Source(read=lambda: config)
    async with serving(config, web, log, display, clock, source=source, hangup=hangups(), notifier=notifier) as (
        exporter,
        bound,
    ):
        listening(bound)
        async with notified(notifier, exporter.overview.in_words, clock.sleep):
            await stop.wait()
            log.info("stopping")
    log.info("stopped")
