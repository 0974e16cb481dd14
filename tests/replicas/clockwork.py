"""Replicas in this process on a real PostgreSQL, whose clock and theirs are one that is moved by hand: so what they
promise in seconds holds to the second, however slow the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, NamedTuple, TypeVar

import psycopg

from exporter.tracking.postgres import Limits, PostgresStorage, Target
from exporter.tracking.postgres.registry import Leases
from exporter.tracking.replicas.member import Member
from exporter.tracking.replicas.quotas import View
from exporter.tracking.replicas.registry import Change, Me, Tenure
from tests.tracking.crew import Log

T = TypeVar("T")

SETTLED: Final = 20
"""Turns of the event loop in which nobody asks the database, after which nobody will before time moves on."""
ALLOWED: Final = 60
"""Requests within a minute."""
NO_LIMIT: Final = Limits(connect=600.0, work=600.0)


@contextmanager
def clock_of(database: str, *, faster: float) -> Iterator[str]:
    """The URL of a database in whose sessions ``clock_timestamp()`` goes so many times faster, or, by 0, stands still
    until it is moved."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA clockwork")
        admin.execute(
            "CREATE TABLE clockwork.time AS"
            " SELECT pg_catalog.clock_timestamp() AS at, pg_catalog.clock_timestamp() AS began, %s::float8 AS faster",
            [faster],
        )
        admin.execute(
            "CREATE FUNCTION clockwork.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            " 'SELECT at + (pg_catalog.clock_timestamp() - began) * faster FROM clockwork.time'"
        )
        try:
            yield f"{database}?options=-csearch_path%3Dclockwork,pg_catalog"
        finally:
            admin.execute("DROP SCHEMA clockwork CASCADE")


class Moment(NamedTuple):
    """An agent is held by a replica from now on, or not any more."""

    at: float
    agent: str
    holder: str | None


