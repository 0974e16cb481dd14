"""States of both kinds for tests, and what is committed to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from exporter.tracking.postgres import Limits, PostgresStorage, Target
from exporter.tracking.records import Amounts, KnownCall, Record
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import AT_ONCE, Book, Commit, Loaded, State, Storage
from exporter.unpod.facts import Call, Latency, Messages
from exporter.unpod.vocabulary import EXECUTION_TYPES, STATUSES
from tests.tracking.stories import START

T = TypeVar("T", bound=msgspec.Struct)

BOOK = Book(since=START, count_from=None)
IMPATIENT = Limits(patience=1.0)
HASTY = Limits(connect=1.0, work=1.0, rest=0.0, patience=0.3)
"""A database that does not answer is soon given up, and tried again at once."""


@dataclass(frozen=True)
class Place:
    """Where a state is."""

    name: str
    """A file, or the URL of a database."""

    async def open(self, **more: Any) -> State:
        if self.name.startswith("postgresql:"):
            return await PostgresStorage.open(Target(url=self.name), **{"limits": IMPATIENT, **more})
        return await SqliteStorage.open(Path(self.name), **more)

    @asynccontextmanager
    async def opened(self, **more: Any) -> AsyncIterator[State]:
        storage = await self.open(**more)
        try:
            yield storage
        finally:
            await storage.close()


def clock_at(moment: float) -> Callable[[], float]:
    return lambda: moment


def a_commit(number: int, *, tasks: int = 3) -> Commit:
    """A commit in which everything tells the same number."""
    return Commit(
        book=msgspec.structs.replace(BOOK, reported=number),
        numbers={("calls", "outbound"): number, ("retries",): number},
        records={
            key: Record(status="pending", execution_type="call", retry_attempt=number, created=START + key)
            for key in range(1, tasks + 1)
        },
    )


def is_whole(loaded: Loaded, number: int) -> bool:
    records = loaded.watched.values()
    told = {loaded.book.reported, *loaded.numbers.values(), *(record.retry_attempt for record in records)}
    return told == {number}


async def created_between(storage: Storage, agent: str, start: float, end: float) -> dict[int, Record]:
    """All parts in one; none is too great, and none holds what another has told."""
    found: dict[int, Record] = {}
    async for part in storage.created_between(agent, start, end):
        assert len(part) <= AT_ONCE
        assert not part.keys() & found.keys()
        found |= part
    return found


def built(kind: type[T], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Things of this kind, of which no field is forgotten: one that nobody keeps would go unnoticed."""
    known = set(kind.__struct_fields__)
    assert fields.keys() == known, f"{kind.__name__}: {fields.keys() ^ known}"
    return st.builds(kind, **fields)


moments = st.none() | st.floats(min_value=-1e12, max_value=1e12)
whole = st.integers(0, 2**63 - 1)
keys = st.integers(-(2**63), 2**63 - 1)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seconds = st.floats(0, 1e9)
calls = built(
    Call,
    id=words,
    start=moments,
    end=moments,
    duration=st.none() | st.floats(0, 1e7),
    over=st.booleans(),
    status=words,
    direction=words,
    end_reason=words,
    code=words,
    number=words,
    recorded=st.booleans(),
    messages=st.none() | st.builds(Messages, whole, whole, whole),
    silent=st.none() | st.booleans(),
    outcome=st.none() | words,
    sentiment=st.none() | words,
    cost=st.floats(0, 1e6),
    prompt_tokens=whole,
    completion_tokens=whole,
    tts_characters=whole,
    stt_seconds=seconds,
    latency=st.none() | st.builds(Latency, whole, seconds),
    digest=whole,
)
known_calls = built(
    KnownCall,
    id=keys,
    start=moments,
    digest=whole,
    seen=st.integers(0, 4095),
    ended=moments,
    held=st.none() | calls,
    amounts=st.none() | st.builds(Amounts, *[whole] * len(Amounts.__struct_fields__)),
    due=moments,
)
records = built(
    Record,
    status=st.sampled_from(STATUSES),
    execution_type=st.sampled_from(EXECUTION_TYPES),
    retry_attempt=whole,
    failure_count=whole,
    created=moments,
    scheduled=moments,
    changed=moments,
    entered=moments,
    run=keys,
    odd=whole,
    started=st.booleans(),
    call=st.none() | known_calls,
    past=st.lists(keys, max_size=5).map(tuple),
    settles=moments,
    place=st.none() | whole,
)
series = st.lists(words, min_size=1, max_size=4).map(tuple)
values = st.integers(-(2**62), 2**62)
numbers = st.dictionaries(series, values, max_size=5)
spans = st.lists(st.tuples(whole, whole), max_size=3).map(tuple)
books = built(
    Book,
    since=st.floats(0, 1e12),
    count_from=moments,
    name=words,
    type=words,
    complete=st.booleans(),
    carried=st.booleans(),
    read_from=moments,
    newest=moments,
    last_success=moments,
    last_call_end=moments,
    reported=st.none() | whole,
    unread=st.none() | spans,
    shown=st.none() | st.lists(st.tuples(series, values), max_size=3).map(tuple),
    unreadable=st.lists(whole, max_size=3).map(tuple),
    unaccounted=whole,
    task_bytes=seconds,
    sweep=st.none() | whole,
    swept=moments,
    hurry=st.booleans(),
    again=st.booleans(),
    short=values,
    missing=values,
    began=st.dictionaries(words, st.floats(0, 1e12), max_size=3),
    bounds=st.dictionaries(words, st.lists(st.floats(0, 1e9), max_size=4).map(tuple), max_size=3),
    capped=st.lists(words, max_size=3).map(tuple),
    opening=st.binary(max_size=20),
    left=st.booleans(),
    interval=seconds,
    seconds=seconds,
    requests=whole,
)
