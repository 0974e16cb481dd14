"""Pages of one agent's tasks, checked against their own count, and walked around what the server cannot write.

A document that the server cannot write fails every page that holds it, for ever; one that alone is more than an answer
may weigh is as good as that. Such a page is read in aligned parts
(page k of size P is pages (k-1)f+1 .. kf of size P/f) down to the single task, which is skipped. That the server is not
simply down is told by a page past the end, which holds no document and always works; that it delivers tasks at all, by
some far from there. Places of such tasks are remembered,
so that a page with one of them is asked for in parts at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

import msgspec

from exporter.tracking.spans import Spans, without
from exporter.unpod.errors import BadResponse, ConnectionFailed, RateLimited, ServerError, Timeout, TooLarge, UnpodError
from exporter.unpod.facts import Page
from exporter.unpod.urgency import Urgency

_POISONED: Final = 500
"""The status of a page with a document that cannot be written; 502 to 504 come from a proxy."""
_FAILURES: Final = 50
"""How many pages and parts of pages may be such in one poll: looking for more would be a burden to the platform."""
_FRUITLESS: Final = 6
"""How many of them there may be before any task was delivered, until it is looked elsewhere whether any can be."""
_FACTORS: Final = (2, 3, 5)
_STUMBLES: Final = 2
"""How often a page is asked for again after a failure that passes."""
_FAR: Final = 1_000_000_000
"""A page past the end of every history."""


class Source(Protocol):
    """Where pages come from. Raises ``UnpodError``."""

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        """One page of an agent's tasks, newest first."""

    def has_time(self) -> bool:
        """Whether a request could begin now that makes nobody wait."""


class TooManyUnreadable(UnpodError):
    """So many pages cannot be delivered that the search for what is wrong with them was given up for now; ``places``
    are the tasks that were found, ``last`` is the last failure, and gives the reason."""

    def __init__(self, places: Collection[int], last: UnpodError) -> None:
        super().__init__(
            f"more than {_FAILURES} pages and parts of pages cannot be delivered, although others can; the next poll "
            f"goes on from what was found; the last one: {last}",
            status=last.status,
        )
        self.places = frozenset(places)
        self.reason = last.reason


class Slice(msgspec.Struct, frozen=True):
    """Some tasks in a row."""

    page: Page
    first: int
    """How many tasks were newer than its first one."""

    def place(self, index: int) -> int | None:
        """How many tasks are older than the one at this index; None where the platform does not count."""
        return None if self.page.total is None else self.page.total - 1 - self.first - index

    def taken_from(self, spans: Spans) -> Spans:
        """The places that are left when these tasks have been read."""
        if self.page.total is None:
            return spans
        end = self.page.total - self.first
        return without(spans, end - self.page.received, end)


