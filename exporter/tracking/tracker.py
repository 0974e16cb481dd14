"""One agent: polls it, keeps what is known and counted of it, and reports its numbers.

What a poll finds is committed in one transaction at its end and published only then, as a whole. The first reading of
a history, and one that catches up after an outage, are committed every few pages, so that they are never held in memory
and go on where they failed; but they are published like any other: at their end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, cast

import msgspec

from exporter.tracking.damage import carried, commit_of
from exporter.tracking.entry import Drafting, Entry, is_read
from exporter.tracking.gauges import gauges
from exporter.tracking.hands import Hands
from exporter.tracking.ledger import PATIENCE
from exporter.tracking.lookups import Room
from exporter.tracking.pages import Pages, Source, TooManyUnreadable
from exporter.tracking.polls import Outcome, Recent, failed
from exporter.tracking.report import Counter, Family, Gauge, Labels, Report
from exporter.tracking.retries import Retries, Slips
from exporter.tracking.round import Round, Surroundings
from exporter.tracking.rules import Rules
from exporter.tracking.sparse import CountFell
from exporter.tracking.storage import Book, Commit, Loaded, StateSetAside, Storage, StorageError
from exporter.tracking.tallies import Draft, Numbers, families, without
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Agent
from exporter.unpod.urgency import Urgency

_PUT_OFF: Final = 20
"""Polls in a row that may end without a part of the sweep that is due, for want of time."""
_DOUBTED: Final = 3
"""Polls in a row that fail where the platform counts fewer tasks than before, until that is believed."""
_OUTLIVED: Final = 2.5
"""Intervals that gauges outlive at least: a healthy agent's next poll begins after one and a half of them at most."""
_JUMP: Final = 60.0
"""Seconds; clocks that are set by less are taken to run on."""
_NEARLY: Final = 0.999
"""The most that is told of a history before it is known to be complete."""


