"""What one poll enters into the state of an agent, and commits as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from exporter.tracking.ledger import Look, observe, shifted
from exporter.tracking.lookups import Lookups
from exporter.tracking.pages import Pages, Slice, divisible
from exporter.tracking.records import Record, digest
from exporter.tracking.rules import FARTHEST, Rules
from exporter.tracking.sparse import Watched
from exporter.tracking.storage import Commit, Loaded, Storage
from exporter.tracking.tallies import TASKS, Draft, Limits, Numbers, pack, plus, without
from exporter.unpod.facts import Task

_PAGE_BYTES: Final = 3 * 2**20
"""What a page should weigh: more would hold up the scrapes while it is decoded, less would ask too often."""
_FIRST_PAGE: Final = 20
_SKEW: Final = 60.0
"""Seconds by which the clocks of the platform and of the exporter may differ."""
_COMMITTED_AT_ONCE: Final = 2_000
"""Records that are committed together at most."""
_UNDONE: Final = 0.1
"""The part of what has been read that a kill may undo."""
_AT_ONCE: Final = 100
"""Tasks that are looked at before others get their turn: less than a millisecond or two."""


Drafting = Callable[[Limits, Numbers], Draft]
"""What begins a draft that adds to these numbers."""


class Entry:
    """What one poll enters into the state of an agent."""

    def __init__(
        self,
        agent: str,
        storage: Storage,
        state: Loaded,
        rules: Rules,
        drafting: Drafting = Draft,
        lookups: Lookups | None = None,
    ) -> None:
        self._agent = agent
        self._storage = storage
        self._state = state
        self._rules = rules
        self._drafting = drafting
        self._lookups = lookups or Lookups()
        self._draft = drafting(rules.limits, state.numbers)
        self._watched = dict(state.watched)
        self._records: dict[int, Record] = {}
        self._fresh: set[int] = set()
        self._read_from = state.book.read_from
        self._newest = state.book.newest
        self._bytes = 0
        self._steady = True
        self.pages = 0
        self.tasks = 0
        self.grown: dict[str, int] = {}

    @property
    def known(self) -> int:
        """How many tasks are known, those that have been taken included."""
        return self._state.tracked + len(self._fresh)

    @property
    def changed(self) -> int:
        """How many tasks wait to be committed."""
        return len(self._records)

    @property
    def is_worth_committing(self) -> bool:
        """Whether a part of a long reading is. Page by page it would cost twice as much, but what a kill may undo stays
        a small part of what has been read."""
        return self.changed >= min(_COMMITTED_AT_ONCE, self.known * _UNDONE)

    async def limit(self, read_from: float | None) -> None:
        """Takes the tasks that have left the history that is read out of the gauges, or those that are back in."""
        before, after = self._read_from or 0.0, read_from or 0.0
        self._read_from = read_from
        sign = -1 if after > before else 1
        if before == after:
            return
        async for moved in self._storage.created_between(self._agent, min(before, after), max(before, after)):
            for key, record in moved.items():
                self._draft.added[(TASKS, record.execution_type, record.status)] += sign
                if sign < 0:
                    self._watched.pop(key, None)
                elif record.watched:
                    self._watched[key] = record

    def distrust(self) -> None:
        """Takes note that the exporter's clock has been set of late."""
        self._steady = False

    def shift(self, seconds: float) -> None:
        """Takes note that the exporter's clock has been set ahead, or back, by so much."""
        for key, record in list(self._watched.items()):
            if (after := shifted(record, seconds)) != record:
                self._enter(key, after)

    @property
    def task_bytes(self) -> float:
        """What a task weighs, on average, as far as known; else 0."""
        return self._bytes / self.tasks if self.tasks else self._state.book.task_bytes

    @property
    def page_size(self) -> int:
        """How many tasks to ask for at once: few until it is known what they weigh, then a page of good size."""
        if not self.task_bytes:
            return divisible(min(_FIRST_PAGE, self._rules.page_size))
        return divisible(min(self._rules.page_size, max(1, int(_PAGE_BYTES / self.task_bytes))))

    @property
    def watched(self) -> dict[int, Watched]:
        """Where the watched tasks lie, by key, as far as known."""
        return {
            key: Watched(record.place, record.created)
            for key, record in self._watched.items()
            if record.place is not None
        }

    async def take(self, part: Slice, now: float) -> None:
        """Looks at every task of a slice."""
        self.pages += 1
        self.tasks += len(part.page.tasks)
        self._bytes += part.page.bytes
        # Of a task that is told twice the last one counts.
        wanted = {
            digest(task.id): (index, task)
            for index, task in enumerate(part.page.tasks)
            if is_read(task.created, self._read_from)
        }
        needed = self._lookups.needed(wanted.keys() - self._records.keys())
        known = await self._storage.records(self._agent, needed) if needed else {}
        looks = self._looks(now)
        # One wrong date must not hide for ever when calls end.
        self._draft.latest = now + _SKEW
        for done, (key, (index, task)) in enumerate(wanted.items(), start=1):
            if done % _AT_ONCE == 0:
                await asyncio.sleep(0)
            before = self._records.get(key) or known.get(key)
            after = observe(before, task, looks[self._is_history(task, now)], self._draft)
            place = part.place(index) if after.watched else None
            if place != after.place:
                after = msgspec.structs.replace(after, place=place)
            if before is None:
                self._fresh.add(key)
            if after != before:
                self._enter(key, after)
            # A clock that is wrong in one task must not make history of those that are to come.
            if task.created is not None and task.created <= now:
                self._newest = max(task.created, self._newest or task.created)

    def _looks(self, now: float) -> tuple[Look, Look]:
        """How tasks are looked at: those that are not history, and those that are."""
        settling, keep_numbers = self._rules.settling_time, self._rules.limits.numbers > 0
        present, past = (
            Look(now=now, settling=settling, history=history, keep_numbers=keep_numbers, steady=self._steady)
            for history in (False, True)
        )
        return present, past

    def _enter(self, key: int, record: Record) -> None:
        self._records[key] = record
        if record.watched:
            self._watched[key] = record
        else:
            self._watched.pop(key, None)

    async def commit(self, *, complete: bool, **book: object) -> Loaded:
        """Commits what has been taken so far; returns the new state."""
        added = {key: amount for key, amount in self._draft.total().items() if amount}
        state = self._state
        numbers = plus(state.numbers, added)
        changes = {
            "complete": complete,
            "read_from": self._read_from,
            "newest": self._newest,
            "last_call_end": self._last_call_end(),
            "task_bytes": self.task_bytes,
            **book,
        }
        if complete and not (state.book.complete or state.book.carried):
            changes["opening"] = pack(without(numbers, (TASKS,)))
        after = msgspec.structs.replace(
            state,
            book=msgspec.structs.replace(state.book, **changes),
            numbers=numbers,
            watched=dict(self._watched),
            tracked=self.known,
        )
        await self._storage.commit(
            self._agent,
            Commit(book=after.book, numbers={key: numbers[key] for key in added}, records=self._records),
        )
        self._lookups.committed(self._records.keys())
        self._draft.committed()
        for key, amount in added.items():
            self.grown[key[0]] = self.grown.get(key[0], 0) + amount
        self._state = after
        self._draft = self._drafting(self._rules.limits, numbers)
        self._records, self._fresh = {}, set()
        return after

    def _last_call_end(self) -> float | None:
        before, told = self._state.book.last_call_end, self._draft.last_call_end
        if before is None or told is None:
            return before if told is None else told
        # What was believed of a clock that was far ahead must not stay for ever.
        return told if before > self._draft.latest + FARTHEST else max(before, told)

    async def finish(self, now: float, pages: Pages, **book: object) -> Loaded:
        """Commits the end of a poll that was complete."""
        return await self.commit(
            complete=True,
            carried=False,
            left=False,
            count_from=self._history_ends(),
            last_success=now,
            unreadable=tuple(sorted(pages.unreadable)),
            unread=None,
            shown=None,
            **book,
        )

    def lose(self, keys: Iterable[int]) -> None:
        """Takes note that watched tasks are not where they were."""
        for key in keys:
            self._enter(key, msgspec.structs.replace(self._watched[key], place=None))

    def _is_history(self, task: Task, now: float) -> bool:
        book = self._state.book
        if book.count_from is None:
            return True
        if book.carried and (task.created is None or task.created > now + _SKEW):
            # Read again: whether it was counted cannot be told by when it was created.
            return True
        return task.created is not None and task.created < book.count_from

    def _history_ends(self) -> float:
        """Where counting begins once the history has been read: what is not older than its newest task is new."""
        count_from = self._state.book.count_from
        return (self._newest or 0.0) if count_from is None else count_from


def is_read(created: float | None, read_from: float | None) -> bool:
    """Whether a task lies in the history that is read."""
    return read_from is None or created is None or created >= read_from
