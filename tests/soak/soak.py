"""A soak: time stands still while all agents are read, every number is compared with the truth, and time jumps on.

At such a moment anything may happen: the platform stumbles in some way, the exporter is killed or stopped, people look
at its pages. And time may go on while the platform fails altogether. So a task is looked at in the moments that are
compared and in no others, and the oracle is told one look at each task for each of them.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from exporter.simulator.truth import Created
from tests.service.running import LEGACY, SALES, SUPPORT, Platform, Process, counts_of, kept, samples, started, written
from tests.service.test_killing import GRACE, numbers_of
from tests.soak import process
from tests.truth.faults import BREAKING, HARMLESS
from tests.truth.oracle import Key, Oracle, Timeline

AGENTS: Final = tuple(
    msgspec.structs.replace(
        profile,
        redialled=0.3,
        restarted=0.8,
        recovered=0.3,
        retry_unanswered=0.9,
        retry_delay=(5.0, 120.0),
        redial_delay=(5.0, 300.0),
        restart_delay=(30.0, 300.0),
    )
    for profile in (SALES, SUPPORT, LEGACY)
)
FAILING: Final = (*BREAKING, "black_hole", "huge")
"""Faults that leave no data; the last two need the short patience and the small answers that are set here."""
STUMBLING: Final = (*FAILING, *HARMLESS, "slow_drip")
SETTLING: Final = 1200.0
"""Seconds; longer than anything here takes to change again, so that every change is seen at the moment after it."""
_STEP: Final = (30.0, 90.0)
"""Seconds from one moment to the next."""
_PAGES: Final = ("/", "/api/agents", "/metrics", "/-/ready", "/-/healthy")


class Measured(msgspec.Struct, frozen=True):
    """What has been seen so far."""

    hours: float
    moments: int
    tasks: int
    faults: int
    kills: int
    resident: int
    """Bytes."""


class Soak:
    """One exporter beside one platform. ``said`` is told after each simulated hour what has been seen so far."""

    def __init__(
        self, made: Platform, folder: Path, random: Random, stack: AsyncExitStack, said: Callable[[Measured], None]
    ) -> None:
        self._made, self._folder, self._random, self._stack, self._said = made, folder, random, stack, said
        self._oracles = {handle: Oracle(settling=SETTLING) for handle in made.world.handles}
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._born: dict[tuple[str, str], float] = {}
        self._heard = 0
        self._shown: dict[str, float] = {}
        self._process: Process | None = None
        self._clock = folder / "clock"
        self._config = str(written(folder, self._settings()))
        self._moments = self._faults = self._kills = 0
        self._begun = made.clock.now
        self._waits(0.0)

    async def run(self, hours: float, *, quiet_from: float) -> Measured:
        """Goes on for so many simulated hours; after ``quiet_from`` hours the exporter is left alive, so that its
        memory can be watched."""
        told = 0
        while (passed := (self._made.clock.now - self._begun) / 3600) < hours:
            await self._something_happens(deadly=passed < quiet_from)
            await self._compare()
            self._waits(self._random.uniform(*_STEP))
            if int(passed) > told:
                told = int(passed)
                self._said(await self._measured())
        found = await self._measured()
        assert (await (await self._alive()).stop()).code == 0
        self._listens()
        return found

    def _settings(self) -> dict[str, object]:
        return self._made.settings(
            api={"timeout": "300ms", "max_response_bytes": "4MiB", "page_size": 50},
            polling={"interval": "10s", "settling_time": "20m"},
        )

    def _waits(self, seconds: float) -> None:
        self._made.clock.now += seconds
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(repr(self._made.clock.now))
        fresh.replace(self._clock)

    async def _alive(self) -> Process:
        if self._process is None or not self._process.alive:
            words = (self._config, str(self._folder / "state.db"), str(self._clock))
            self._process = await self._stack.enter_async_context(
                started(self._folder, *words, module=str(Path(process.__file__)))
            )
            self._never_goes_back((await self._process.get()).text)
        return self._process

    async def _something_happens(self, *, deadly: bool) -> None:
        alive, dice = await self._alive(), self._random.random()
        if dice < 0.1:
            await self._platform_stumbles(alive)
        elif dice < 0.2:
            await self._platform_fails(alive)
        elif dice < 0.23 and deadly:
            self._kills += 1
            self._listens()
            await alive.stop(self._random.choice((signal.SIGKILL, signal.SIGTERM)))
        elif dice < 0.5:
            assert (await alive.get(self._random.choice(_PAGES))).status in (200, 503)

    async def _platform_stumbles(self, alive: Process) -> None:
        """Now and then, for everybody or for one agent, while time stands still."""
        agent = self._random.choice((None, *self._made.world.handles))
        self._breaks(STUMBLING, agent=agent, probability=self._random.uniform(0.3, 1.0))
        await alive.polled(2)
        self._made.faults.clear()

    async def _platform_fails(self, alive: Process) -> None:
        """Altogether, while time goes on."""
        self._breaks(FAILING)
        await self._all_fail(alive)
        for _ in range(self._random.randint(1, 3)):
            self._waits(self._random.uniform(*_STEP))
            await self._all_fail(alive)
        self._made.faults.clear()

    def _breaks(self, kinds: tuple[str, ...], **options: Any) -> None:
        kind, cut = self._random.choice(kinds), self._random.choice(("plain", "chunked", "gzip", "json"))
        self._made.fails(kind, cut=cut, retry_after=20.0, pause=0.05, **options)
        self._faults += 1

    async def _all_fail(self, alive: Process) -> None:
        """Waits until nobody is in the middle of a poll that may still succeed."""
        failures = "unpod_agent_poll_failures_total"
        before = by_agent(await alive.numbers(), failures)
        await alive.until_shown(
            lambda shown: all(
                by_agent(shown, failures).get(agent, 0) > before.get(agent, 0) for agent in self._made.world.handles
            )
        )

    async def _compare(self) -> None:
        """Every number after all agents have been read whole at this moment."""
        alive = await self._alive()
        await alive.ready()
        await self._polled_well(alive)
        text = (await alive.get()).text
        self._never_goes_back(text)
        self._moments += 1
        self._look()
        list(text_string_to_metric_families(text))
        for handle, oracle in self._oracles.items():
            numbers = oracle.numbers | oracle.gauges(self._made.clock.now, grace=GRACE)
            wanted: dict[Key, float] = {key: value for key, value in numbers.items() if value}
            found = numbers_of(text, handle)
            wrong = {key: (found.get(key), wanted.get(key)) for key in found.keys() | wanted.keys()}
            wrong = {key: pair for key, pair in wrong.items() if pair[0] != pair[1]}
            assert not wrong, f"{handle} after {self._moments} comparisons: found and wanted: {wrong}"

    async def _polled_well(self, alive: Process) -> None:
        """Waits until each agent has had two more polls that succeeded: the second has surely begun in this moment."""

        def succeeded(shown: dict[str, float]) -> dict[str, float]:
            polls, failures = (by_agent(shown, f"unpod_agent_poll{kind}_total") for kind in ("s", "_failures"))
            return {agent: count - failures.get(agent, 0) for agent, count in polls.items()}

        before = succeeded(await alive.numbers())
        await alive.until_shown(
            lambda shown: all(count >= before[agent] + 2 for agent, count in succeeded(shown).items())
        )

    def _look(self) -> None:
        """The oracles look at every task as it is now."""
        events = self._made.world.truth
        for event in events[self._heard :]:
            self._timelines.setdefault((event.agent, event.task), Timeline()).add(event)
            if isinstance(event, Created):
                self._born[(event.agent, event.task)] = event.at
        self._heard = len(events)
        now = self._made.clock.now
        for (agent, task), timeline in self._timelines.items():
            if self._born[(agent, task)] <= now:
                self._oracles[agent].look(task, timeline.at(now), now)

    def _never_goes_back(self, text: str) -> None:
        now = kept(samples(text))
        assert {key: (value, now.get(key)) for key, value in self._shown.items() if now.get(key, -1) < value} == {}
        self._shown = now

    def _listens(self) -> None:
        """No defect is in the log."""
        assert self._process is not None
        assert "Traceback" not in self._process.err
        assert [event for event in self._process.events() if event["level"] == "error"] == []

    async def _measured(self) -> Measured:
        alive = await self._alive()
        self._listens()
        shown = await alive.numbers()
        return Measured(
            hours=(self._made.clock.now - self._begun) / 3600,
            moments=self._moments,
            tasks=len(self._timelines),
            faults=self._faults,
            kills=self._kills,
            resident=int(shown["process_resident_memory_bytes"]),
        )


def by_agent(shown: Mapping[str, float], family: str) -> dict[str, float]:
    """The samples of a family, added up for each agent."""
    found: Counter[str] = Counter()
    for key, value in counts_of(shown, family).items():
        found[key.partition('agent="')[2].partition('"')[0]] += value
    return dict(found)
