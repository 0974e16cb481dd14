"""What one poll of one agent reads: its history for the first time, or what can have changed and a part of the rest.

A long reading is committed in parts, each with what is left to be read: the first one, and one that catches up with
many new tasks, as after an outage. Whoever goes on, the next poll or another process, reads what is left, and what has
been added since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exporter.tracking.entry import Entry
from exporter.tracking.hands import Hands
from exporter.tracking.pages import Pages, Slice, Source
from exporter.tracking.reading import Reading
from exporter.tracking.retries import Retries, Slips
from exporter.tracking.rules import Rules
from exporter.tracking.spans import Spans
from exporter.tracking.sparse import Sparse, Sweep, missing
from exporter.tracking.storage import Loaded
from exporter.unpod.errors import UnpodError
from exporter.unpod.urgency import Urgency

_SWEPT_AT_ONCE: Final = 20
"""Pages of a sweep that one poll reads at most."""
_LONGEST_UNCOMMITTED: Final = 10.0
"""Seconds of a long reading that a kill may undo."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a round takes place in."""

    agent: str
    source: Source
    rules: Rules
    now: Callable[[], float]
    """Unix seconds."""
    elapsed: Callable[[], float]
    """Seconds that never jump."""
    read_from: float | None
    """Tasks created before this Unix time are not read; None: all are."""
    committed: Callable[[Loaded], None]
    """Called with the new state, when a part of a long reading has been committed."""
    progressed: Callable[[float], None]
    """Called with how much of the history is known, 0 to 1, while it is read for the first time."""
    hands: Hands
    retries: Retries
    slips: Slips
    may_sweep: Callable[[], bool]
    """Whether a page of a sweep may be read now."""
    share: float
    """How many requests the poll may take without taking them from others."""


