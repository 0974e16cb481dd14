"""Builds the parts and runs them: the only place that knows them all."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, NoReturn

import msgspec

from exporter import __version__
from exporter.config import ALL, Config
from exporter.config.quantities import format_duration
from exporter.exposition import catalog
from exporter.exposition.lines import Format
from exporter.exposition.render import Board
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.logs import Verbosity
from exporter.overview import Overview
from exporter.progress import Display
from exporter.survey import Readable, survey
from exporter.systemd import Notifier, notified
from exporter.tracking.fleet import Fleet, Log, Named, Plan
from exporter.tracking.report import Report
from exporter.tracking.roster import Choice
from exporter.tracking.rules import Rules
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.tallies import Limits
from exporter.tracking.tracker import Tracker
from exporter.unpod.client import Client, FileToken, Settings, StaticToken, Token
from exporter.unpod.facts import Agent
from exporter.web.listen import Address, serve
from exporter.web.pages import Pages, State
from exporter.web.server import create_app

USER_AGENT: Final = f"unpod-exporter/{__version__}"


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The time of all parts."""

    now: Callable[[], float] = time.time
    """Unix seconds."""
    elapsed: Callable[[], float] = time.monotonic
    """Seconds that never jump."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


REAL: Final = Clock()


class Exporter:
    """The parts, wired. Made by ``assembled``."""

    def __init__(
        self, config: Config, log: Log, client: Client, storage: SqliteStorage, telemetry: Telemetry, clock: Clock
    ) -> None:
        self._board = Board(catalog.families(_shown(config)))
        self._display: Callable[[str, float], None] = lambda agent, ratio: None
        self.scrape = Scrape(self._board, telemetry, clock=clock.now, timer=time.perf_counter)
        rules = _rules(config)

        def track(agent: str) -> Tracker:
            return Tracker(
                agent, client, storage, rules, now=clock.now, elapsed=clock.elapsed, progressed=self._progressed
            )

        async def listed() -> Iterable[Agent]:
            return (await client.agents()).agents

        self.fleet = Fleet(
            _plan(config),
            track=track,
            listed=listed,
            publish=self._publish,
            remove=self._remove,
            log=log,
            now=clock.now,
            sleep=clock.sleep,
        )
        self.overview = Overview(
            version=__version__,
            platform=config.api.base_url,
            started=clock.now(),
            now=clock.now,
            fleet=self.fleet,
            usage=client.usage,
            state=lambda: State(
                path=str(config.state.path) if config.state.path else None, size=storage.size(), created=storage.created
            ),
        )

    def shows_progress(self, display: Display) -> None:
        """Tells ``display`` how far the first readings of histories are."""
        self._display = display

    def text(self) -> str:
        """All metrics as Prometheus text."""
        return self.scrape.text(Format.TEXT).decode()

    def _progressed(self, agent: str, ratio: float) -> None:
        self._display(agent, ratio)
        self.fleet.show(agent)

    def _publish(self, report: Report) -> None:
        self._board.publish(report)
        if self.fleet.trackers[report.agent].tracked is not None:
            self._display(report.agent, 1.0)

    def _remove(self, agent: str) -> None:
        self._board.remove(agent)
        self._display(agent, 1.0)


class Web(msgspec.Struct, frozen=True, kw_only=True):
    """Where the exporter is served."""

    listen: tuple[Address, ...] = ()
    sockets: tuple[socket.socket, ...] = ()
    """Those that listen already."""
    telemetry_path: str = "/metrics"

    def __post_init__(self) -> None:
        """Raises ValueError where the path cannot be that of the metrics."""
        create_app(
            Pages(metrics=_nothing, ready=_nothing, status=_nothing, agent=_nothing, telemetry_path=self.telemetry_path)
        )


def _nothing(*_: object) -> NoReturn:
    raise NotImplementedError


@asynccontextmanager
async def serving(
    config: Config, web: Web, log: Log, display: Display, clock: Clock = REAL
) -> AsyncIterator[tuple[Exporter, tuple[Address, ...]]]:
    """The exporter, polling and answering; with the addresses that it is bound to.

    Raises what ``assembled`` raises, ``ListenError`` where an address cannot be had, and as an exception group
    whatever ends the polling.
    """
    async with assembled(config, log, clock) as exporter:
        pages = Pages(
            metrics=exporter.scrape,
            ready=exporter.fleet.waits_for,
            status=exporter.overview.status,
            agent=exporter.overview.agent,
            telemetry_path=web.telemetry_path,
        )
        async with serve(create_app(pages), web.listen, web.sockets) as bound:
            log.info("listening", addresses=", ".join(map(str, bound)), metrics=web.telemetry_path)
            with display:
                exporter.shows_progress(display)
                async with asyncio.TaskGroup() as group:
                    polling = group.create_task(exporter.fleet.run(), name="polling")
                    yield exporter, bound
                    polling.cancel()


def stop_signals() -> asyncio.Event:
    """What SIGTERM and SIGINT set from now on, instead of ending the process where it stands."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


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
) -> None:
    """Serves until ``stop`` is set (None: until SIGTERM or SIGINT). ``listening`` is told the addresses;
    ``verbosity`` is what SIGUSR1 changes.

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
        state=_state_named(config),
    )
    notifier = Notifier(os.environ, os.getpid())
    async with serving(config, web, log, display, clock) as (exporter, bound):
        listening(bound)
        async with notified(notifier, exporter.overview.in_words, clock.sleep):
            await stop.wait()
            log.info("stopping")
    log.info("stopped")


@asynccontextmanager
async def assembled(config: Config, log: Log, clock: Clock = REAL) -> AsyncIterator[Exporter]:
    """The exporter with its state open and what is known shown, not polling yet.

    Raises ``StorageError`` where the state cannot be used, ``Unauthorized`` where the token can be none.
    """
    started = clock.now()
    telemetry = Telemetry(catalog.families(_shown(config)), version=__version__, started=started)
    telemetry.config_loaded(True, started)
    storage = await SqliteStorage.open(config.state.path, clock=clock.now, committed=telemetry.committed)
    try:
        telemetry.state(storage.size, lambda: storage.created, set_aside=storage.set_aside, uncommitted=lambda: 0)
        if storage.created >= started:
            log.info("new state begun", state=_state_named(config), backfill=_backfill_in_words(config))
        async with connected(config, telemetry, clock) as client:
            exporter = Exporter(config, log, client, storage, telemetry, clock)
            await exporter.fleet.resume(await storage.agents())
            yield exporter
    finally:
        await storage.close()


def _state_named(config: Config) -> str:
    return str(config.state.path or "memory")


def _backfill_in_words(config: Config) -> str:
    backfill = config.polling.backfill
    return {ALL: "all", 0.0: "none"}.get(backfill) or format_duration(backfill)


@asynccontextmanager
async def connected(config: Config, telemetry: Telemetry | None = None, clock: Clock = REAL) -> AsyncIterator[Client]:
    """A client of the platform. Raises ``Unauthorized`` where the token can be none."""
    async with Client(
        _settings(config),
        _token(config),
        observer=telemetry,
        clock=clock.now,
        monotonic=clock.elapsed,
        sleep=clock.sleep,
    ) as client:
        yield client


async def all_readable(config: Config) -> list[Readable]:
    """What the token can see. Raises ``UnpodError`` where the list of agents cannot be read."""
    async with connected(config) as client:
        return await survey(client)


async def poll_once(config: Config, log: Log, display: Display) -> tuple[str, bool]:
    """Polls every agent once; the metrics as text, and whether all went well."""
    async with assembled(config, log) as exporter:
        with display:
            exporter.shows_progress(display)
            outcomes = await exporter.fleet.once()
        failed = any(outcome.error is not None for outcome in outcomes.values())
        return exporter.text(), not (failed or exporter.fleet.lacks_agents)


def _settings(config: Config) -> Settings:
    api = config.api
    return Settings(
        base_url=api.base_url,
        path_prefix=api.path_prefix,
        org_handle=api.org_handle,
        timeout=api.timeout,
        page_size=api.page_size,
        max_concurrent_requests=api.max_concurrent_requests,
        requests_per_minute=api.requests_per_minute,
        max_response_bytes=api.max_response_bytes,
        ca_file=str(api.ca_file) if api.ca_file else None,
        insecure_skip_verify=api.insecure_skip_verify,
        proxy_url=api.proxy_url.reveal() if api.proxy_url else None,
        user_agent=USER_AGENT,
    )


def _token(config: Config) -> Token:
    api = config.api
    if api.token_file is not None:
        return FileToken(api.token_file)
    return StaticToken(api.token.reveal() if api.token else "")


def _shown(config: Config) -> catalog.Settings:
    return catalog.Settings(history=config.polling.history, call_duration_buckets=config.metrics.call_duration_buckets)


def _rules(config: Config) -> Rules:
    polling, metrics = config.polling, config.metrics
    return Rules(
        page_size=config.api.page_size,
        reconcile_interval=polling.reconcile_interval,
        settling_time=polling.settling_time,
        max_staleness=polling.max_staleness,
        overdue_grace=polling.overdue_grace,
        history=polling.history,
        backfill=polling.backfill,
        limits=Limits(
            buckets=dict(catalog.buckets(_shown(config))),
            end_codes=metrics.end_codes_limit,
            numbers=metrics.numbers_limit,
        ),
    )


def _plan(config: Config) -> Plan:
    discovery = config.discovery
    choice = Choice(include=discovery.include, exclude=discovery.exclude, types=discovery.types)
    # The list tells the agents' names as well, but the platform refuses it without an organisation.
    reads_list = discovery.enabled or config.api.org_handle is not None
    return Plan(
        interval=config.polling.interval,
        named=tuple(Named(handle=one.handle, interval=one.interval, labels=one.labels) for one in config.agents),
        choice=choice if discovery.enabled else None,
        list_interval=discovery.interval if reads_list else None,
    )
