"""One replica among others: renews what it holds, gives back what is too much, takes what is free.

It holds what it holds only as long as it can be sure of that. Sure it is from each renewal until somewhat before that
runs out, by a clock that never jumps, counted from when the renewal was sent; the database counts from when it came, so
nobody else takes anything before. Whoever is not sure asks the platform for nothing, counts nothing and shows no agent,
from that very moment: whoever polls or shows asks ``is_sure`` each time, so a process that was stopped for a while and
goes on does nothing in between.

So a replica without database shows its last numbers for as long as it is sure, and none of them afterwards, although
they could be shown until they are stale if only the database was down for all. It cannot know: if it alone is cut off,
another one polls its agents by now. Then old gauges beside new ones would be wrong numbers, which are worse than none;
and counters lose nothing by a gap. Those who think that their database may be away for longer have a longer lease.
When it is back, whoever held an agent still does, unless somebody else could take it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from exporter.tracking.log import Log, whereabouts
from exporter.tracking.replicas.quotas import View, claim, fair_share, idle_first, step
from exporter.tracking.replicas.registry import Change, Me, Registry, Tenure
from exporter.tracking.storage import StorageError

_SURE: Final = 0.8
"""The part of a lease during which its holder is sure of it. The rest is for answers that take long to arrive, and for
databases that take each other's place and whose clocks differ."""
_BEAT: Final = 1.0
"""Seconds between two renewals, so that agents move within a second or two, unless a lease is very short."""
_BEATS: Final = 10
"""How many renewals a lease has time for, at least."""
_COMING_BACK: Final = 1 / 3
"""For this part of a lease a replica that was without database itself leaves the others time to come back, too: where
they were away together, they all keep what they had."""
_PARTING: Final = 5.0
"""Seconds that a replica which ends has to say so; otherwise its leases run out."""


class Crew(Protocol):
    """Those who poll agents, as far as a replica tells them to."""

    @property
    def choice(self) -> str:
        """Stands for which agents the settings want."""

    @property
    def wanted(self) -> Collection[str]:
        """The agents that it has found and would poll if it was alone."""

    @property
    def wants(self) -> Callable[[str], bool]:
        """Whether the settings want an agent that another one has found. May be asked in any thread."""

    @property
    def trackers(self) -> Collection[str]:
        """The agents that it polls and shows. Other settings may have taken some away, and given them back."""

    @property
    def busy(self) -> Collection[str]:
        """The agents that are being polled at this moment."""

    async def hold(self, agent: str) -> bool:
        """Polls and shows an agent from now on; not, if it turns out to be wanted no more."""

    def hide(self, agent: str) -> None:
        """Shows an agent no more, from this moment until it is held anew."""

    async def release(self, agent: str) -> None:
        """Neither polls nor shows an agent any more, once this returns."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a replica stands among the others, for metrics and pages."""

    replica: str
    """What it is called."""
    sure: bool
    """It may ask, count and show."""
    renewed: float | None
    """When it renewed what it holds last, in Unix seconds; None: never yet."""
    held: int
    """Agents that it holds."""
    share: int
    """Requests within a minute that it may begin."""
    alive: int
    """How many replicas there are, as far as it knows."""
    elsewhere: Mapping[str, str] = {}
    """The agents that others hold, and what those are called."""
    free: tuple[str, ...] = ()
    """The agents that nobody holds."""


