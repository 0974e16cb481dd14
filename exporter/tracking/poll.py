"""One reading of an agent's tasks: which pages, in which order, and when it is complete.

Pages are read newest first. New tasks push the others down while pages are read, so a page may repeat tasks of the one
before: that loses nothing. But tasks with equal ``created`` may swap places between two requests, and one of them may
slip from a page that is still to be read to one that was read before. A reading is therefore complete only when as many
different tasks are known as the first answer counted; otherwise the pages between which tasks with equal ``created``
lie are read again. (A known task that slips is looked at in the next poll: nothing of it is lost.)

A document that the server cannot write fails the whole page that holds it, for ever. Such a page is read in aligned
parts (page k of size P is pages (k-1)f+1 .. kf of size P/f) down to the single task, which is skipped. That the server
is not simply down is told by a page past the end: it holds no document and always works.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from exporter.unpod.errors import BadResponse, ServerError, TooLarge
from exporter.unpod.facts import Page

_ROUNDS: Final = 12
"""How often pages are read again within one poll before its answers count as contradictory."""
_POISONED: Final = 500
"""The status of a page with a document that cannot be written; 502 to 504 come from a proxy."""
_FAR: Final = 1_000_000_000
"""A page past the end of every history."""


_Edges = tuple[float | None, float | None]


class Source(Protocol):
    """Where pages come from. Raises ``UnpodError``."""

    async def tasks(self, agent: str, *, page: int, page_size: int) -> Page:
        """One page of an agent's tasks, newest first."""


class Reading:
    """One complete reading of an agent's tasks.

    ``known`` tells how many different tasks are known, those that have been taken included; ``read_from`` leaves out
    tasks created before it (Unix seconds).
    """

    def __init__(
        self,
        source: Source,
        agent: str,
        *,
        page_size: int,
        known: Callable[[], int],
        read_from: float | None = None,
    ) -> None:
        self._source = source
        self._agent = agent
        self._page_size = page_size
        self._known = known
        self._read_from = read_from
        self._unidentified = 0
        self._expected: int | None = None
        self._edges: dict[int, _Edges] = {}
        self.total: int | None = None
        """The API's own ``count``, as last told."""
        self.unreadable = 0
        """Tasks that the server cannot deliver."""

    @property
    def ratio(self) -> float:
        """How much of the history is known, from 0 to 1."""
        return min(1.0, (self._known() + self.unreadable) / self.total) if self.total else 0.0

    async def pages(self) -> AsyncIterator[Page]:
        """The pages, to be taken one by one; when they end, the reading was complete.

        Raises ``UnpodError``: then it was not, and nothing that was taken may be counted.
        """
        async for page in self._once():
            yield page
        for _ in range(_ROUNDS):
            if self._is_complete():
                return
            async for page in self._again():
                yield page
        if not self._is_complete():
            raise BadResponse(
                f"the platform counts {self._expected} tasks, but its pages hold {self._known()} different ones, "
                f"however often they are read"
            )

    async def _once(self) -> AsyncIterator[Page]:
        number = 0
        before: frozenset[str] = frozenset()
        while True:
            number += 1
            parts = await self._read(number, self._page_size)
            for page in parts:
                self._unidentified += page.unidentified
                yield page
            found = frozenset(task.id for page in parts for task in page.tasks)
            self._edges[number] = _edges(parts)
            if self._is_last(number, parts, repeats=found <= before):
                return
            before = found

    async def _again(self) -> AsyncIterator[Page]:
        """The pages between which tasks with equal ``created`` lie; all of them where there are none such."""
        tied = {
            page
            for number, edges in self._edges.items()
            if number + 1 in self._edges and edges[1] == self._edges[number + 1][0]
            for page in (number, number + 1)
        }
        unreadable = self.unreadable
        for number in sorted(tied or self._edges):
            for page in await self._read(number, self._page_size):
                yield page
        self.unreadable = unreadable

    def _is_last(self, number: int, parts: list[Page], *, repeats: bool) -> bool:
        if any(page.whole for page in parts) or self._is_past_history(parts):
            return True
        if self.total is not None:
            return number * self._page_size >= self.total
        return repeats or sum(page.received for page in parts) + self.unreadable < self._page_size

    def _is_past_history(self, parts: list[Page]) -> bool:
        times = [task.created for page in parts for task in page.tasks if task.created is not None]
        return self._read_from is not None and bool(times) and min(times) < self._read_from

    def _is_complete(self) -> bool:
        if self._expected is None or self._read_from is not None:
            return True
        return self._known() + self.unreadable + self._unidentified >= self._expected

    async def _read(self, number: int, size: int) -> list[Page]:
        """A page, or its parts where it cannot be read as a whole."""
        try:
            return [await self._request(number, size)]
        except TooLarge:
            if size == 1:
                self.unreadable += 1
                return []
        except ServerError as error:
            if error.status != _POISONED:
                raise
            if size in (1, self._page_size):
                await self._request(_FAR, 1)
            if size == 1:
                self.unreadable += 1
                return []
        return await self._read_parts(number, size)

    async def _read_parts(self, number: int, size: int) -> list[Page]:
        factor = next(factor for factor in range(2, size + 1) if size % factor == 0)
        parts = []
        for part in range((number - 1) * factor + 1, number * factor + 1):
            parts += await self._read(part, size // factor)
        return parts

    async def _request(self, number: int, size: int) -> Page:
        """A page that agrees with its own count. A task created between counting and reading explains one that does
        not, so it is asked for once more."""
        for _ in range(2):
            page = await self._source.tasks(self._agent, page=number, page_size=size)
            if page.whole or page.total is None or page.received <= max(0, page.total - (number - 1) * size):
                break
        else:
            raise BadResponse(
                f"page {number} of {size} tasks holds {page.received}, but the platform counts {page.total} in all"
            )
        if page.total is not None:
            self.total = page.total
            if self._expected is None:
                self._expected = page.total
        return page


def _edges(parts: list[Page]) -> _Edges:
    """``created`` of the first and of the last task."""
    tasks = [task for page in parts for task in page.tasks]
    return (tasks[0].created, tasks[-1].created) if tasks else (None, None)
