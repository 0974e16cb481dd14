"""Builds the parts of the exporter and wires them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import msgspec

from exporter import __version__
from exporter.config import Config
from exporter.exposition import catalog
from exporter.exposition.lines import Format
from exporter.exposition.render import Board
from exporter.exposition.scrape import Scrape
from exporter.exposition.telemetry import Telemetry
from exporter.overview import Overview
from exporter.progress import Display
from exporter.service import parts, sharing
from exporter.service.clock import REAL, Clock
from exporter.service.readings import Readings
from exporter.survey import Finding, Readable, probe, survey
from exporter.tracking.damage import Rewritten, SetAside
from exporter.tracking.fleet import Fleet
from exporter.tracking.hands import Hands
from exporter.tracking.log import Log
from exporter.tracking.lookups import Room
from exporter.tracking.overlay import Overlay
from exporter.tracking.probe import probe as probe_file
from exporter.tracking.replicas.member import Member
from exporter.tracking.replicas.registry import Tenure
from exporter.tracking.report import Report
from exporter.tracking.rules import Rules
from exporter.tracking.schedule import PLANNED
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import State, Storage, StorageError
from exporter.tracking.tracker import Tracker
from exporter.unpod.client import Client
from exporter.unpod.facts import Agent
from exporter.web import pages


class Exporter:
    """The parts, wired. Made by ``assembled``."""

    def __init__(
        self,
        config: Config,
        log: Log,
        client: Client,
        state: State,
        storage: Overlay,
        telemetry: Telemetry,
        clock: Clock,
        tenure: Tenure | None = None,
    ) -> None:
        self.config = config
        """The settings in force."""
        self._client = client
        self._log = log
        self._telemetry = telemetry
        self._clock = clock
        self._rules = parts.rules(config)
        self._hands = Hands(config.api.max_concurrent_requests, client.was_slow)
        self._room = Room()
        self._board = Board(catalog.families(parts.shown(config)))
        self._display: Callable[[str, float], None] = lambda agent, ratio: None
        self.readings = Readings(telemetry, clock.now)
        self.member: Member | None = None
        """This exporter as one of several; None: it is alone."""
        self.scrape = Scrape(
            self._board, telemetry, clock=clock.now, timer=time.perf_counter, may_show=lambda: self._is_sure
        )

        # What is kept in memory must not be committed once somebody else has the agent: so nothing is.
        self.fleet = self._made_fleet(storage if tenure is None else state, is_alone=tenure is None)
        if tenure is not None:
            self.member = sharing.member(
                config,
                self.fleet,
                tenure,
                client,
                allowed=lambda: self.config.api.requests_per_minute,
                allow=self._allow,
                log=log,
                telemetry=telemetry,
                clock=clock,
            )
        telemetry.schedule(lambda: self.fleet.polling.lag)
        self.overview = self._made_overview(lambda: parts.state_shown(config, state, storage))

    def _made_fleet(self, storage: Storage, *, is_alone: bool) -> Fleet:
        client, clock = self._client, self._clock

        def track(agent: str) -> Tracker:
            return Tracker(
                agent,
                client,
                storage,
                self._rules,
                now=clock.now,
                elapsed=clock.elapsed,
                progressed=self._progressed,
                hands=self._hands,
                room=self._room,
            )

        async def listed() -> Iterable[Agent]:
            found = await client.agents()
            self._telemetry.listed(found.skipped)
            return found.agents

        return Fleet(
            parts.plan(self.config),
            track=track,
            listed=listed,
            publish=self._publish,
            remove=self._remove,
            log=self._log,
            now=clock.now,
            elapsed=clock.elapsed,
            sleep=clock.sleep,
            may_ask=None if is_alone else lambda: self.member is not None and self.member.may_ask,
            is_spent=lambda: (usage := client.usage()).begun >= PLANNED * usage.per_minute,
        )

    def _made_overview(self, state: Callable[[], pages.State]) -> Overview:
        return Overview(
            version=__version__,
            platform=lambda: self.config.api.base_url,
            started=self._clock.now(),
            now=self._clock.now,
            fleet=self.fleet,
            usage=self._client.usage,
            state=state,
            interval=lambda: self.config.polling.interval,
            bad_files=lambda: self.readings.bad,
            certificate=lambda: self.readings.certificate(),
            others=lambda: "" if self.member is None else sharing.in_words(self.member.standing),
        )

    @property
    def _is_sure(self) -> bool:
        return self.member is None or self.member.is_sure

    def waits_for(self) -> str | None:
        """Why this exporter is not ready yet, in words; None: it is."""
        return self.fleet.waits_for() if self.member is None else self.member.waits_for()

    async def run(self) -> None:
        """Polls until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.fleet.run(), name="polling")
            if self.member is not None:
                group.create_task(self.member.run(), name="sharing")

    def _allow(self, per_minute: int) -> None:
        """This exporter may begin so many requests; 0: it polls no agent then."""
        self._client.allow(max(1, per_minute))
        self.fleet.polling.allow(max(1, per_minute))

    def _shared(self, config: Config) -> Config:
        """The settings with this exporter's share of the requests."""
        if self.member is None:
            return config
        share = max(1, self.member.standing.share)
        return msgspec.structs.replace(config, api=msgspec.structs.replace(config.api, requests_per_minute=share))

    async def obey(self, config: Config) -> None:
        """Other settings from now on, but for the state, which is what it was.

        Where the platform is asked otherwise, or counted otherwise, polls under way are abandoned whole and begin anew.
        Raises ``UnpodError`` or ValueError where it could not be asked; then nothing has changed.
        """
        before, rules = self.config, parts.rules(config)
        if config.api != before.api or rules != self._rules:
            async with self.fleet.paused():
                if config.api != before.api:
                    await self._client.change(parts.settings(self._shared(config)), parts.token(config))
                    self._hands.change(config.api.max_concurrent_requests)
                    self.fleet.retry_failing()
                self._rules = rules
                for tracker in self.fleet.trackers.values():
                    await self._teach(tracker, rules)
                self._board.adopt(catalog.families(parts.shown(config)))
        await self.fleet.replan(parts.plan(self._shared(config)))
        self.config = config

    async def _teach(self, tracker: Tracker, rules: Rules) -> None:
        try:
            await tracker.obey(rules)
        except StorageError as error:
            self._log.warning("agent not fitted to the settings yet", agent=tracker.agent, error=str(error))

    def shows_progress(self, display: Display) -> None:
        """Tells ``display`` how far the first readings of histories are."""
        self._display = display

    def text(self) -> str:
        """All metrics as Prometheus text."""
        return self.scrape.text(Format.TEXT).decode()

    def _progressed(self, agent: str, ratio: float) -> None:
        self._display(agent, ratio)
        self.fleet.polling.show(agent)

    def _publish(self, report: Report) -> None:
        self._board.publish(report)
        if self.fleet.trackers[report.agent].tracked is not None:
            self._display(report.agent, 1.0)

    def _remove(self, agent: str) -> None:
        self._board.remove(agent)
        self._display(agent, 1.0)


