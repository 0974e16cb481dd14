"""A poll that reads what can have changed: its cost follows change, not history.

**What is read.** The newest page, which tells how many tasks there are; as many more as hold the tasks that are new;
and the pages on which the watched tasks lie: those that are open, that changed within the settling time, or whose call
is a stub that waits for its record.

**Where a task lies.** Tasks are listed by ``created``, and are only ever added: nearly always on top. So the number of
tasks below one, its place, stays what it was when it was seen last, and its distance from the top is the count less
its place. What breaks this (tasks with equal ``created`` swap, a task is added below the top) moves a task by a little,
so a watched task that is not where it should be is looked for on the pages beside.

**Why this is complete.** The platform counts its tasks. As long as the known ones are as many, no task has been missed.
Where they are fewer, or a watched task is not found, the whole history is swept at once: not for one that swaps places
with its ties while they are read, as long as the next polls find it. And it is swept anyway, spread over the reconcile
interval, for what changes long after it had settled: redials, restarts of failed runs, late records. The first answer
of a poll tells how many there should be. What arrives later is left to the next poll: it is not missed, and where it is
seen all the same it does not stand for a task that is. Every look at a task goes through the same ledger, so it does
not matter which of these has led to it. A count below that of the known tasks contradicts what was told before, since
none is ever deleted: it is believed only when it stays so.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Final, NamedTuple

from exporter.tracking.pages import Pages, Slice
from exporter.tracking.reading import is_past
from exporter.tracking.records import digest
from exporter.tracking.spans import Spans, grown, pages_of, without
from exporter.unpod.errors import BadResponse

_SIZES: Final = (10, 20, 50, 100, 200, 500, 1000)
"""Sizes of a page that are considered."""
_REQUEST: Final = 256 * 1024
"""What a request costs the platform (a scan, a sort), as bytes that one could read instead."""
_BEYOND: Final = 2
"""Pages below the newest ones on which a new task is looked for."""
_BESIDE: Final = (1, 3)
"""How many pages above and below its own a watched task is looked for on: first near, then farther."""
_ROUNDS: Final = 2
"""How often the pages are read again on which tasks have slipped through."""
_LONG: Final = 5
"""Pages of new tasks; a poll that has more of them to read is catching up."""


class Watched(NamedTuple):
    """Where a watched task lies."""

    place: int
    created: float | None


class CountFell(BadResponse):
    """The platform counts fewer tasks than it has told before. None is ever deleted, so it is likely to be mistaken."""


class Sparse:
    """One poll of an agent whose history is known.

    ``watched`` are the watched tasks by key, ``counted`` is how many tasks there were at the last poll, and ``unread``
    which of them it has left unread; ``known`` tells how many of those are known now that this one counts,
    ``page_size`` the greatest size of page, ``task_bytes`` what a task weighs,
    ``share`` how many requests it may take without taking them from other agents,
    ``accepted`` how many are ``missing`` for all that is known, and ``doubts`` whether they may not be fewer.
    """

    def __init__(
        self,
        pages: Pages,
        watched: Mapping[int, Watched],
        *,
        page_size: Callable[[], int],
        counted: int,
        unread: Spans,
        known: Callable[[], int],
        task_bytes: float,
        share: float = math.inf,
        accepted: int = 0,
        doubts: bool = True,
    ) -> None:
        self._pages = pages
        self._accepted = accepted
        self._doubts = doubts
        self._unseen = dict(watched)
        self._known = known
        self._page_size = page_size
        self._task_bytes = task_bytes
        self._share = share
        self.expected = counted
        """How many tasks there are, as the first answer has told."""
        self.unread = unread
        """Where new tasks lie that are still to be read."""
        self._size = self._best_size()
        self._read: set[int] = set()
        self._tied: set[tuple[int, float | None, int]] = set()
        self._edges: dict[int, tuple[float, float]] = {}
        """``created`` of the first and of the last task of each page that was read."""
        self._wanted = {one.created for one in watched.values()}
        self._ties: set[float | None] = set()
        """``created`` of watched tasks that were seen, or others that have the same."""
        self._news: set[int] = set()
        """The pages that were read for new tasks."""
        self.is_catching_up = False
        """Whether there is so much to read that it is committed in parts."""
        self.is_answered = True
        """Whether the platform counts and pages; otherwise only a whole reading tells anything."""

    @property
    def lost(self) -> frozenset[int]:
        """Watched tasks that were not found."""
        return frozenset(self._unseen)

    @property
    def slipped(self) -> frozenset[int]:
        """Those of them whose ties were all looked through: such a task has swapped its place between two requests."""
        looked_through = {created for created in self._ties if created is not None and self._is_read_around(created)}
        return frozenset(key for key, watched in self._unseen.items() if watched.created in looked_through)

    @property
    def missing(self) -> int:
        """How many tasks the platform counts that are not known."""
        return missing(self.expected, self._known(), self._pages.skipped)

    async def slices(self) -> AsyncIterator[Slice]:
        """The tasks, to be taken slice by slice. Raises ``UnpodError``: then nothing that was taken may be counted."""
        for number in self._numbers():
            async for part in self._page(number):
                # Handed over, not lent: many agents may wait for the next one.
                handed = [part]
                del part
                yield handed.pop()

    def _numbers(self) -> Iterator[int]:
        """The pages to be read: which one is next depends on what was found on those before it."""
        yield 1
        if not self.is_answered:
            return
        self._refit()
        self.is_catching_up = len(self._pages_of_news()) > _LONG
        near, far = (partial(self._pages_beside, distance) for distance in _BESIDE)
        for wanted in (self._expected_pages, near, self._pages_of_ties, far, self._pages_beyond):
            while left := wanted() - self._read:
                yield min(left)
        for _ in range(_ROUNDS):
            yield from self._pages_of_slipped()

    async def _page(self, number: int) -> AsyncIterator[Slice]:
        is_first = number == 1 and number not in self._read
        self._read.add(number)
        parts, known = await self._pages.read(number, self._size), self._known()
        if is_first:
            self._check(parts)
        total = self._pages.total or 0
        first, end = total - number * self._size, total - (number - 1) * self._size
        if self.unread != without(self.unread, first, end):
            self._news.add(number)
        is_all_new = any(start <= first and end <= stop for start, stop in self.unread)
        created = [task.created for part in parts for task in part.page.tasks]
        while parts:
            self._look_at(number, parts[0])
            yield parts.pop(0)
        self._note_edges(number, created)
        self.unread = without(self.unread, first, end)
        self._let_go_of_unreadable()
        if is_all_new and self._known() == known and created:
            # Nor do the tasks below it, whatever the count says.
            self.unread = tuple((start, stop) for start, stop in self.unread if stop != first)

    def _look_at(self, number: int, part: Slice) -> None:
        """Takes note of which tasks are seen, on the page of this number."""
        self.unread = part.taken_from(self.unread)
        for task in part.page.tasks:
            self._unseen.pop(digest(task.id), None)
            if task.created in self._wanted:
                self._ties.add(task.created)
        if part.page.tasks:
            self._tied |= {(number, part.page.tasks[0].created, -1), (number, part.page.tasks[-1].created, 1)}

    def _let_go_of_unreadable(self) -> None:
        """A watched task that the platform cannot deliver is not lost: it is known where it lies."""
        for key in [key for key, watched in self._unseen.items() if watched.place in self._pages.unreadable]:
            del self._unseen[key]

    def _refit(self) -> None:
        """Takes greater pages from now on, from the top, where more tasks are new than the first page holds."""
        size = self._best_size() if self.unread else 0
        if size > self._size:
            self._size = size
            self._read.clear()
            self._tied.clear()
            self._edges.clear()
            self._news.clear()

    def _best_size(self) -> int:
        """The size of page with which the first page, the new tasks and the watched ones cost the least: in no more
        requests than are the agent's share, if that suffices to read everything."""
        total, limit = self.expected, self._page_size()
        depths = [max(0, total - 1 - watched.place) for watched in self._unseen.values()]
        counted = {
            size: len({1, *pages_of(self.unread, total, size), *(depth // size + 1 for depth in depths)})
            for size in {*_SIZES, limit}
            if size <= limit
        }
        most = max(self._share, math.ceil(total / limit))

        def cost(size: int) -> float:
            return counted[size] * (_REQUEST + min(size, max(total, 1)) * self._task_bytes)

        sizes = (size for size, pages in counted.items() if size == limit or pages <= most)
        return min(sizes, key=lambda size: (cost(size), -size))

    def _check(self, parts: list[Slice]) -> None:
        """Whether the answer can be a page of what is known; notes how many tasks it counts."""
        total = next((part.page.total for part in parts), self._pages.total) or 0
        self.unread, self.expected = grown(self.unread, self.expected, total), total
        self.is_answered = all(part.page.total is not None and not part.page.whole for part in parts)
        if self.is_answered and self._doubts and self.missing < min(0, self._accepted):
            raise CountFell(
                f"the platform counts {self.expected} tasks, but has told {self._known() + min(0, self._accepted)} "
                f"before"
            )

    def _expected_pages(self) -> set[int]:
        return {self._page_of(watched.place) for watched in self._unseen.values()} | self._pages_of_news()

    def _pages_of_news(self) -> set[int]:
        return set(pages_of(self.unread, self._pages.total or 0, self._size))

    def _pages_beside(self, distance: int) -> set[int]:
        expected = {self._page_of(self._unseen[key].place) for key in self._unseen.keys() - self.slipped}
        beside = range(-distance, distance + 1)
        return {middle + by for middle in expected for by in beside if self._exists(middle + by)}

    def _pages_of_ties(self) -> set[int]:
        """The pages next to those at whose edge lies a task with the same ``created`` as one that is not found."""
        wanted = {watched.created for watched in self._unseen.values()}
        return {number + by for number, created, by in self._tied if created in wanted and self._exists(number + by)}

    def _note_edges(self, number: int, created: list[float | None]) -> None:
        if created and created[0] is not None and created[-1] is not None:
            self._edges[number] = created[0], created[-1]

    def _is_read_around(self, created: float) -> bool:
        """Whether all pages were read on which tasks with this ``created`` can lie."""
        pages = [number for number, (first, last) in self._edges.items() if first >= created >= last]
        if not pages:
            return False
        top, bottom = min(pages), max(pages)
        begins = top == 1 or self._edges[top][0] > created or top - 1 in self._edges
        ends = not self._exists(bottom + 1) or self._edges[bottom][1] < created or bottom + 1 in self._edges
        return begins and ends and all(number in self._edges for number in range(top, bottom))

    def _pages_of_slipped(self) -> list[int]:
        wanted = {self._unseen[key].created for key in self.slipped}
        return [
            number
            for number, (first, last) in sorted(self._edges.items())
            if any(created is not None and first >= created >= last for created in wanted)
        ]

    def _pages_beyond(self) -> set[int]:
        if self.missing <= self._accepted:
            return set()
        return {number + by for number in {1, *self._news} for by in range(1, _BEYOND + 1) if self._exists(number + by)}

    def _page_of(self, place: int) -> int:
        return max(0, (self._pages.total or 0) - 1 - place) // self._size + 1

    def _exists(self, page: int) -> bool:
        return page >= 1 and (page - 1) * self._size < (self._pages.total or 0)


class Sweep:
    """Reads the history again from ``place`` downwards, so many pages of it, or until tasks created before
    ``read_from``."""

    def __init__(self, pages: Pages, *, place: int, page_size: int, read_from: float | None) -> None:
        self._pages = pages
        self._page_size = page_size
        self._read_from = read_from
        self.place = place
        """Where it goes on; below 0 it is done."""

    async def slices(self, pages: int, target: int, may_go_on: Callable[[], bool]) -> AsyncIterator[Slice]:
        """At most so many pages, down to the place ``target``; each only where it may. Raises ``UnpodError``."""
        for _ in range(pages):
            if self.place < 0 or self.place < target or not may_go_on():
                return
            number = max(0, (self._pages.total or 0) - 1 - self.place) // self._page_size + 1
            parts = await self._pages.read(number, self._page_size)
            was_last = is_past(parts, self._read_from)
            while parts:
                yield parts.pop(0)
            self.place = min(self.place - 1, (self._pages.total or 0) - 1 - number * self._page_size)
            if was_last:
                self.place = -1


def missing(total: int, known: int, skipped: int) -> int:
    """How many tasks the platform counts that are not known, of which so many are ``skipped``; below 0: how many are
    known that it counts no more."""
    # Of those that it cannot deliver, some may have been known before.
    return max(0, total - known - skipped) + min(0, total - known)
