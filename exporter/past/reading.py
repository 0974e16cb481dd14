"""Reads the whole history of agents into the annals, and tells where the past of each ends.

It is read and counted as the exporter reads and counts it, with trackers of its own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from exporter.past.annals import Annals
from exporter.past.seam import Seam
from exporter.tracking.dated import DatedDraft
from exporter.tracking.ledger import PATIENCE
from exporter.tracking.log import Log, whereabouts
from exporter.tracking.pages import Source
from exporter.tracking.polls import Outcome
from exporter.tracking.rules import Rules
from exporter.tracking.schedule import NEEDS_A_PERSON, after_failure
from exporter.tracking.storage import Book, Storage
from exporter.tracking.tallies import unpack
from exporter.tracking.tracker import Tracker
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Agent

_TRIES: Final = 10
"""Failed readings in a row, none of which came any further, after which an agent is given up."""
_PAUSE: Final = 60.0
"""Seconds from which the pauses between them grow."""

Books = Mapping[str, Book]


class Historian:
    """Reads agents. ``books`` are those of the exporter's state, which goes on beside it; None: there is none yet, and
    ``storage`` will be it. ``step`` is that of the annals, in seconds."""

    def __init__(
        self,
        source: Source,
        storage: Storage,
        rules: Rules,
        annals: Annals,
        *,
        books: Books | None,
        step: int,
        log: Log,
        now: Callable[[], float],
        elapsed: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        progressed: Callable[[str, float], None],
    ) -> None:
        self._source = source
        self._storage = storage
        self._rules = rules
        self._annals = annals
        self._books = books
        self._step = step
        self._log = log
        self._now = now
        self._elapsed = elapsed
        self._sleep = sleep
        self._progressed = progressed
        self._chance = random.Random()  # noqa: S311 - spreads load, guards nothing

    async def read(self, agent: Agent) -> Seam | None:
        """Reads an agent; where its past ends, or None where there is nothing that it could lead up to."""
        book = None if self._books is None else self._books.get(agent.handle)
        if self._books is not None and (book is None or not book.opening):
            self._log.warning("agent left out", agent=agent.handle, reason=_NOT_SHOWN)
            return None
        tracker = self._tracker(agent, book)
        read = await self._read(tracker)
        self._progressed(agent.handle, 1.0)
        if not read or tracker.last_success is None:
            return None
        return Seam(end=tracker.last_success) if book is None else self._joined(agent.handle, book)

    def _tracker(self, agent: Agent, book: Book | None) -> Tracker:
        rules = self._rules if book is None else msgspec.structs.replace(self._rules, backfill=self._backfill(book))
        tracker = Tracker(
            agent.handle,
            self._source,
            self._storage,
            rules,
            now=self._now,
            elapsed=self._elapsed,
            progressed=self._progressed,
            drafting=partial(DatedDraft, step=self._step, keep=partial(self._annals.keep, agent.handle)),
        )
        tracker.identify(agent)
        return tracker

    def _backfill(self, book: Book) -> float:
        """How far back the tasks lie that the exporter counted."""
        return self._now() - book.count_from if book.count_from else math.inf

    async def _read(self, tracker: Tracker) -> bool:
        """Reads until the whole history has been read; False: it cannot be."""
        failures, ratio = 0, 0.0
        while (outcome := await tracker.poll()).reason is not None:
            failures = 1 if tracker.history_ratio > ratio else failures + 1
            ratio = tracker.history_ratio
            if failures >= _TRIES or not _may_heal(outcome):
                self._log.error("history not read", agent=tracker.agent, reason=outcome.reason, error=_words(outcome))
                return False
            wait = after_failure(outcome.reason, failures, _PAUSE, self._chance)
            self._log.warning("reading failed", agent=tracker.agent, again_in=round(wait), error=_words(outcome))
            await self._sleep(wait)
        self._log.info("history read", agent=tracker.agent, tasks=tracker.tracked, calls=tracker.calls)
        return True

    def _joined(self, agent: str, book: Book) -> Seam:
        """The past that leads up to what the exporter showed first.

        What happened just before may have been counted just after: such calls are told no time, so that nothing is
        counted twice.
        """
        end = book.since - PATIENCE * self._rules.settling_time
        anew = {name for name, bounds in book.bounds.items() if self._rules.limits.buckets.get(name) != bounds}
        if without := anew.union(book.began) & self._annals.layouts.keys():
            self._log.warning("families left out", agent=agent, families=",".join(sorted(without)), reason=_BEGAN)
        return Seam(
            end=math.floor(end / self._step) * self._step,
            opening=None if book.count_from is None else unpack(book.opening),
            anew=book.count_from is None,
            without=frozenset(without),
        )


def _may_heal(outcome: Outcome) -> bool:
    return isinstance(outcome.error, UnpodError) and outcome.reason not in NEEDS_A_PERSON


def _words(outcome: Outcome) -> str | None:
    if outcome.error is not None and outcome.is_defect:
        return whereabouts(outcome.error)
    return outcome.error_in_words


_NOT_SHOWN: Final = (
    "the exporter has shown no numbers of it yet: let it read the history once, as unpod_agent_history_complete tells, "
    "and write the past again"
)
_BEGAN: Final = "the exporter has begun to count them anew since, in other buckets or with another limit"
