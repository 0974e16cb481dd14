"""A state as lines of JSON, which move it from one database to another and lose nothing.

    {"line": "state", "version": 1, "created": 1764000000.0}
    {"line": "agent", "handle": "sales-agent-v1", "book": {...}, "numbers": [[["calls", "outbound"], 7], ...]}
    {"line": "tasks", "tasks": [[key, created, record], ...]}
    {"line": "end", "agents": 1, "numbers": 1, "tasks": 1, "digest": "..."}

The tasks are those of the agent before them, a record is base64 of its bytes, and the digest is that of all lines
before the last. The same state always makes the same lines, so whoever has read them can tell whether it holds the
same. They hold what the state holds, and nothing private.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain
from typing import Final, Protocol, TypeVar

import msgspec

from exporter.tracking.records import Record, unpack
from exporter.tracking.storage import Book, Commit, StateDamaged, StorageError
from exporter.tracking.tallies import Key

T = TypeVar("T")

VERSION: Final = 1
TASKS_AT_ONCE: Final = 1000
"""Tasks of a line, and of a statement: less than a MiB."""

LEAST: Final = -(2**63)
"""The least key that a task may have."""

Row = tuple[int, float | None, bytes]
"""The key of a task, when it was created, and its record."""


class Rows(Protocol):
    """The rows of a state, within one transaction. Raises ``StorageError``."""

    def begun(self) -> float:
        """When the state began, in Unix seconds."""

    def begin(self, at: float) -> None:
        """Makes it have begun at this Unix time."""

    def agents(self) -> Iterable[str]:
        """The agents that were ever committed."""

    def agent(self, handle: str) -> tuple[Book, Mapping[Key, int]]:
        """What is known of one of them, without its tasks."""

    def tasks(self, handle: str, after: int | None, most: int) -> list[Row]:
        """So many of its tasks at most, in the order of their keys, from the first ``after`` this one."""

    def write(self, handle: str, commit: Commit) -> None:
        """Writes what has changed of an agent."""


class Moved(msgspec.Struct, frozen=True):
    """How much was moved."""

    agents: int
    numbers: int
    tasks: int
    digest: str = ""


class _State(msgspec.Struct, frozen=True, tag_field="line", tag="state", forbid_unknown_fields=True):
    version: int
    created: float


class _Agent(msgspec.Struct, frozen=True, tag_field="line", tag="agent", forbid_unknown_fields=True):
    handle: str
    book: Book
    numbers: list[tuple[Key, int]]


class _Tasks(msgspec.Struct, frozen=True, tag_field="line", tag="tasks", forbid_unknown_fields=True):
    tasks: list[Row]


class _End(msgspec.Struct, frozen=True, tag_field="line", tag="end", forbid_unknown_fields=True):
    agents: int
    numbers: int
    tasks: int
    digest: str


_decoder: Final = msgspec.json.Decoder(_State | _Agent | _Tasks | _End)


class Reader:
    """What the lines of a state hold; raises ``StorageError`` where they are none, or not all of one.

    ``moved`` tells how much it was, when all has been read.
    """

    def __init__(self, lines: Iterable[bytes], name: str) -> None:
        self._lines = lines
        self._name = name
        self.created = 0.0
        self.moved: Moved

    def commits(self) -> Iterator[tuple[str, Commit]]:
        """Each agent with its numbers, then with its tasks, part by part."""
        digest, agents, numbers, tasks = _digest(), 0, 0, 0
        agent: _Agent | None = None
        end: _End | None = None
        known: set[str] = set()
        for number, (raw, line) in enumerate(self._decoded(), 1):
            if end is not None or (number == 1) != isinstance(line, _State):
                raise self._wrong(number, "what stands here belongs elsewhere")
            if isinstance(line, _End):
                end = line
                continue
            digest.update(raw)
            if isinstance(line, _State):
                self._check_version(line)
            elif isinstance(line, _Agent):
                if line.handle in known:
                    raise self._wrong(number, "an agent comes twice")
                known.add(line.handle)
                agent, agents, numbers = line, agents + 1, numbers + len(line.numbers)
                yield line.handle, Commit(book=line.book, numbers=dict(line.numbers))
            elif agent is None:
                raise self._wrong(number, "tasks come before any agent")
            else:
                tasks += len(line.tasks)
                yield agent.handle, Commit(book=agent.book, records=self._records(number, line))
        found = _End(agents, numbers, tasks, digest.hexdigest())
        if end is None:
            raise StorageError(f"{self._name} ends too early: it is not a whole state")
        if found != end:
            raise StorageError(f"{self._name} is not what was exported: its digest or its counts do not fit")
        self.moved = Moved(*msgspec.structs.astuple(found))

    def _decoded(self) -> Iterator[tuple[bytes, _State | _Agent | _Tasks | _End]]:
        for number, raw in enumerate(self._lines, 1):
            try:
                yield raw, _decoder.decode(raw)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                what = "no state that was exported" if number == 1 else "damaged, or ends too early"
                raise StorageError(f"{self._name} is {what} (line {number})") from error

    def _check_version(self, line: _State) -> None:
        if line.version != VERSION:
            raise StorageError(
                f"{self._name} has version {line.version}, this exporter reads version {VERSION}; "
                "export it again with an exporter of this version"
            )
        self.created = line.created

    def _records(self, number: int, line: _Tasks) -> dict[int, Record]:
        try:
            return {key: unpack(record, created) for key, created, record in line.tasks}
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
            raise self._wrong(number, "a task cannot be read") from error

    def _wrong(self, number: int, what: str) -> StorageError:
        return StorageError(f"{self._name} is damaged (line {number}): {what}")


def lines(rows: Rows) -> Iterator[bytes]:
    """A whole state, line by line. Raises ``StateDamaged`` where a row cannot be read."""
    digest, agents, numbers, tasks = _digest(), 0, 0, 0
    for line in chain([_State(VERSION, rows.begun())], _content(rows)):
        raw = msgspec.json.encode(line) + b"\n"
        digest.update(raw)
        if isinstance(line, _Agent):
            agents, numbers = agents + 1, numbers + len(line.numbers)
        elif isinstance(line, _Tasks):
            tasks += len(line.tasks)
        yield raw
    yield msgspec.json.encode(_End(agents, numbers, tasks, digest.hexdigest())) + b"\n"


def export(rows: Rows, write: Callable[[bytes], object]) -> Moved:
    """Writes a whole state, and tells how much it was."""
    raw = b""
    for raw in lines(rows):
        write(raw)
    return _moved(raw)


def fill(rows: Rows, read: Callable[[], Reader]) -> Moved:
    """Writes what ``read`` gives into a state that is empty, and checks that it holds the same then.

    Raises ``StorageError`` where it is not empty, or does not.
    """
    if any(True for _ in rows.agents()):
        raise StorageError("it is not empty; name another one, or take away what is there")
    reader = read()
    for handle, commit in reader.commits():
        rows.write(handle, commit)
    rows.begin(reader.created)
    if (found := export(rows, lambda raw: None)) != reader.moved:
        raise StorageError(f"it does not hold what was read: {_counts(found)} in place of {_counts(reader.moved)}")
    return found


def _content(rows: Rows) -> Iterator[_Agent | _Tasks]:
    for handle in sorted(rows.agents()):
        book, numbers = rows.agent(handle)
        yield _Agent(handle, book, sorted(numbers.items()))
        after: int | None = None
        while part := rows.tasks(handle, after, TASKS_AT_ONCE):
            after = part[-1][0]
            for _, created, record in part:
                _check(record, created)
            yield _Tasks(part)


def _check(record: bytes, created: float | None) -> None:
    try:
        unpack(record, created)
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError) as error:
        raise StateDamaged("it holds what no exporter of this version writes") from error


def _moved(end: bytes) -> Moved:
    return Moved(*msgspec.structs.astuple(msgspec.json.decode(end, type=_End)))


def _counts(moved: Moved) -> str:
    return f"{moved.agents} agents, {moved.numbers} numbers and {moved.tasks} tasks"


def _digest() -> blake2b:
    return blake2b(digest_size=16)