class Time:
    """Seconds since it began, for everybody and for the database."""

    def __init__(self, database: str) -> None:
        self.now = 0.0
        self.asking = 0
        """How many wait for the database at this moment."""
        self._admin = psycopg.connect(database, autocommit=True)
        self._sleepers: dict[asyncio.Event, float] = {}

    def close(self) -> None:
        self._admin.close()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers[woken] = self.now + seconds
        try:
            await woken.wait()
        finally:
            self._sleepers.pop(woken, None)

    async def passes(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Time goes on by so much, or until something is so; whether it is."""
        end = self.now + seconds
        await self.settled()
        while not until():
            if self.now >= end:
                return False
            self._move(min(end, *self._sleepers.values()))
            await self.settled()
        return True

    def _move(self, now: float) -> None:
        self._admin.execute("UPDATE clockwork.time SET at = at + make_interval(secs => %s)", [now - self.now])
        self.now = now
        for woken, at in self._sleepers.items():
            if at <= now:
                woken.set()

    async def settled(self) -> None:
        """Waits until everybody has done what is to be done now."""
        quiet = 0
        while quiet < SETTLED:
            await asyncio.sleep(0.001 if self.asking else 0)
            quiet = 0 if self.asking else quiet + 1

    async def asked(self, answer: Awaitable[T]) -> T:
        self.asking += 1
        try:
            return await answer
        finally:
            self.asking -= 1


class Watched:
    """A registry, and how many wait for it."""

    def __init__(self, leases: Leases, time: Time) -> None:
        self._leases, self._time = leases, time

    async def join(self, me: Me, seconds: float) -> View:
        return await self._time.asked(self._leases.join(me, seconds))

    async def renew(self, me: Me, seconds: float) -> View | None:
        return await self._time.asked(self._leases.renew(me, seconds))

    async def change(self, me: Me, decide: Callable[[View], Change]) -> View | None:
        return await self._time.asked(self._leases.change(me, decide))

    async def release(self, me: Me, agents: Iterable[str]) -> View:
        return await self._time.asked(self._leases.release(me, list(agents)))

    async def forget(self, me: Me, agents: Iterable[str]) -> View:
        return await self._time.asked(self._leases.forget(me, list(agents)))

    async def leave(self, me: Me, begun: int) -> None:
        await self._time.asked(self._leases.leave(me, begun))

    async def close(self) -> None:
        await self._leases.close()


class Crew:
    """Polls whatever it is told to, and remembers when."""

    choice = "all"
    busy: tuple[str, ...] = ()

    def __init__(self, name: str, agents: Iterable[str], time: Time, moments: list[Moment]) -> None:
        self.wanted = tuple(agents)
        self.trackers: set[str] = set()
        self._name, self._time, self._moments = name, time, moments

    def wants(self, agent: str) -> bool:
        return agent in self.wanted

    async def hold(self, agent: str) -> bool:
        self.trackers.add(agent)
        self._moments.append(Moment(self._time.now, agent, self._name))
        return True

    def hide(self, agent: str) -> None:
        if agent in self.trackers:
            self.trackers.remove(agent)
            self._moments.append(Moment(self._time.now, agent, None))

    async def release(self, agent: str) -> None:
        self.hide(agent)


class Replica:
    """One that may die at any moment."""

    def __init__(self, name: str, url: str, agents: Iterable[str], lease: float, time: Time, moments: list[Moment]):
        self.crew = Crew(name, agents, time, moments)
        self.member = Member(
            Watched(Leases(Target(url=url), limits=NO_LIMIT, elapsed=lambda: time.now), time),
            self.crew,
            Tenure(),
            name=name,
            lease=lease,
            log=Log(),
            allowed=lambda: ALLOWED,
            begun=lambda: 0,
            allow=lambda share: None,
            lost=lambda many: None,
            now=lambda: time.now,
            elapsed=lambda: time.now,
            sleep=time.sleep,
        )
        self._run = asyncio.create_task(self.member.run())

    async def dies(self) -> None:
        """As by SIGKILL: nothing is let go of."""
        self._run.cancel()
        await asyncio.wait([self._run])

    async def ends(self) -> None:
        """In order."""
        await self.member.leave()
        await self.dies()


class Group:
    """Replicas that share agents."""

    def __init__(self, url: str, time: Time, lease: float, agents: Iterable[str]) -> None:
        self.time, self.agents = time, tuple(agents)
        self.moments: list[Moment] = []
        self.replicas: dict[str, Replica] = {}
        self._url, self._lease = url, lease

    def starts(self, *names: str) -> None:
        for name in names:
            self.replicas[name] = Replica(name, self._url, self.agents, self._lease, self.time, self.moments)

    @property
    def even(self) -> bool:
        """Whether each agent is held by one that lives, by each as many as by any other."""
        held = [len(one.crew.trackers) for one in self.replicas.values()]
        return sum(held) == len(self.agents) and max(held) - min(held) <= 1

    @property
    def shares(self) -> list[int]:
        """How many requests within a minute each may begin."""
        return [one.member.standing.share for one in self.replicas.values()]

    async def dies(self, name: str) -> frozenset[str]:
        """What it has held."""
        dead = self.replicas.pop(name)
        await dead.dies()
        await dead.member.close()
        return frozenset(dead.crew.trackers)

    async def ends(self, name: str) -> None:
        ended = self.replicas.pop(name)
        await ended.ends()
        await ended.member.close()

    def forgets(self) -> float:
        """What was held until now does not matter any more; returns the time."""
        self.moments.clear()
        return self.time.now

    def taken(self) -> dict[str, float]:
        """When each agent was taken since then."""
        return {one.agent: one.at for one in reversed(self.moments) if one.holder is not None}

    def gaps(self) -> dict[str, float]:
        """For how many seconds nobody held each agent that was let go of since then."""
        gone = {one.agent: one.at for one in self.moments if one.holder is None}
        return {agent: at - gone[agent] for agent, at in self.taken().items()}


@asynccontextmanager
async def grouped(database: str, *, lease: float, agents: Iterable[str]) -> AsyncIterator[Group]:
    """A group that nobody has joined yet."""
    with clock_of(database, faster=0.0) as url:
        storage = await PostgresStorage.open(Target(url=url), shared=True)
        time = Time(database)
        group = Group(url, time, lease, agents)
        try:
            yield group
        finally:
            for name in tuple(group.replicas):
                await group.dies(name)
            time.close()
            await storage.close()


def agents(many: int) -> list[str]:
    return [f"agent-{number:02}" for number in range(many)]
