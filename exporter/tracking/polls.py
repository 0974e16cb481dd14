"""What became of polls: of the last one as it was, of a few before it what people want to know."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from exporter.tracking.storage import StorageError
from exporter.unpod.errors import UnpodError

KEPT: Final = 20
"""Polls that are kept of each agent."""
_INTERNAL: Final = "internal"
_NEWS: Final = {
    "new": "tasks_created",
    "transitions": "task_transitions",
    "calls": "calls",
    "retries": "task_retries",
    "failures": "task_failures",
}
"""Words for what a poll has found, and the counted families behind them."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one poll."""

    seconds: float
    error: Exception | None = None
    """None: it succeeded. An ``UnpodError``, a ``StorageError``, or a defect of this program."""
    requests: int = 0
    """How many it took, without those of the sweep."""
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
    def news(self) -> dict[str, int]:
        """What was found, in the words of log lines and pages; only what there is."""
        return {word: self.changes[family] for word, family in _NEWS.items() if self.changes.get(family)}

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

    @property
    def is_of_storage(self) -> bool:
        """Whether it was the state that could not be read or written."""
        return isinstance(self.error, StorageError)


def failed(error: Exception) -> Outcome:
    """A poll that has failed. An expected error says all in its words: as long as it is kept, it must not hold on to
    what was at hand where it was raised, which is all that was read."""
    outcome = Outcome(seconds=0.0, error=error)
    if not outcome.is_defect:
        error.__traceback__ = error.__cause__ = error.__context__ = None
    return outcome


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """A poll that has ended."""

    at: float
    """When it ended, in Unix seconds."""
    seconds: float
    pages: int = 0
    tasks: int = 0
    """How many tasks were read."""
    news: Mapping[str, int] = {}
    """What was found: ``Outcome.news``."""
    first: bool = False
    """The history has been read once, with this poll."""
    reason: str | None = None
    """The bounded word for a failure; None: it succeeded."""
    error: str | None = None
    """Why it failed, in words, with nothing private."""
    storage: bool = False
    """It was the state that could not be read or written."""


class Recent:
    """The last polls of one agent, and since when they have been failing."""

    def __init__(self) -> None:
        self._polls: deque[Poll] = deque(maxlen=KEPT)
        self._failures = 0
        self._failing_since: float | None = None

    @property
    def polls(self) -> tuple[Poll, ...]:
        """The newest first."""
        return tuple(reversed(self._polls))

    @property
    def failures(self) -> int:
        """How many have failed in a row, up to the last one."""
        return self._failures

    @property
    def failing_since(self) -> float | None:
        """When the first of the failures in a row ended, in Unix seconds; None: the last poll succeeded."""
        return self._failing_since

    def add(self, at: float, outcome: Outcome) -> None:
        """A poll has ended."""
        self._polls.append(_kept(at, outcome))
        self._count(at, outcome)

    def amend(self, outcome: Outcome) -> None:
        """The poll that was added last has ended otherwise than it seemed."""
        if not self._polls:
            return
        last = self._polls.pop()
        self._polls.append(_kept(last.at, outcome))
        if last.reason is None:
            self._count(last.at, outcome)

    def _count(self, at: float, outcome: Outcome) -> None:
        if outcome.reason is None:
            self._failures, self._failing_since = 0, None
        else:
            self._failures += 1
            self._failing_since = at if self._failing_since is None else self._failing_since


def _kept(at: float, outcome: Outcome) -> Poll:
    return Poll(
        at=at,
        seconds=outcome.seconds,
        pages=outcome.pages,
        tasks=outcome.tasks,
        news=outcome.news,
        first=outcome.first,
        reason=outcome.reason,
        error=outcome.error_in_words,
        storage=outcome.is_of_storage,
    )
