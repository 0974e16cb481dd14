"""One agent: polls it, keeps what is known and counted of it, and reports its numbers.

What a poll finds is committed in one transaction at its end and published only then, as a whole. The first reading of
a history is committed page by page, so that it is never held in memory, but published like any other: at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from exporter.tracking.identity import RUNNING, WAITING
from exporter.tracking.ledger import Look, observe
from exporter.tracking.poll import Reading, Source
from exporter.tracking.records import Record, digest
from exporter.tracking.report import Counter, Family, Gauge, Labels, Report
from exporter.tracking.storage import Book, Commit, Loaded, Storage, StorageError
from exporter.tracking.tallies import TASKS, Draft, Limits, families, plus, tasks, without
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Page, Task

_INTERNAL: Final = "internal"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How agents are read and counted. Times in seconds."""

    page_size: int = 200
    settling_time: float = 600.0
    max_staleness: float = 900.0
    overdue_grace: float = 300.0
    history: float | None = None
    """How far back tasks are read at all; None: without limit."""
    backfill: float = math.inf
    """How far back the tasks lie that a new ledger counts; 0: it starts at nothing."""
    limits: Limits


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one poll."""

    seconds: float
    error: Exception | None = None
    """None: it succeeded. An ``UnpodError``, a ``StorageError``, or a defect of this program."""
    pages: int = 0
    tasks: int = 0
    """How many tasks were read."""
    changes: Mapping[str, int] = {}
    """How much each counted family has grown."""
    first: bool = False
    """The history has been read once, with this poll."""

    @property
    def reason(self) -> str | None:
        """The bounded word for a failure."""
        if self.error is None:
            return None
        return self.error.reason if isinstance(self.error, UnpodError) else _INTERNAL

    @property
    def error_in_words(self) -> str | None:
        """Why it failed, for people, with nothing private."""
        if self.error is None:
            return None
        # A defect's message may hold a piece of an answer.
        return f"a defect of the exporter: {type(self.error).__name__}" if self.is_defect else str(self.error)

    @property
    def is_defect(self) -> bool:
        """Whether it failed for none of the reasons that are expected."""
        return self.error is not None and not isinstance(self.error, UnpodError | StorageError)


class Tracker:
    """One agent. ``now`` gives Unix seconds, ``elapsed`` seconds that never jump; ``progressed`` is called after each
    page with how much of the history has been read (0 to 1) while it is read for the first time."""

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
    ) -> None:
        self.agent = agent
        self._source = source
        self._storage = storage
        self._rules = rules
        self._now = now
        self._elapsed = elapsed
        self._progressed = progressed
        self._state: Loaded | None = None
        self._gauges: dict[str, Family] = {}
        self._polled = now()
        self._polls = 0
        self._failures: dict[Labels, float] = {}
        self._last: Outcome | None = None
        self._last_poll: float | None = None
        self._ratio = 0.0

    @property
    def last(self) -> Outcome | None:
        """The last poll; None before the first one has ended."""
        return self._last

    @property
    def last_success(self) -> float | None:
        """When the last successful poll ended, in Unix seconds, in this process or an earlier one."""
        return self._state.book.last_success if self._state else None

    @property
    def last_poll(self) -> float | None:
        """When the last poll ended, in Unix seconds; None before the first one has ended."""
        return self._last_poll

    @property
    def tracked(self) -> int | None:
        """How many tasks are known; None until the history has been read."""
        return self._state.tracked if self._state is not None and self._complete else None

    @property
    def calls(self) -> int | None:
        """How many calls have been counted; None until the history has been read."""
        if self._state is None or not self._complete:
            return None
        return sum(number for key, number in self._state.numbers.items() if key[0] == "calls")

    @property
    def history_ratio(self) -> float:
        """How much of the history has been read, from 0 to 1."""
        return 1.0 if self._complete else self._ratio

    @property
    def _complete(self) -> bool:
        return self._state is not None and self._state.book.complete

    async def poll(self) -> Outcome:
        """Reads the agent once. A failure is an outcome, not an exception; it changes no number but its own."""
        started = self._elapsed()
        try:
            outcome = await self._poll()
        except Exception as error:
            outcome = Outcome(seconds=0.0, error=error)
        outcome = msgspec.structs.replace(outcome, seconds=self._elapsed() - started)
        self._polls += 1
        if outcome.reason is not None:
            key = (outcome.reason,)
            self._failures[key] = self._failures.get(key, 0) + 1
        self._last, self._last_poll = outcome, self._now()
        return outcome

    async def load(self) -> Loaded:
        """Takes up what an earlier process has committed, so that it is shown before the first poll.

        Raises ``StorageError``.
        """
        if self._state is None:
            loaded = await self._storage.load(self.agent) or Loaded(
                book=self._new_book(), numbers={}, open={}, tracked=0
            )
            self._state = await self._adopted(loaded)
            if self._complete:
                self._measure(self._state)
        return self._state

    async def try_load(self) -> None:
        """Like ``load``; where the state cannot be read, the next poll tries again and tells."""
        with suppress(StorageError):
            await self.load()

    def report(self, info: Mapping[str, str]) -> Report:
        """The numbers to be shown now; ``info`` are the labels of ``agent_info``."""
        shown: dict[str, Family] = self._health()
        success = self.last_success
        if self._state is not None and self._complete:
            book = self._state.book
            shown |= families(self._state.numbers, self._rules.limits, {"": book.since, **book.began})
            shown |= self._gauges
        return Report(
            agent=self.agent,
            families=shown,
            info=info,
            fresh_until=None if success is None else success + self._rules.max_staleness,
        )

    async def _poll(self) -> Outcome:
        state = await self.load()
        first = not state.book.complete
        read_from = None if self._rules.history is None else self._now() - self._rules.history
        entry = _Entry(self.agent, self._storage, state, self._rules)
        reading = Reading(
            self._source, self.agent, page_size=self._rules.page_size, known=lambda: entry.known, read_from=read_from
        )
        await entry.limit(read_from)
        async for page in reading.pages():
            await entry.take(page, self._now())
            if first:
                self._state = await entry.commit(complete=False)
                self._ratio = reading.ratio
                self._progressed(self.agent, self._ratio)
        now = self._now()
        self._state = await entry.finish(now, reading)
        self._measure(self._state)
        return Outcome(seconds=0.0, pages=entry.pages, tasks=entry.tasks, changes=entry.grown, first=first)

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
        )
        if renewed:
            dropped = [key for key in loaded.numbers if key[0] in renewed]
            await self._storage.commit(self.agent, Commit(book=book, dropped=dropped))
        young = {key: record for key, record in loaded.open.items() if _is_read(record.created, book.read_from)}
        return msgspec.structs.replace(loaded, book=book, numbers=without(loaded.numbers, renewed), open=young)

    def _measure(self, state: Loaded) -> None:
        """Takes the gauges that depend on the time."""
        now, book, known = self._now(), state.book, state.open.values()
        due = now - self._rules.overdue_grace
        overdue: dict[Labels, float] = {}
        oldest: dict[Labels, float] = {}
        for record in known:
            if record.status in WAITING and record.scheduled is not None and record.scheduled < due:
                overdue[(record.execution_type,)] = overdue.get((record.execution_type,), 0) + 1
            if (waits := _waits_since(record)) is not None:
                oldest[(record.status,)] = min(waits, oldest.get((record.status,), waits))
        self._gauges = {
            "tasks": Gauge(tasks(state.numbers)),
            "tasks_overdue": Gauge(overdue),
            "tasks_unreadable": Gauge({(): book.unreadable}),
            "oldest_open_task_timestamp_seconds": Gauge(oldest),
            "open_runs": Gauge({(): len({record.run for record in known if record.run})}),
            "exporter_tracked_tasks": Gauge({(): state.tracked}),
        }
        optional = {"tasks_reported": book.reported, "last_call_end_timestamp_seconds": book.last_call_end}
        self._gauges |= {name: Gauge({(): value}) for name, value in optional.items() if value is not None}

    def _health(self) -> dict[str, Family]:
        shown: dict[str, Family] = {
            "agent_polls": Counter(self._polled, {(): self._polls}),
            "agent_poll_failures": Counter(self._polled, dict(self._failures)),
            "agent_history_complete": Gauge({(): int(self._complete)}),
            "agent_history_read_ratio": Gauge({(): self.history_ratio}),
        }
        if self._last is not None:
            shown["agent_up"] = Gauge({(): int(self._last.error is None)})
            shown["agent_last_poll_duration_seconds"] = Gauge({(): self._last.seconds})
        if (success := self.last_success) is not None:
            shown["agent_last_success_timestamp_seconds"] = Gauge({(): success})
        return shown


def _waits_since(record: Record) -> float | None:
    """Since when an open task waits in its status: the table of ``oldest_open_task_timestamp_seconds``."""
    if record.status in RUNNING:
        return record.entered
    if record.status == "scheduled" and record.scheduled is not None:
        return record.scheduled
    return record.created


def _is_read(created: float | None, read_from: float | None) -> bool:
    """Whether a task lies in the history that is read."""
    return read_from is None or created is None or created >= read_from


class _Entry:
    """What one poll enters into the state of an agent."""

    def __init__(self, agent: str, storage: Storage, state: Loaded, rules: Rules) -> None:
        self._agent = agent
        self._storage = storage
        self._state = state
        self._rules = rules
        self._draft = Draft(rules.limits, state.numbers)
        self._open = dict(state.open)
        self._records: dict[int, Record] = {}
        self._fresh: set[int] = set()
        self._read_from = state.book.read_from
        self._newest = state.book.newest
        self.pages = 0
        self.tasks = 0
        self.grown: dict[str, int] = {}

    @property
    def known(self) -> int:
        """How many tasks are known, those that have been taken included."""
        return self._state.tracked + len(self._fresh)

    async def limit(self, read_from: float | None) -> None:
        """Takes the tasks that have left the history that is read out of the gauges, or those that are back in."""
        before, after = self._read_from or 0.0, read_from or 0.0
        self._read_from = read_from
        sign = -1 if after > before else 1
        if before == after:
            return
        moved = await self._storage.created_between(self._agent, min(before, after), max(before, after))
        for key, record in moved.items():
            self._draft.added[(TASKS, record.execution_type, record.status)] += sign
            if sign < 0:
                self._open.pop(key, None)
            elif record.open:
                self._open[key] = record

    async def take(self, page: Page, now: float) -> None:
        """Looks at every task of a page."""
        self.pages += 1
        self.tasks += len(page.tasks)
        wanted = {digest(task.id): task for task in page.tasks if _is_read(task.created, self._read_from)}
        known = await self._storage.records(self._agent, wanted.keys() - self._records.keys())
        for key, task in wanted.items():
            before = self._records.get(key) or known.get(key)
            look = Look(
                now=now,
                settling=self._rules.settling_time,
                history=self._is_history(task),
                keep_numbers=self._rules.limits.numbers > 0,
            )
            after = observe(before, task, look, self._draft)
            if before is None:
                self._fresh.add(key)
            if after != before:
                self._enter(key, after)
            # A clock that is wrong in one task must not make history of those that are to come.
            if task.created is not None and task.created <= now:
                self._newest = max(task.created, self._newest or task.created)

    def _enter(self, key: int, record: Record) -> None:
        self._records[key] = record
        if record.open:
            self._open[key] = record
        else:
            self._open.pop(key, None)

    async def commit(self, *, complete: bool, **book: object) -> Loaded:
        """Commits what has been taken so far; returns the new state."""
        added = {key: amount for key, amount in self._draft.added.items() if amount}
        state = self._state
        numbers = plus(state.numbers, added)
        ends = [end for end in (state.book.last_call_end, self._draft.last_call_end) if end is not None]
        changes = {
            "complete": complete,
            "read_from": self._read_from,
            "newest": self._newest,
            "last_call_end": max(ends, default=None),
            **book,
        }
        after = msgspec.structs.replace(
            state,
            book=msgspec.structs.replace(state.book, **changes),
            numbers=numbers,
            open=dict(self._open),
            tracked=self.known,
        )
        await self._storage.commit(
            self._agent,
            Commit(book=after.book, numbers={key: numbers[key] for key in added}, records=self._records),
        )
        for key, amount in added.items():
            self.grown[key[0]] = self.grown.get(key[0], 0) + amount
        self._state = after
        self._draft = Draft(self._rules.limits, numbers)
        self._records, self._fresh = {}, set()
        return after

    async def finish(self, now: float, reading: Reading) -> Loaded:
        """Commits the end of a complete reading."""
        return await self.commit(
            complete=True,
            count_from=self._history_ends(),
            last_success=now,
            reported=reading.total,
            unreadable=reading.unreadable,
        )

    def _is_history(self, task: Task) -> bool:
        count_from = self._state.book.count_from
        return count_from is None or (task.created is not None and task.created < count_from)

    def _history_ends(self) -> float:
        """Where counting begins once the history has been read: what is not older than its newest task is new."""
        count_from = self._state.book.count_from
        return (self._newest or 0.0) if count_from is None else count_from
