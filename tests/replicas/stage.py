"""Three replicas as processes, a platform whose time stands still until it is moved, a PostgreSQL server that each
reaches through a proxy of its own, and a real Prometheus that scrapes them all and remembers.

A task is looked at in the moments at which time stands still, and every agent is read in each of them, by whomever: so
the oracle knows what every number must be, whatever becomes of replicas, connections and the server.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from exporter.simulator.profiles import Profile
from exporter.simulator.truth import Created
from tests import postgres
from tests.prometheus.running import Prometheus, prometheus
from tests.proxy import Proxy, proxied
from tests.replicas import process
from tests.service.running import SALES, SUPPORT, Platform, Process, fetched, platform, started, until, written
from tests.service.test_killing import CATALOG, numbers_of
from tests.truth.oracle import Key, Oracle, Timeline

LEASE: Final = 5.0
INTERVAL: Final = 5.0
"""Seconds between two polls of an agent."""
SCRAPE: Final = 1.0
"""Seconds between two scrapes."""
SCRAPED, AS_ONE = "unpod", "unpod-as-one"
"""What Prometheus calls what it has scraped: as it is, and with one series of an agent, whoever shows it."""
STEP: Final = 100.0
"""Seconds by which time is moved. No clock is wrong by so much that a look falls into another step."""
SETTLING: Final = 12.5 * STEP
PAUSE: Final = 0.3
"""Seconds between two looks at what replicas show."""
SKEWS: Final = (0.0, -20.0, 20.0)
BY_CLOCK: Final = (
    "oldest_open_task_timestamp_seconds",
    "tasks_overdue",
    "last_call_end_timestamp_seconds",
    "open_runs",
)
"""Gauges that are taken by the clock of whoever looks, or tell of moments by it."""
ROOT: Final = Path(__file__).parents[2]
EVALUATION: Final = 3.0
"""Seconds between two evaluations of the rules."""


def agents(many: int) -> tuple[Profile, ...]:
    return tuple(
        msgspec.structs.replace(profile, handle=f"agent-{number:02}", live_tasks_per_hour=240.0, tasks_per_hour=20.0)
        for number, profile in zip(range(many), (SALES, SUPPORT) * many, strict=False)
    )


class Seen(NamedTuple):
    """One sample that Prometheus has scraped."""

    at: float
    instance: str
    value: float


class Replica:
    """One of them; ``process`` is None while it is not running."""

    def __init__(self, name: str, skew: float, proxy: Proxy) -> None:
        self.name, self.skew, self.proxy = name, skew, proxy
        self.port = _free_port()
        self.process: Process | None = None
        self.is_asleep = False

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    @property
    def answers(self) -> bool:
        """Whether it could be scraped."""
        return self.process is not None and not self.is_asleep

    def sleep(self) -> None:
        """Stops it in the middle of whatever it does."""
        self.running.send(signal.SIGSTOP)
        self.is_asleep = True

    def wake(self) -> None:
        """It goes on as if no time had passed."""
        self.running.send(signal.SIGCONT)
        self.is_asleep = False

    async def shown(self) -> str:
        """What a scrape would get."""
        return (await fetched(f"http://127.0.0.1:{self.port}/metrics")).text


class Stage:
    """All of it."""

    def __init__(
        self,
        made: Platform,
        folder: Path,
        server: postgres.Server,
        database: str,
        replicas: Sequence[Replica],
        stack: AsyncExitStack,
    ) -> None:
        self.made, self.server, self.replicas = made, server, tuple(replicas)
        self.prometheus: Prometheus
        self.begun = time.time()
        self._folder, self._stack, self._database = folder, stack, database
        self._oracles = {handle: Oracle(settling=SETTLING) for handle in made.world.handles}
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._born: dict[tuple[str, str], float] = {}
        self._heard = 0
        self._clock = folder / "clock"
        self._moves(0.0)

    # What happens

    async def start(self, *replicas: Replica) -> None:
        """Starts replicas; they listen when this returns, and hold nothing yet."""
        for one in replicas:
            settings = self.made.settings(
                # In small pages a long story is read for longer than it takes to tell.
                api={"page_size": 200},
                polling={"interval": f"{INTERVAL:g}s", "settling_time": f"{SETTLING:g}s"},
                state={"url": one.proxy.url(self._database), "replicas": True, "lease": f"{LEASE:g}s"},
            )
            config = written(self._folder, settings, f"{one.name}.yaml")
            words = (str(config), str(self._clock), str(one.skew), str(one.port))
            one.process = await self._stack.enter_async_context(
                started(self._folder, *words, module=str(Path(process.__file__)))
            )
        for one in replicas:
            await one.running.url()

    async def kill(self, one: Replica) -> None:
        await one.running.stop(signal.SIGKILL)
        one.process = None

    async def stop(self, one: Replica) -> None:
        """Asks it to end, and waits until it has."""
        ran = await one.running.stop()
        assert ran.code == 0, ran.err
        assert "Traceback" not in ran.err
        one.process = None

    def _moves(self, seconds: float) -> None:
        self.made.clock.now += seconds
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(repr(self.made.clock.now))
        fresh.replace(self._clock)

    # What must be

    async def step(self) -> None:
        """Time moves on, and every number becomes what the truth says."""
        self._moves(STEP)
        await self.true()

    async def true(self, patience: float = 180.0) -> float:
        """Waits until every number is what the truth says, each shown by one replica alone; returns in how many
        seconds."""
        self._look()
        began = time.monotonic()
        wrong: object = None

        async def is_true() -> bool:
            nonlocal wrong
            await asyncio.sleep(PAUSE)
            wrong = await self._wrong()
            return not wrong

        try:
            await until(is_true, patience)
        except AssertionError:
            raise AssertionError(f"found and wanted: {wrong}") from None
        return time.monotonic() - began

    async def shares(self) -> list[int]:
        """How many agents each of those that run shows."""
        return [len(await self._agents_of(one)) for one in self.replicas if one.answers]

    async def even(self) -> None:
        """Waits until all agents are shown, by each as many as by any other."""

        async def is_even() -> bool:
            await asyncio.sleep(PAUSE)
            shares = await self.shares()
            return sum(shares) == len(self._oracles) and max(shares) - min(shares) <= 1

        await until(is_even)

    async def holders(self) -> dict[str, str]:
        """Which replica shows each agent."""
        return {agent: one.name for one in self.replicas if one.answers for agent in await self._agents_of(one)}

    async def shown_by_nobody(self) -> None:
        """Waits until no replica shows any agent."""

        async def is_so() -> bool:
            await asyncio.sleep(PAUSE)
            return not any(await self.shares())

        await until(is_so)

    async def _agents_of(self, one: Replica) -> set[str]:
        return shown_in(await one.shown())

    async def _wrong(self) -> dict[str, object]:
        texts: dict[str, list[str]] = defaultdict(list)
        for one in self.replicas:
            if one.answers:
                for handle, text in apart(await one.shown()).items():
                    texts[handle].append(text)
        wrong: dict[str, object] = {}
        for handle, oracle in self._oracles.items():
            if len(texts[handle]) != 1:
                wrong[handle] = f"shown by {len(texts[handle])}"
                continue
            # What is between replicas and their database runs in this process, too.
            await asyncio.sleep(0)
            numbers = oracle.numbers | oracle.gauges(self.made.clock.now, grace=0.0)
            found, wanted = (
                {key: value for key, value in told.items() if value and key[0] not in BY_CLOCK}
                for told in (numbers_of(texts[handle][0], handle), numbers)
            )
            if found != wanted:
                wrong[handle] = _differences(found, wanted)
        return wrong

    def _look(self) -> None:
        """The oracles look at every task as it is now."""
        self.made.world.advance(self.made.clock.now)
        events = self.made.world.truth
        for event in events[self._heard :]:
            self._timelines.setdefault((event.agent, event.task), Timeline()).add(event)
            if isinstance(event, Created):
                self._born[(event.agent, event.task)] = event.at
        self._heard = len(events)
        now = self.made.clock.now
        for (agent, task), timeline in self._timelines.items():
            if self._born[(agent, task)] <= now:
                self._oracles[agent].look(task, timeline.at(now), now)

    def happened(self, agent: str, family: str) -> float:
        """What the series of a counter must add up to."""
        source = CATALOG[family].source
        return float(sum(value for key, value in self._oracles[agent].numbers.items() if key[0] == source))

    # What was scraped

    async def scraped(self, family: str, job: str = SCRAPED) -> dict[str, dict[str, list[Seen]]]:
        """Every sample of a family since the beginning, by agent and by the labels beside it, in the order of time."""
        span = int(time.time() - self.begun) + 5
        found: dict[str, dict[str, list[Seen]]] = defaultdict(lambda: defaultdict(list))
        answer = await self.prometheus.api("query", query=f'{family}{{job="{job}"}}[{span}s]')
        for series in answer["result"]:
            labels = dict(series["metric"])
            instance, agent = labels.pop("instance"), labels.pop("agent")
            found[agent][repr(sorted(labels.items()))] += [
                Seen(float(at), instance, float(value)) for at, value in series["values"]
            ]
        return {agent: {key: sorted(seen) for key, seen in kinds.items()} for agent, kinds in found.items()}


def documented_scraping() -> dict[str, Any]:
    """What docs/replicas.md says Prometheus should have."""
    text = (ROOT / "docs" / "replicas.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", text, re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def _rules(folder: Path) -> Path:
    """The shipped recording rules about increases, in one file, with what they are made of. All of them for so many
    agents so often would leave the replicas nothing of a small machine."""
    shipped = yaml.safe_load((ROOT / "prometheus" / "rules" / "recording.yml").read_text(encoding="utf-8"))
    (group,) = (group for group in shipped["groups"] if group["name"] == "unpod-agents")
    about = re.compile(
        r"agent:unpod_agent_(up|unseen):|agent\w*:unpod_(calls|task_transitions|task_retries):increase1h"
    )
    rules = [rule for rule in group["rules"] if about.match(rule["record"])]
    file = folder / "rules.yml"
    some = {**group, "interval": f"{EVALUATION:g}s", "rules": rules}
    file.write_text(yaml.safe_dump({"groups": [some]}, sort_keys=False), encoding="utf-8")
    return file


def shown_in(text: str) -> set[str]:
    """The agents of which a scrape tells anything."""
    return set(apart(text))


def apart(text: str) -> dict[str, str]:
    """What a scrape tells of each agent."""
    found: dict[str, list[str]] = defaultdict(list)
    heads: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            heads[line.split(" ", 3)[2]] = heads.get(line.split(" ", 3)[2], "") + line + "\n"
            family = line.split(" ", 3)[2]
        elif (agent := line.partition('agent="')[2].partition('"')[0]) and agent in line:
            if (head := heads[family]) not in found[agent]:
                found[agent].append(head)
            found[agent].append(line + "\n")
    return {agent: "".join(lines) for agent, lines in found.items()}


def gaps(seen: Sequence[Seen], begin: float, end: float) -> list[float]:
    """For how many seconds a series was missing where another replica than before began to show it, within a span."""
    return [
        after.at - before.at
        for before, after in pairwise(seen)
        if before.instance != after.instance and begin - 1.5 * SCRAPE <= before.at and after.at <= end
    ]


def doubled(seen: Sequence[Seen]) -> int:
    """How many scrapes in a row, at most, a series was shown by two replicas with different numbers."""
    worst = now = 0
    last: dict[str, Seen] = {}
    for one in seen:
        last[one.instance] = one
        # Whoever shows it still has shown it since the last scrape of the others.
        shown = [other for other in last.values() if one.at - other.at < SCRAPE * 1.5]
        now = now + 1 if len({other.value for other in shown}) > 1 and _go_on(shown, seen, one.at) > 1 else 0
        worst = max(worst, now)
    return worst


def _go_on(shown: Sequence[Seen], seen: Sequence[Seen], at: float) -> int:
    """How many of those who have shown it will show it again: whoever has handed it over will not."""
    soon = {other.instance for other in seen if at <= other.at < at + SCRAPE * 1.5}
    return sum(one.instance in soon for one in shown)


def _differences(found: dict[Key, float], wanted: dict[Key, float]) -> dict[Key, Any]:
    return {
        key: (found.get(key), wanted.get(key))
        for key in found.keys() | wanted.keys()
        if found.get(key) != wanted.get(key)
    }


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def staged(folder: Path, *, many: int = 60, seed: int = 7) -> AsyncIterator[Stage]:
    """All of it, with no replica started yet."""
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(platform(*agents(many), seed=seed, history=0.5))
        server = await asyncio.to_thread(stack.enter_context, postgres.running())
        replicas = [
            Replica(f"replica-{number}", skew, await stack.enter_async_context(proxied(server.port)))
            for number, skew in enumerate(SKEWS)
        ]
        stage = Stage(made, folder, server, server.database(), replicas, stack)
        targets = [{"targets": [f"127.0.0.1:{one.port}"], "labels": {"instance": one.name}} for one in replicas]
        (documented,) = documented_scraping()["scrape_configs"]
        jobs = [
            {"job_name": SCRAPED, "static_configs": targets},
            {**documented, "job_name": AS_ONE, "static_configs": targets},
        ]
        scraping = {"scrape_configs": jobs, "rule_files": [str(_rules(folder))]}
        stage.prometheus = await stack.enter_async_context(prometheus(folder, scraping))
        yield stage
