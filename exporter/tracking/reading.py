"""One reading of an agent's tasks: which pages, in which order, and when it is complete.

Pages are read newest first. New tasks push the others down while pages are read, so a page may repeat tasks of the one
before: that loses nothing. But tasks with equal ``created`` may swap places between two requests, and one of them may
slip from a page that is still to be read to one that was read before. A reading is therefore complete only when as many
different tasks are known as the first answer counted; otherwise the pages between which tasks with equal ``created``
lie are read again. (A known task that slips is looked at in the next poll: nothing of it is lost.)

A platform may list a task more than once, and count it so. It is believed where a page holds it twice again when it is
read again; and where nothing can have slipped: where there are no such pages and the whole holds the same in the same
order again, or where they were read so often that chance would have shown what slips, while the count has stayed what
it was. What is missing then is looked for by a sweep all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Final

from exporter.tracking.pages import Pages, Slice
from exporter.tracking.spans import Spans, grown, without
from exporter.unpod.errors import BadResponse

_ROUNDS: Final = 12
"""How often pages are read again within one poll before its answers count as contradictory."""
_Edges = tuple[float | None, float | None]


class Reading:
    """One complete reading of an agent's tasks, newest first.

    ``page_size`` tells how many tasks to ask for at once, and may know better after the first page; ``known`` tells how
    many different tasks are known of those that its first answer counts, those that have been taken included;
    ``resume`` which ones an earlier reading has left, and how many tasks there were then, and ``unaccounted`` how many
    on its pages the platform counts but nobody can tell apart; ``read_from`` leaves out tasks created before it (Unix
    seconds).
    """

    def __init__(
        self,
        pages: Pages,
        *,
        page_size: Callable[[], int],
        known: Callable[[], int],
        resume: tuple[Spans, int] = ((), 0),
        unaccounted: int = 0,
        read_from: float | None = None,
    ) -> None:
        self._pages = pages
        self._best_size = page_size
        self._page_size = page_size()
        self._known = known
        self.unread, self._counted = resume
        """Which tasks are still to be read, as far as the platform counts."""
        self._read_from = read_from
        self._unaccounted_before = unaccounted
        self._unidentified = 0
        """Documents without an identity."""
        self.expected: int | None = None
        """How many tasks there were when it began, as the platform counts them."""
        self._edges: dict[int, _Edges] = {}
        self._doubted: set[int] = set()
        """The pages that hold a task twice, which is not believed yet."""
        self._repeated: set[str] = set()
        """Tasks that a page has held twice."""
        self._believed: dict[str, int] = {}
        """How often more than once those are listed that were so again."""

    @property
    def unaccounted(self) -> int:
        """How many tasks the platform counts that nobody can tell apart, as far as pages have been read."""
        return self._unaccounted_before + self._unidentified + sum(self._believed.values())

    @property
    def ratio(self) -> float:
        """How much of the history is known, from 0 to 1."""
        total = self._pages.total
        return min(1.0, (self._known() + self._pages.skipped) / total) if total else 0.0

    @property
    def missing(self) -> int:
        """How many of the tasks that were counted at its beginning are not known."""
        return max(0, (self.expected or 0) - self._known() - self._pages.skipped)

    async def slices(self) -> AsyncIterator[Slice]:
        """The tasks, to be taken slice by slice; when they end, the reading was complete. What is ``missing`` then are
        tasks that are listed more than once.

        Raises ``UnpodError``: then it was not, and nothing that was taken may be counted.
        """
        before: int | None = None
        for read in (self._once, *_ROUNDS * (self._again,)):
            order = 0
            async for part in read():
                order = hash((order, part.first, part.page.total, *(task.id for task in part.page.tasks)))
                # Handed over, not lent: many agents may wait for the next one.
                handed = [part]
                del part
                yield handed.pop()
            if self._is_complete() or (order == before and not self._uncertain):
                return
            before = order
        if self._pages.total != self.expected:
            raise BadResponse(
                f"the platform counts {self.expected} tasks, but its pages hold {self._known()} different ones, "
                f"however often they are read"
            )

    async def _once(self) -> AsyncIterator[Slice]:
        number = 0
        before: frozenset[str] = frozenset()
        while True:
            number += 1
            parts = await self._pages.read(number, self._page_size)
            if self.expected is None:
                self._expect(next((part.page.total for part in parts), self._pages.total))
            self._unidentified += sum(part.page.unidentified for part in parts)
            self._note_repeated(number, parts)
            # A page that repeats the one before tells something only where nobody counts.
            counted = self._pages.total is not None
            found = frozenset(() if counted else (task.id for part in parts for task in part.page.tasks))
            self._edges[number] = _edges(parts)
            is_last = self._is_last(number, parts, repeats=found <= before)
            # Let go of one by one: many agents may wait for the next one.
            while parts:
                self.unread = parts[0].taken_from(self.unread)
                yield parts.pop(0)
            self.unread = self._below(number)
            if is_last or (self.expected is not None and not self.unread):
                return
            before = found
            number = self._skipped(number if number > 1 else self._refitted())

    def _expect(self, total: int | None) -> None:
        self.expected = total
        self.unread = grown(self.unread, self._counted, total or 0)

    def _below(self, number: int) -> Spans:
        """What is unread without the tasks of a page, and those that were passed over."""
        total = self._pages.total
        return self.unread if total is None else without(self.unread, total - number * self._page_size, total)

    def _refitted(self) -> int:
        """Fits the size of page to what the tasks of the first page weigh; returns how many such pages it makes up."""
        read = self._page_size
        self._page_size = self._best_size()
        if read < self._page_size:
            # The first page is read again.
            self._edges.clear()
            self._doubted.clear()
            self._unidentified = 0
        return read // self._page_size

    def _skipped(self, number: int) -> int:
        """The page before the next one: past what an earlier reading has read."""
        if self._pages.total is None or not self.unread:
            return number
        _, top = self.unread[0]
        return max(number, (self._pages.total - top) // self._page_size)

    def _note_repeated(self, number: int, parts: list[Slice]) -> None:
        """Takes note of tasks that a page holds more than once: others may have been left out for them, unless they are
        so again."""
        counted = Counter(task.id for part in parts for task in part.page.tasks)
        repeated = {task: times - 1 for task, times in counted.items() if times > 1}
        for task in repeated.keys() & self._repeated - self._believed.keys():
            self._believed[task] = repeated[task]
        self._repeated |= repeated.keys()
        self._doubted.discard(number)
        if repeated.keys() - self._believed.keys():
            self._doubted.add(number)

    @property
    def _uncertain(self) -> set[int]:
        """The pages that are read again first: those between which tasks with equal ``created`` lie, and those that
        hold a task twice."""
        return self._doubted | {
            page
            for number, edges in self._edges.items()
            if number + 1 in self._edges and edges[1] == self._edges[number + 1][0]
            for page in (number, number + 1)
        }

    async def _again(self) -> AsyncIterator[Slice]:
        """The pages between which something may have slipped; all of them where there are none such."""
        total = self._pages.total or 0
        for number in sorted(self._uncertain) or range(1, math.ceil(total / self._page_size) + 1):
            parts = await self._pages.read(number, self._page_size)
            self._note_repeated(number, parts)
            while parts:
                yield parts.pop(0)

    def _is_last(self, number: int, parts: list[Slice], *, repeats: bool) -> bool:
        if any(part.page.whole for part in parts) or self._is_past_history(parts):
            return True
        if self._pages.total is not None:
            return number * self._page_size >= self._pages.total
        received = sum(part.page.received for part in parts)
        return repeats or received + self._pages.skipped < self._page_size

    def _is_past_history(self, parts: list[Slice]) -> bool:
        return is_past(parts, self._read_from)

    def _is_complete(self) -> bool:
        if self.expected is None or self._read_from is not None:
            # How many there should be is not known.
            return not self._doubted
        return self._known() + self._pages.skipped + self.unaccounted >= self.expected


def is_past(parts: list[Slice], read_from: float | None) -> bool:
    """Whether all tasks that tell when they were created are older than the history that is read."""
    times = [task.created for part in parts for task in part.page.tasks if task.created is not None]
    return read_from is not None and bool(times) and max(times) < read_from


def _edges(parts: list[Slice]) -> _Edges:
    """``created`` of the first and of the last task."""
    tasks = [task for part in parts for task in part.page.tasks]
    return (tasks[0].created, tasks[-1].created) if tasks else (None, None)