@asynccontextmanager
async def assembled(config: Config, log: Log, clock: Clock = REAL) -> AsyncIterator[Exporter]:
    """The exporter with its state open and what is known shown, not polling yet.

    Raises ``StorageError`` where the state cannot be used, ``Unauthorized`` where the token can be none.
    """
    started = clock.now()
    telemetry = Telemetry(catalog.families(parts.shown(config)), version=__version__, started=started)
    telemetry.config_loaded(True, started)
    telemetry.is_shard(config.shard.index, config.shard.count)

    def told(what: SetAside) -> None:
        log.error("damaged state set aside", **parts.set_aside_in_words(what, config))

    def rewritten(what: Rewritten) -> None:
        telemetry.not_committed()
        log.error("state file was gone", **parts.rewritten_in_words(what))

    tenure = Tenure() if config.state.replicas else None
    state = await opened(config, clock, committed=telemetry.committed, told=told, rewritten=rewritten, tenure=tenure)
    storage = Overlay(state, log, clock=clock.now, failed=telemetry.not_committed)
    try:
        telemetry.state(state.size, lambda: state.created, set_aside=state.set_aside, uncommitted=storage.uncommitted)
        if state.created >= started:
            log.info("new state begun", state=parts.state_in_words(config), backfill=parts.backfill_in_words(config))
        async with connected(config, telemetry, clock) as client:
            exporter = Exporter(config, log, client, state, storage, telemetry, clock, tenure)
            await exporter.fleet.resume(await storage.agents())
            try:
                yield exporter
            finally:
                if exporter.member is not None:
                    await exporter.member.close()
    finally:
        await storage.close()