class Member:
    """One replica, which keeps ``tenure``.

    ``name`` is for people; ``lease`` is in seconds of ``elapsed``, which never jumps, while ``now`` gives Unix seconds.
    ``allowed`` tells how many requests within a minute all replicas may begin, ``begun`` how many this one has begun
    within the last one, and ``allow`` is told how many of them it may. ``lost`` is told of agents that were taken.
    """

    def __init__(
        self,
        registry: Registry,
        crew: Crew,
        tenure: Tenure,
        *,
        name: str,
        lease: float,
        log: Log,
        allowed: Callable[[], int],
        begun: Callable[[], int],
        allow: Callable[[int], None],
        lost: Callable[[int], None],
        now: Callable[[], float],
        elapsed: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._crew = crew
        self._name = name
        self._lease = lease
        self._log = log
        self._allowed = allowed
        self._begun = begun
        self._allow = allow
        self._tell_lost = lost
        self._now = now
        self._elapsed = elapsed
        self._sleep = sleep
        self._tenure = tenure
        self._joined = False
        self._sure_until = float("-inf")
        self._renewed: float | None = None
        self._patient_until = float("-inf")
        self._turn = asyncio.Lock()
        self._view = View()
        """What the database told last; nothing is asked of it but in turn, so this never goes back."""
        self._news = asyncio.Event()
        self._share = 0
        self._trouble: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._rename()

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    @property
    def is_sure(self) -> bool:
        """Whether what it holds is certainly nobody else's at this moment."""
        return self._elapsed() < self._sure_until

    @property
    def may_ask(self) -> bool:
        """Whether the platform may be asked."""
        return self.is_sure and self._share > 0 and self._trouble is None

    def waits_for(self) -> str | None:
        """Why this replica cannot be of use yet; None: it can, even where the others leave nothing to it."""
        return None if self._renewed is not None else self._trouble or "the database has not been reached yet"

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        names = {one.id: one.name for one in self._view.replicas if one.alive}
        others = {lease.agent: names[lease.holder] for lease in self._view.leases if lease.holder in names}
        return Standing(
            replica=self._name,
            sure=self.is_sure,
            renewed=self._renewed,
            held=len(self._tenure.epochs),
            share=self._share,
            alive=len(names),
            elsewhere={agent: name for agent, name in sorted(others.items()) if agent not in self._tenure.epochs},
            free=tuple(
                sorted(
                    lease.agent
                    for lease in self._view.leases
                    if lease.holder not in names and self._is_wanted(lease.agent)
                )
            ),
        )

    async def run(self) -> None:
        """Takes part until it is cancelled, or leaves; whatever becomes of the database ends nothing."""
        parts = (("renewing leases", self._renew_in_time), ("settling leases", self._settle_news))
        self._tasks = [asyncio.create_task(self._again_and_again(part), name=name) for name, part in parts]
        try:
            await asyncio.wait(self._tasks)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def leave(self) -> None:
        """Shows nothing more and lets go of everything, so that others may take it at once; takes part no more."""
        await self._stop()
        for agent in tuple(self._tenure.epochs):
            await self._let_go(agent)
        self._sure_until = float("-inf")
        if not self._joined:
            return
        try:
            async with asyncio.timeout(_PARTING):
                await self._registry.leave(self._me, self._begun())
        except (StorageError, TimeoutError) as error:
            self._log.warning("leases not released", error=str(error), others=f"take over after {self._lease:g} s")

    async def close(self) -> None:
        """Lets go of the database."""
        await self._registry.close()

    @property
    def _me(self) -> Me:
        return Me(id=self._tenure.replica, name=self._name, choice=self._crew.choice)

    async def _again_and_again(self, part: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await part()
            except StorageError as error:
                self._tell_trouble(error)
            except Exception as error:
                self._log.error("replica does not do its part", replica=self._name, error=whereabouts(error))

    async def _renew_in_time(self) -> None:
        try:
            await self._renew()
        finally:
            await self._sleep(min(_BEAT, self._lease / _BEATS))

    async def _renew(self) -> None:
        """Raises ``StorageError``."""
        async with self._turn:
            was_sure, sent = self.is_sure, self._elapsed()
            if not self._joined:
                view: View | None = await self._registry.join(self._me, self._lease)
                self._joined = True
            else:
                view = await self._registry.renew(self._me, self._lease)
            if view is None:
                # It was away for so long that it has been forgotten; what it held is free, or somebody else's.
                self._joined = False
                self._rename()
                self._see(View())
                return
            if not was_sure:
                self._patient_until = self._elapsed() + self._lease * _COMING_BACK
            # Nothing is shown that is somebody else's by now.
            self._see(view)
            self._sure_until, self._renewed = sent + self._lease * _SURE, self._now()
        if self._trouble is not None:
            self._trouble = None
            self._log.info("database reached again", replica=self._name)

    def _see(self, view: View) -> None:
        """Takes note of what the database tells, and shows at once no more of what is not held any more."""
        self._view = view
        for agent in self._lost_ones():
            self._crew.hide(agent)
        self._news.set()

    def _mine(self) -> dict[str, int]:
        return {lease.agent: lease.epoch for lease in self._view.leases if lease.holder == self._tenure.replica}

    def _lost_ones(self) -> list[str]:
        mine = self._mine()
        return [agent for agent, epoch in self._tenure.epochs.items() if mine.get(agent) != epoch]

    async def _settle_news(self) -> None:
        await self._news.wait()
        self._news.clear()
        await self._settle()

    async def _settle(self) -> None:
        """Does this replica's part. Raises ``StorageError``."""
        await self._obey()
        decide = self._decision()
        own = self._view.get(self._tenure.replica)
        if own is not None and decide(self._view) != Change(share=own.share):
            async with self._turn:
                changed = await self._registry.change(self._me, decide)
                if changed is not None:
                    self._see(changed)
            await self._obey()
        await self._give()

    def _decision(self) -> Callable[[View], Change]:
        """What this replica wants, with what it knows now: it is decided in another thread."""
        me, wanted, wants = self._tenure.replica, frozenset(self._crew.wanted), self._crew.wants
        waits = self._elapsed() < self._patient_until
        allowed, begun = self._allowed(), self._begun()

        def decide(view: View) -> Change:
            known = {lease.agent: lease.holder for lease in view.leases}
            take = step(me, view, wanted.union(filter(wants, known))).take
            return Change(
                share=claim(me, view, allowed, begun),
                take=tuple(agent for agent in take if not waits or known.get(agent) is None),
                tell=tuple(sorted(wanted - known.keys())),
            )

        return decide

    async def _obey(self) -> None:
        """Makes what is polled here what the database says that this replica holds. Raises ``StorageError``."""
        self._heed_share()
        if lost := self._lost_ones():
            for agent in lost:
                await self._let_go(agent)
            self._tell_lost(len(lost))
            self._log.warning("agents taken over by another replica", agents=len(lost), replica=self._name)
        unwanted = [agent for agent in self._mine() if not self._is_wanted(agent)]
        # One by one as the database has them by then: to load them may take a while.
        while missing := sorted(self._mine().keys() - self._polled() - set(unwanted)):
            agent = missing[0]
            self._tenure.epochs[agent] = self._mine()[agent]
            if not await self._crew.hold(agent):
                unwanted.append(agent)
        for agent in unwanted:
            await self._let_go(agent)
        if unwanted:
            async with self._turn:
                self._see(await self._registry.forget(self._me, unwanted))

    def _polled(self) -> set[str]:
        return self._tenure.epochs.keys() & set(self._crew.trackers)

    def _is_wanted(self, agent: str) -> bool:
        return agent in self._crew.wanted or self._crew.wants(agent)

    def _heed_share(self) -> None:
        own, allowed = self._view.get(self._tenure.replica), self._allowed()
        share = min(own.share, fair_share(self._tenure.replica, self._view, allowed)) if own is not None else 0
        if share != self._share:
            self._share = share
            self._allow(share)
            self._log.info("share of the requests", replica=self._name, per_minute=share, of=allowed)

    async def _give(self) -> None:
        """Gives back what is above this replica's quota. Raises ``StorageError``."""
        wanted = {lease.agent for lease in self._view.leases if self._is_wanted(lease.agent)}
        many = step(self._tenure.replica, self._view, wanted).give
        given = idle_first(tuple(self._tenure.epochs), self._crew.busy)[:many]
        if not given:
            return
        for agent in given:
            await self._let_go(agent)
        async with self._turn:
            self._see(await self._registry.release(self._me, given))
        self._log.info("agents given to other replicas", agents=len(given), replica=self._name)

    async def _let_go(self, agent: str) -> None:
        await self._crew.release(agent)
        self._tenure.epochs.pop(agent, None)

    def _rename(self) -> None:
        self._tenure.replica = f"{self._name}-{uuid4().hex[:12]}"

    def _tell_trouble(self, error: StorageError) -> None:
        if self._trouble is None:
            self._log.error(
                "database not reached",
                error=str(error),
                replica=self._name,
                numbers="shown while no other replica can have taken over, and nothing is counted",
            )
        self._trouble = str(error)