class Round:
    """The reading of one poll. ``before`` is what was known before it. Each way of reading returns what is to be noted
    in the book; raises ``UnpodError``: then nothing of it may be counted but what has been committed."""

    def __init__(self, entry: Entry, pages: Pages, before: Loaded, around: Surroundings) -> None:
        self._entry = entry
        self._pages = pages
        self._before = before
        self._book = before.book
        self._around = around
        self._arrived: set[str] = set()
        """The tasks that were seen although the first answer has not counted them yet."""
        self._committed = around.elapsed()

    async def first(self) -> dict[str, object]:
        """Reads the history for the first time, or what an earlier process has left of it."""
        book, resumes = self._book, self._book.unread is not None
        resume = (book.unread or (), book.reported or 0) if resumes else ((), 0)
        reading = self._reading(resume=resume, unaccounted=book.unaccounted if resumes else 0)

        async def commit() -> None:
            await self._commit(reading, complete=False, unaccounted=reading.unaccounted)

        async def take(part: Slice) -> None:
            await self._take(part, reading.expected)
            if self._is_time_to_commit:
                await commit()
            self._around.progressed(reading.ratio)

        try:
            await self._around.hands.each(self._around.agent, Urgency.HISTORY, reading.slices(), take)
        except UnpodError:
            # What was read is not read again.
            if self._entry.changed:
                await commit()
            raise
        missed = reading.missing
        return {
            "swept": self._around.now(),
            "missing": missed,
            # Whatever the reading believes in the end, another one may find it.
            "hurry": self._reads_all and missed > 0,
            "reported": self._pages.total,
        }

    async def again(self, *, doubts: bool) -> dict[str, object]:
        """Reads what can have changed, and a part of all the rest; ``doubts``: the platform may not count fewer tasks
        than before."""
        book, entry, pages, around = self._book, self._entry, self._pages, self._around
        # As good as known: it tells on which pages the unreadable tasks lie.
        pages.total = book.reported
        sparse = Sparse(
            pages,
            entry.watched,
            page_size=lambda: entry.page_size,
            counted=book.reported or 0,
            unread=book.unread or (),
            known=self._known,
            task_bytes=book.task_bytes,
            share=around.share,
            accepted=book.missing,
            doubts=doubts,
        )
        await self._catch_up(sparse)
        if not sparse.is_answered:
            reading = self._reading()

            async def take(part: Slice) -> None:
                await self._take(part, reading.expected)

            await around.hands.each(around.agent, Urgency.FRESH, reading.slices(), take)
            return {"reported": pages.total}
        await self._retry(sparse.expected)
        lost = sparse.lost - around.slips.excused(sparse.slipped)
        entry.lose(lost)
        fell = sparse.missing < min(0, book.missing)
        reaches_back = (around.read_from or 0.0) < (book.read_from or 0.0)
        missed = bool(lost) or sparse.missing > book.missing or fell or reaches_back
        return await self._sweep(sparse.expected, missed=missed)

    async def _catch_up(self, sparse: Sparse) -> None:
        shown = tuple(self._before.numbers.items()) if self._book.shown is None else self._book.shown

        async def commit() -> None:
            await self._commit(sparse, complete=True, shown=shown)

        async def take(part: Slice) -> None:
            await self._take(part, sparse.expected)
            if sparse.is_catching_up and self._is_time_to_commit:
                await commit()

        try:
            await self._around.hands.each(self._around.agent, Urgency.FRESH, sparse.slices(), take)
        except UnpodError:
            if sparse.is_catching_up and self._entry.changed:
                await commit()
            raise

    async def _retry(self, expected: int) -> None:
        """Asks again for some of the tasks that could not be delivered before: what ails them may pass."""
        pages, retries = self._pages, self._around.retries
        known = pages.unreadable.intersection(self._book.unreadable)
        watched = {one.place for one in self._entry.watched.values()}
        due = retries.due(known, watched)
        while due:
            for place in due:
                if (part := await pages.retry(place)) is not None:
                    await self._take(part, expected)
            due = [] if pages.unreadable.intersection(due) else retries.more(known & pages.unreadable, watched)

    async def _take(self, part: Slice, expected: int | None) -> None:
        await self._entry.take(part, self._around.now())
        if expected is not None and part.page.total is not None and part.page.total > expected:
            late = part.page.tasks[: max(0, part.page.total - expected - part.first)]
            self._arrived.update(task.id for task in late)

    def _known(self) -> int:
        """How many of the tasks are known that the first answer counts."""
        return self._entry.known - len(self._arrived)

    @property
    def _is_time_to_commit(self) -> bool:
        since = self._around.elapsed() - self._committed
        return self._entry.is_worth_committing or since >= _LONGEST_UNCOMMITTED

    async def _commit(self, reading: Reading | Sparse, *, complete: bool, **book: object) -> None:
        """Commits what has been read so far, and what has not."""
        state = await self._entry.commit(
            complete=complete,
            unread=reading.unread,
            reported=reading.expected,
            unreadable=tuple(sorted(self._pages.unreadable)),
            **book,
        )
        self._around.committed(state)
        self._committed = self._around.elapsed()

    async def _sweep(self, expected: int, *, missed: bool) -> dict[str, object]:
        """Goes on with the sweep of the whole history, as far as it is due; ``expected`` is how many tasks there
        should be, ``missed``: something is not where it should be."""
        book, entry, pages, around = self._book, self._entry, self._pages, self._around
        now, interval = around.now(), around.rules.reconcile_interval
        total, hurry = pages.total or 0, missed or book.hurry
        place, begun, short = book.sweep, book.swept or now, book.short
        # What is missing may lie above the place of a sweep that is under way.
        anew, again = hurry and not book.hurry, book.hurry and (missed or book.again)
        if anew or (place is None and (hurry or (interval and now - begun >= interval))):
            place, begun, short = total - 1, now, self._missing(expected)
        if place is None or not (hurry or interval):
            return {"hurry": hurry, "reported": expected}
        target = -1 if hurry else round(total * (1 - (now - begun) / interval))
        urgency = Urgency.HISTORY if hurry else Urgency.SWEEP
        retrying = Pages(around.source, around.agent, pages.unreadable, retry=True, urgency=urgency)
        retrying.total = pages.total
        sweep = Sweep(retrying, place=place, page_size=entry.page_size, read_from=around.read_from)

        async def take(part: Slice) -> None:
            await self._take(part, expected)

        parts = sweep.slices(_SWEPT_AT_ONCE, target, lambda: hurry or around.may_sweep())
        await around.hands.each(around.agent, urgency, parts, take)
        pages.unreadable = retrying.unreadable
        done, left = sweep.place < 0, self._missing(expected)
        # Where it has found some of what was missing, another one may find the rest; else it is believed to be nowhere.
        again = again or (hurry and done and self._reads_all and 0 < left < short)
        return {
            "sweep": None if done else sweep.place,
            "swept": begun,
            "short": short,
            "hurry": hurry and (again or not done),
            "again": again and not done,
            "missing": left if done or hurry else book.missing,
            "reported": expected,
        }

    @property
    def _reads_all(self) -> bool:
        """Whether every task that the platform counts is to be known."""
        return self._around.read_from is None

    def _missing(self, expected: int) -> int:
        """How many tasks are missing now, of those that there should be."""
        return missing(expected, self._known(), self._pages.skipped)

    def _reading(self, *, resume: tuple[Spans, int] = ((), 0), unaccounted: int = 0) -> Reading:
        return Reading(
            self._pages,
            page_size=lambda: self._entry.page_size,
            known=self._known,
            resume=resume,
            unaccounted=unaccounted,
            read_from=self._around.read_from,
        )