async def opened(
    config: Config,
    clock: Clock,
    *,
    committed: Callable[[float], None],
    told: Callable[[SetAside], None],
    rewritten: Callable[[Rewritten], None] = lambda what: None,
    tenure: Tenure | None = None,
) -> State:
    """The state that the settings name: alone, unless there is a ``tenure`` to share it by.

    Raises ``StorageError`` where it cannot be used.
    """
    if config.state.url is None:
        return await SqliteStorage.open(
            config.state.path, clock=clock.now, committed=committed, told=told, rewritten=rewritten
        )
    with _psycopg():
        from exporter.tracking import postgres
    target = postgres.Target(url=config.state.url, password_file=config.state.password_file)
    return await postgres.PostgresStorage.open(
        target,
        shared=tenure is not None,
        fence=None if tenure is None else postgres.fence(tenure),
        clock=clock.now,
        committed=committed,
        elapsed=clock.elapsed,
    )


@contextmanager
def _psycopg() -> Iterator[None]:
    """To import what needs psycopg within, since only who uses it needs to have it, or to wait for it. Raises
    ``StorageError`` where it is missing."""
    try:
        yield
    except ImportError as error:
        raise StorageError(f"state.url needs psycopg ({error}): pip install 'unpod-exporter[postgresql]'") from error


async def probe_state(config: Config, say: Callable[[Finding], None]) -> bool:
    """Looks at the file or the database that is to hold the state, and ``say``s what came of it; whether that is
    well."""
    try:
        words, well = await _probed(config), True
    except StorageError as error:
        words, well = str(error), False
    say(Finding(what="state", words=words, well=well))
    return well


async def _probed(config: Config) -> str:
    url, path = config.state.url, config.state.path
    if url is None:
        return "in memory alone: what is counted is lost when the exporter ends" if path is None else probe_file(path)
    with _psycopg():
        from exporter.tracking import postgres
    return await postgres.probe(postgres.Target(url=url, password_file=config.state.password_file), postgres.Limits())


@asynccontextmanager
async def connected(config: Config, telemetry: Telemetry | None = None, clock: Clock = REAL) -> AsyncIterator[Client]:
    """A client of the platform. Raises ``Unauthorized`` where the token can be none."""
    async with Client(
        parts.settings(config),
        parts.token(config),
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


async def probe_platform(config: Config, say: Callable[[Finding], None]) -> bool:
    """Asks the platform step by step and ``say``s what came of it; whether all of it is well."""
    choice = parts.plan(config).choice
    named = [agent.handle for agent in config.agents]
    well = True
    async with connected(config) as client:
        async for finding in probe(client, named=named, choice=choice, organisation=config.api.org_handle):
            say(finding)
            well = well and finding.well
    return well


async def poll_once(config: Config, log: Log, display: Display) -> tuple[str, bool]:
    """Polls every agent once; the metrics as text, and whether all went well."""
    alone = msgspec.structs.replace(config, state=msgspec.structs.replace(config.state, replicas=False))
    async with assembled(alone, log) as exporter:
        with display:
            exporter.shows_progress(display)
            outcomes = await exporter.fleet.once()
        failed = any(outcome.error is not None for outcome in outcomes.values())
        return exporter.text(), not (failed or exporter.fleet.lacks_agents)