class Tracker:
    """One agent. ``now`` gives Unix seconds, ``elapsed`` seconds that never jump; ``progressed`` is called after each
    page with how much of the history has been read (0 to 1) while it is read for the first time; ``drafting`` begins
    the drafts of what polls find; ``hands`` and ``room`` are those that it shares with other agents."""

    def __init__(
        self,
        agent: str,
        source: Source,
        storage: Storage,
        rules: Rules,
        *,
        now: Callable[[], float],
        elapsed: Callable[[], float],
        progressed: Callable[[str, float], None] = lambda agent, ratio: None,
        drafting: Drafting = Draft,
        hands: Hands | None = None,
        room: Room | None = None,
    ) -> None:
        self.agent = agent
        self.interval = 0.0
        """Seconds between two of its polls, stretched where requests do not suffice; 0: it is not known yet."""
        self.share = math.inf
        """How many requests a poll may take without taking them from others."""
        self._source = source
        self._storage = storage
        self._rules = rules
        self._now = now
        self._elapsed = elapsed
        self._progressed = progressed
        self._drafting = drafting
        self._hands = hands or Hands(1, lambda agent: False)
        self._room = room or Room()
        self._state: Loaded | None = None
        self._offset = now() - elapsed()
        """What the time was when the seconds that never jump began to count, as of the last commit."""
        self._steady_from = 0.0
        """From when on its times are held against those of the platform, by the seconds that never jump."""
        self._certain = True
        """What is in memory is what is on disk. A commit that was cut off may have been made all the same."""
        self._suspected: frozenset[int] = frozenset()
        """Unreadable tasks found by a poll that has then failed over their number."""
        self._numbers: Numbers = {}
        """The numbers that are shown."""
        self._gauges: dict[str, Family] = {}
        self._goes_on = False
        """Since the last poll, which an earlier process has made, none was due."""
        self._polled = now()
        self._polls = 0
        self._failures: dict[Labels, float] = {}
        self._calls = 0
        self._begun: float | None = None
        self._read_from_ratio: tuple[float, float] | None = None
        self._recent = Recent()
        self._last: Outcome | None = None
        self._last_poll: float | None = None
        self._ratio = 0.0
        self._identity: Agent | None = None
        self._retries, self._slips = Retries(), Slips()
        self._put_off = 0
        """Polls in a row that had no time for the sweep that was due."""
        self._doubted = 0
        """Polls in a row that failed since the platform counts fewer tasks than before."""

    @property
    def last(self) -> Outcome | None:
        """The last poll; None before the first one has ended."""
        return self._last

    @property
    def up(self) -> bool | None:
        """Whether the last poll succeeded, in this process or an earlier one; None: it cannot be told."""
        return (self._goes_on or None) if self._last is None else self._last.error is None

    @property
    def inherited(self) -> Book | None:
        """What the last good poll has left, where an earlier process has made it; None: this one has begun to poll, or
        there is something to be made up for."""
        is_whole = self._complete and self._book.unread is None
        return self._book if is_whole and self._last is None and self._begun is None else None

    def go_on(self) -> None:
        """Takes the good poll of an earlier process for the last one, since none was due after it."""
        self._goes_on = True

    @property
    def last_success(self) -> float | None:
        """When the last successful poll ended, in Unix seconds, in this process or an earlier one."""
        return self._state.book.last_success if self._state else None

    @property
    def fresh_until(self) -> float | None:
        """Until when the gauges of what was read last are shown, in Unix seconds; None: nothing was read yet."""
        if self.last_success is None:
            return None
        return self.last_success + max(self._rules.max_staleness, _OUTLIVED * self.interval)

    @property
    def last_poll(self) -> float | None:
        """When the last poll ended, in Unix seconds; None: it cannot be told."""
        return self.last_success if self._last is None and self._goes_on else self._last_poll

    @property
    def tracked(self) -> int | None:
        """How many tasks are known; None until the history has been read."""
        return self._state.tracked if self._state is not None and self._complete else None

    @property
    def calls(self) -> int | None:
        """How many calls have been counted; None until the history has been read."""
        return self._calls if self._complete else None

    @property
    def is_settled(self) -> bool:
        """Whether no task is known that polls would look at: none is open, and none has changed of late."""
        return self._state is not None and self._complete and not self._state.watched

    @property
    def has_left(self) -> bool:
        """Whether it had left the list when it was last polled, with nothing left to tell."""
        return self._book.left

    async def leave(self) -> None:
        """Keeps in mind that it has left the list, until it is polled again. Raises ``StorageError``."""
        state = await self.load()
        book = msgspec.structs.replace(state.book, left=True)
        await self._storage.commit(self.agent, Commit(book=book))
        self._state = msgspec.structs.replace(state, book=book)

    @property
    def unreadable(self) -> int:
        """How many tasks the platform cannot deliver."""
        return len(self._book.unreadable)

    @property
    def recent(self) -> Recent:
        """The last polls, and since when they have been failing."""
        return self._recent

    @property
    def begun(self) -> float | None:
        """When the poll that is under way began, in Unix seconds; None: none is."""
        return self._begun

    @property
    def is_sweeping(self) -> bool:
        """Whether the whole history is read again without delay, since something is not where it should be."""
        return self._complete and self._book.hurry

    @property
    def history_left(self) -> float | None:
        """Seconds that the first reading of the history is likely to take still; None: it cannot be told."""
        if self._read_from_ratio is None or self._begun is None or self._complete:
            return None
        at, ratio = self._read_from_ratio
        read = self.history_ratio - ratio
        return (self._now() - at) * (1 - self.history_ratio) / read if read > 0 else None

    @property
    def history_ratio(self) -> float:
        """How much of the history has been read, from 0 to 1."""
        if self._complete:
            return 1.0
        # What an earlier process has read is not read again.
        known, counted = (self._state.tracked, self._book.reported) if self._state is not None else (0, 0)
        return min(max(self._ratio, known / counted if counted else 0.0), _NEARLY)

    @property
    def identity(self) -> Agent:
        """Its name and type, as the list of agents told them to this process or an earlier one."""
        return self._identity or Agent(handle=self.agent, name=self._book.name, type=self._book.type)

    def identify(self, agent: Agent) -> None:
        """Takes note of what the list of agents tells; it is kept with the next commit."""
        self._identity = agent

    @property
    def _complete(self) -> bool:
        return self._state is not None and self._state.book.complete

    async def poll(self) -> Outcome:
        """Reads the agent once. A failure is an outcome, not an exception; it changes no number but its own."""
        started, self._begun = self._elapsed(), self._now()
        try:
            outcome = await self._attempt()
        finally:
            # Also where it is abandoned.
            self._begun = None
        self._last = msgspec.structs.replace(outcome, seconds=self._elapsed() - started)
        self._last_poll = self._now()
        self._recent.add(self._last_poll, self._last)
        self._polls += 1
        self._count_failure(self._last)
        return self._last

    async def _attempt(self) -> Outcome:
        self._certain, certain = False, self._certain
        try:
            outcome = await self._poll_healed(certain=certain)
            self._certain = True
        except UnpodError as error:
            if isinstance(error, TooManyUnreadable):
                self._suspected = error.places
            if isinstance(error, CountFell):
                self._doubted += 1
            outcome = failed(error)
            self._certain = True
        except Exception as error:
            outcome = failed(error)
        return outcome

    def spoil(self, error: Exception) -> Outcome:
        """The last poll has failed after all, by a defect that came up when its numbers were to be shown."""
        before = self._last or Outcome(seconds=0.0)
        self._last = msgspec.structs.replace(before, error=error)
        self._recent.amend(self._last)
        if before.error is None:
            self._count_failure(self._last)
        return self._last

    def _count_failure(self, outcome: Outcome) -> None:
        if outcome.reason is not None:
            key = (outcome.reason,)
            self._failures[key] = self._failures.get(key, 0) + 1

    async def load(self) -> Loaded:
        """Takes up what an earlier process has committed, so that it is shown before the first poll.

        Raises ``StorageError``.
        """
        if self._state is None:
            await self._load()
        self._state = _timely(cast(Loaded, self._state), self._now())
        return self._state

    async def _load(self) -> None:
        """Where it cannot be loaded, what was known before is still shown."""
        loaded = await self._storage.load(self.agent) or Loaded(
            book=self._new_book(), numbers={}, watched={}, tracked=0
        )
        self._state = await self._adopted(loaded)
        self._show(self._state)

    async def obey(self, rules: Rules) -> None:
        """Other rules from now on; no poll may be under way. What they count in another way begins anew, as it would
        after a start. Raises ``StorageError``: then the next poll does what is left to do."""
        state, adopts = self._state, rules.limits != self._rules.limits
        self._rules = rules
        if adopts and state is not None:
            # Should the commit fail, what is on disk is all that is certain.
            self._state = None
            if self._certain:
                self._state = await self._adopted(state)
                self._publish(self._state)
            await self.load()

    async def try_load(self) -> None:
        """Like ``load``; where the state cannot be read, the next poll tries again and tells."""
        with suppress(StorageError):
            await self.load()

    def report(self, info: Mapping[str, str]) -> Report:
        """The numbers to be shown now; ``info`` are the labels of ``agent_info``."""
        shown: dict[str, Family] = self.health()
        if self._state is not None and (self._complete or self._book.carried):
            book = self._state.book
            shown |= families(self._numbers, self._rules.limits, {"": book.since, **book.began})
        if self._complete:
            shown |= self._gauges
        return Report(
            agent=self.agent,
            families=shown,
            info=info,
            fresh_until=self.fresh_until,
        )

    async def _poll_healed(self, *, certain: bool) -> Outcome:
        try:
            return await self._poll(certain=certain)
        except StateSetAside:
            await self._take_over()
            return await self._poll(certain=True)

    async def _take_over(self) -> None:
        """Commits what is known in memory to the state that has taken the place of a damaged one."""
        known = carried(self._state) if self._state is not None else None
        found = await self._storage.load(self.agent)
        if known is not None:
            await self._storage.commit(self.agent, commit_of(known, found.numbers if found else None))
        self._state = known

    async def _poll(self, *, certain: bool) -> Outcome:
        if not certain:
            await self._load()
        started = self._elapsed()
        state, offset = self._identified(await self.load()), self._now() - started
        first = not state.book.complete
        lookups = None if state.tracked else self._room.first()
        entry = Entry(self.agent, self._storage, state, self._rules, self._drafting, lookups)
        around = self._surroundings(offset)
        await entry.limit(around.read_from)
        if jump := self._jump(offset):
            entry.shift(jump)
            self._steady_from = self._elapsed() + PATIENCE * self._rules.settling_time
        if self._elapsed() < self._steady_from:
            entry.distrust()
        urgency = Urgency.HISTORY if first else Urgency.FRESH
        unreadable = self._suspected.union(state.book.unreadable)
        pages = Pages(self._source, self.agent, unreadable, retry=first and not self._suspected, urgency=urgency)
        reading = Round(entry, pages, state, around)
        noted = await (reading.first() if first else reading.again(doubts=self._doubted < _DOUBTED))
        noted |= {
            "interval": self.interval,
            "seconds": self._elapsed() - started,
            "requests": 0 if first else pages.requests,
        }
        state = await entry.finish(self._now(), pages, **noted)
        self._keep(offset, state)
        self._suspected, self._doubted = frozenset(), 0
        self._show(state)
        return Outcome(
            seconds=0.0,
            requests=pages.requests,
            pages=entry.pages,
            tasks=entry.tasks,
            changes=entry.grown,
            first=first,
        )

    def _surroundings(self, offset: float) -> Surroundings:
        history = self._rules.history
        return Surroundings(
            agent=self.agent,
            source=self._source,
            rules=self._rules,
            now=self._now,
            elapsed=self._elapsed,
            read_from=None if history is None else self._now() - history,
            committed=partial(self._keep, offset),
            progressed=self._progress,
            hands=self._hands,
            retries=self._retries,
            slips=self._slips,
            may_sweep=self._has_time,
            share=self.share,
        )

    def _keep(self, offset: float, state: Loaded) -> None:
        self._state, self._offset = state, offset

    def _jump(self, offset: float) -> float:
        """By how much the clock has been set since a poll was committed last; nobody can tell of an earlier process."""
        jump = offset - self._offset
        return jump if abs(jump) >= _JUMP else 0.0

    def _progress(self, ratio: float) -> None:
        self._ratio = ratio
        self._read_from_ratio = self._read_from_ratio or (self._now(), ratio)
        self._progressed(self.agent, self.history_ratio)

    def _has_time(self) -> bool:
        """Whether a page of a sweep may be read now: a poll must not wait for it, nor put it off for ever."""
        if self._put_off < _PUT_OFF and not self._source.has_time():
            self._put_off += 1
            return False
        self._put_off = 0
        return True

    @property
    def _book(self) -> Book:
        return self._state.book if self._state is not None else self._new_book()

    def _identified(self, state: Loaded) -> Loaded:
        identity = self.identity
        book = msgspec.structs.replace(state.book, name=identity.name, type=identity.type)
        return msgspec.structs.replace(state, book=book)

    def _new_book(self) -> Book:
        now, backfill = self._now(), self._rules.backfill
        count_from = None if backfill == 0 else 0.0 if math.isinf(backfill) else now - backfill
        return Book(since=now, count_from=count_from)

    async def _adopted(self, loaded: Loaded) -> Loaded:
        """What was loaded, made to fit the limits in force: histograms in other buckets begin anew, and so do families
        that were not counted of late."""
        limits, book, now = self._rules.limits, loaded.book, self._now()
        outgrown = {name for name, bounds in book.bounds.items() if limits.buckets.get(name) != bounds}
        begun = {name for name in limits.capped if book.bounds and name not in book.capped}
        renewed = outgrown | begun
        book = msgspec.structs.replace(
            book,
            began={**book.began, **dict.fromkeys(renewed, now)},
            bounds=limits.buckets,
            capped=limits.capped,
            shown=None if book.shown is None else tuple(pair for pair in book.shown if pair[0][0] not in renewed),
        )
        if renewed:
            dropped = [key for key in loaded.numbers if key[0] in renewed]
            await self._storage.commit(self.agent, Commit(book=book, dropped=dropped))
        young = {key: record for key, record in loaded.watched.items() if is_read(record.created, book.read_from)}
        return msgspec.structs.replace(loaded, book=book, numbers=without(loaded.numbers, renewed), watched=young)

    def _show(self, state: Loaded) -> None:
        """Publishes the numbers, and takes the gauges as they were when the last poll ended, in whichever process. Of
        a poll that catches up in parts nothing is shown before its end: its gauges would not fit together."""
        self._publish(state)
        if state.book.complete and state.book.shown is None:
            then = min(state.book.last_success or math.inf, self._now())
            self._gauges = gauges(state, now=then, overdue_grace=self._rules.overdue_grace)

    def _publish(self, state: Loaded) -> None:
        shown = state.book.shown
        self._numbers = state.numbers if shown is None else dict(shown)
        self._calls = sum(number for key, number in self._numbers.items() if key[0] == "calls")

    def health(self) -> dict[str, Family]:
        """The numbers that tell how the polls do."""
        shown: dict[str, Family] = {
            "agent_polls": Counter(self._polled, {(): self._polls}),
            "agent_poll_failures": Counter(self._polled, dict(self._failures)),
            "agent_history_complete": Gauge({(): int(self._complete)}),
            "agent_history_read_ratio": Gauge({(): self.history_ratio}),
        }
        if self.up is not None:
            shown["agent_up"] = Gauge({(): int(self.up)})
        if self._last is not None:
            shown["agent_last_poll_duration_seconds"] = Gauge({(): self._last.seconds})
        if (success := self.last_success) is not None:
            shown["agent_last_success_timestamp_seconds"] = Gauge({(): success})
        return shown


def _timely(state: Loaded, now: float) -> Loaded:
    """The state without times to come: they were taken from a clock that was ahead, and would hold until it is right
    again."""
    book = state.book
    changes = {name: now for name in ("last_success", "swept") if (getattr(book, name) or 0.0) > now}
    return msgspec.structs.replace(state, book=msgspec.structs.replace(book, **changes)) if changes else state