class Pages:
    """The pages of one agent during one poll. ``unreadable`` are the places that are known to be; they are tried again
    where ``retry`` is set, as far as that is no burden. ``urgency`` is that of all its requests."""

    def __init__(
        self,
        source: Source,
        agent: str,
        unreadable: Collection[int] = (),
        *,
        retry: bool = False,
        urgency: Urgency = Urgency.FRESH,
    ) -> None:
        self._source = source
        self._agent = agent
        self._urgency = urgency
        self._retry = retry
        self._known = frozenset(unreadable)
        self._failures = 0
        self.unreadable = set(unreadable)
        self.total: int | None = None
        """The API's own ``count``, as last told."""
        self._uncounted = 0
        self._answered = False
        self._delivered = False
        """Whether any task was."""
        self.requests = 0
        """How many have been made, well or badly."""

    @property
    def skipped(self) -> int:
        """How many tasks the server cannot deliver."""
        return len(self.unreadable) + self._uncounted

    async def read(self, number: int, size: int) -> list[Slice]:
        """A page, or its parts where it cannot be read as a whole. Raises ``UnpodError``."""
        return await self._read(number, size, whole=True)

    async def _read(self, number: int, size: int, *, whole: bool, confirmed: bool = False) -> list[Slice]:
        if avoided := self._avoided(number, size):
            return await self._around(avoided, number, size)
        try:
            part = Slice(await self._request(number, size), (number - 1) * size)
        except TooLarge as error:
            if size == 1:
                await self._note(error)
                # Where the page without any document is too large as well, or every other task, it is not the task.
                await self._request(_FAR, 1)
                if not self._delivered:
                    await self._look_elsewhere()
            return await self._parts(number, size)
        except ServerError as error:
            if error.status != _POISONED:
                raise
            await self._note(error)
            if whole or size == 1:
                await self._request(_FAR, 1)
            if size == 1 and not confirmed:
                return await self._read(number, size, whole=False, confirmed=True)
            return await self._parts(number, size)
        self.unreadable -= {part.place(index) for index in range(part.page.received)}
        return [part]

    async def retry(self, place: int) -> Slice | None:
        """A task that could not be delivered, asked for by itself; None: it still cannot be."""
        if self.total is None or not 0 <= place < self.total:
            return None
        number = self.total - place
        try:
            part = Slice(await self._request(number, 1), number - 1)
        except TooLarge:
            return None
        except ServerError as error:
            if error.status != _POISONED:
                raise
            return None
        self.unreadable -= {part.place(index) for index in range(part.page.received)}
        return part

    async def _note(self, error: UnpodError) -> None:
        """Takes note of a page that cannot be delivered. Raises ``UnpodError`` where that is so of too many, or of
        all."""
        self._failures += 1
        if self._failures > _FAILURES:
            raise TooManyUnreadable(self.unreadable, error) from error
        if self._failures == _FRUITLESS and not self._delivered:
            await self._look_elsewhere()

    async def _around(self, avoided: list[int], number: int, size: int) -> list[Slice]:
        """A page without the tasks so many below the top, in as few aligned parts as may be."""
        parts: list[Slice] = []
        start = (number - 1) * size
        for end in (*avoided, number * size):
            while start < end and (self.total is None or start < self.total):
                part = _aligned(start, end)
                parts += await self._read(start // part + 1, part, whole=False)
                start += part
            start = end + 1
        return parts

    async def _parts(self, number: int, size: int) -> list[Slice]:
        if size == 1:
            self._skip(number)
            return []
        factor = next((factor for factor in _FACTORS if size % factor == 0), size)
        parts = []
        for part in range((number - 1) * factor + 1, number * factor + 1):
            if self.total is None or (part - 1) * (size // factor) < self.total:
                parts += await self._read(part, size // factor, whole=False)
        return parts

    async def _look_elsewhere(self) -> None:
        """Raises ``UnpodError`` where tasks far from those that fail are not delivered either: then it is not they."""
        if self.total is None or self.total <= _FAILURES:
            return
        for number in (self.total // 2, self.total):
            try:
                await self._request(number, 1)
            except ServerError as error:
                if error.status != _POISONED:
                    raise
            else:
                return
        raise ServerError(
            "every page with tasks answers HTTP 500, wherever it lies, although the empty one past the end works",
            status=_POISONED,
        )

    def _skip(self, number: int) -> None:
        if self.total is None:
            self._uncounted += 1
        else:
            self.unreadable.add(self.total - number)

    def _avoided(self, number: int, size: int) -> list[int]:
        """How many tasks lie above each one of a page that is known to be unreadable."""
        if self.total is None or (self._retry and self._failures < _FAILURES // 2):
            return []
        above = (self.total - 1 - place for place in self._known)
        return sorted(one for one in above if (number - 1) * size <= one < number * size)

    async def _request(self, number: int, size: int) -> Page:
        """A page that agrees with its own count. A task created between counting and reading explains one that does
        not, so it is asked for once more."""
        for _ in range(2):
            page = await self._patiently(number, size)
            if page.whole or page.total is None or page.received <= max(0, page.total - (number - 1) * size):
                self.total = page.total
                self._answered = True
                self._delivered = self._delivered or page.received > 0
                return page
        raise BadResponse(
            f"page {number} of {size} tasks holds {page.received}, but the platform counts {page.total} in all"
        )

    async def _patiently(self, number: int, size: int) -> Page:
        """A page, asked for again where the platform has answered before and has only stumbled: one lost page must not
        cost a long reading. A platform that is down is not asked more often for it."""
        for _ in range(_STUMBLES):
            try:
                return await self._ask(number, size)
            except (Timeout, ConnectionFailed, RateLimited, ServerError) as error:
                if not self._answered or error.status == _POISONED:
                    raise
        return await self._ask(number, size)

    async def _ask(self, number: int, size: int) -> Page:
        self.requests += 1
        return await self._source.tasks(self._agent, page=number, page_size=size, urgency=self._urgency)


def divisible(size: int) -> int:
    """The greatest size of page up to this one that can be asked for in a few aligned parts, and these again, down to
    single tasks."""
    return next(smaller for smaller in range(size, 0, -1) if _has_small_factors(smaller))


def _aligned(start: int, end: int) -> int:
    """The greatest size of page that begins with the task at ``start``, goes no farther than ``end``, and can be asked
    for in parts."""
    return next(size for size in range(end - start, 0, -1) if start % size == 0 and _has_small_factors(size))


def _has_small_factors(size: int) -> bool:
    for factor in _FACTORS:
        while size % factor == 0:
            size //= factor
    return size == 1
