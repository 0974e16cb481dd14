"""What one poll of one agent reads: its history for the first time, or what can have changed and a part of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exporter.tracking.entry import Entry
from exporter.tracking.pages import Pages, Source
from exporter.tracking.reading import Reading
from exporter.tracking.rules import Rules
from exporter.tracking.sparse import Sparse, Sweep, missing
from exporter.tracking.storage import Book, Loaded
from exporter.unpod.errors import UnpodError
from exporter.unpod.urgency import Urgency

_SWEPT_AT_ONCE: Final = 20
"""Pages of a sweep that one poll reads at most."""
_LONGEST_UNCOMMITTED: Final = 10.0
"""Seconds of a first reading that a kill may undo."""


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
    may_sweep: Callable[[], bool]
    """Whether a page of a sweep may be read now."""


class Round:
    """The reading of one poll. ``book`` is what was known before it. Each way of reading returns what is to be noted in
    the book; raises ``UnpodError``: then nothing of it may be counted but what has been committed."""

    def __init__(self, entry: Entry, pages: Pages, book: Book, around: Surroundings) -> None:
        self._entry = entry
        self._pages = pages
        self._book = book
        self._around = around

    async def first(self) -> dict[str, object]:
        """Reads the history for the first time, or what an earlier process has left of it."""
        book, entry, pages, around = self._book, self._entry, self._pages, self._around
        resume = None if book.sweep is None or book.reported is None else (book.sweep, book.reported)
        reading = self._reading(resume=resume, unaccounted=book.unaccounted if resume else 0)
        deepest, committed = book.sweep, around.elapsed()

        async def commit() -> None:
            state = await entry.commit(
                complete=False,
                sweep=deepest,
                reported=pages.total,
                unreadable=tuple(sorted(pages.unreadable)),
                unaccounted=reading.unaccounted,
            )
            around.committed(state)

        try:
            async for part in reading.slices():
                await entry.take(part, around.now())
                last = part.place(len(part.page.tasks) - 1)
                deepest = last if deepest is None or last is None else min(deepest, last)
                del part  # and so its page, before the next one is waited for
                if entry.is_worth_committing or around.elapsed() - committed >= _LONGEST_UNCOMMITTED:
                    await commit()
                    committed = around.elapsed()
                around.progressed(reading.ratio)
        except UnpodError:
            # What was read is not read again.
            if entry.changed:
                await commit()
            raise
        return {"sweep": None, "swept": around.now(), "missing": reading.missing}

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
            known=lambda: entry.known,
            task_bytes=book.task_bytes,
            accepted=book.missing,
            doubts=doubts,
        )
        async for part in sparse.slices():
            await entry.take(part, around.now())
        if not sparse.is_answered:
            async for part in self._reading().slices():
                await entry.take(part, around.now())
            return {}
        entry.lose(sparse.lost)
        fell = sparse.missing < min(0, book.missing)
        reaches_back = (around.read_from or 0.0) < (book.read_from or 0.0)
        return await self._sweep(missed=bool(sparse.lost) or sparse.missing > book.missing or fell or reaches_back)

    async def _sweep(self, *, missed: bool) -> dict[str, object]:
        """Goes on with the sweep of the whole history, as far as it is due; ``missed``: something is not where it
        should be."""
        book, entry, pages, around = self._book, self._entry, self._pages, self._around
        now, interval = around.now(), around.rules.reconcile_interval
        total, hurry = pages.total or 0, missed or book.hurry
        place, begun = book.sweep, book.swept or now
        # What is missing may lie above the place of a sweep that is under way.
        anew, again = hurry and not book.hurry, book.hurry and (missed or book.again)
        if anew or (place is None and (hurry or (interval and now - begun >= interval))):
            place, begun = total - 1, now
        if place is None or not (hurry or interval):
            return {"hurry": hurry}
        target = -1 if hurry else round(total * (1 - (now - begun) / interval))
        urgency = Urgency.HISTORY if hurry else Urgency.SWEEP
        retrying = Pages(around.source, around.agent, pages.unreadable, retry=True, urgency=urgency)
        retrying.total = pages.total
        sweep = Sweep(retrying, place=place, page_size=entry.page_size, read_from=around.read_from)
        async for part in sweep.slices(_SWEPT_AT_ONCE, target, lambda: hurry or around.may_sweep()):
            await entry.take(part, around.now())
        pages.unreadable = retrying.unreadable
        done = sweep.place < 0
        return {
            "sweep": None if done else sweep.place,
            "swept": begun,
            "hurry": hurry and (again or not done),
            "again": again and not done,
            "missing": missing(pages, entry.known) if done or hurry else book.missing,
        }

    def _reading(self, *, resume: tuple[int, int] | None = None, unaccounted: int = 0) -> Reading:
        return Reading(
            self._pages,
            page_size=lambda: self._entry.page_size,
            known=lambda: self._entry.known,
            resume=resume,
            unaccounted=unaccounted,
            read_from=self._around.read_from,
        )
