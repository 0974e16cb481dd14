"""Which call does a task show: the one that is known, or another?

A task shows one call at a time: attempts, retries and redials overwrite each other. The platform names a call by its
``call_id``, but stubs, rejected calls and some native calls have none, and some no start either. So evidence is heard
in order, the strongest first, and the first that tells decides:

1. both ids; 2. a call that has not ended is still the same; 3. both starts; 4. what has ended does not go on; 5. a
start against the moment when it had ended; 6. a record that told more than is told now has been overwritten;
7. for a task that waits, whose attempt a retry leaves behind; 8. otherwise another attempt must have begun, and shown
something new, for another call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from exporter.tracking.records import KnownCall, Record, Seen, digest
from exporter.unpod.facts import Call, Task
from exporter.unpod.vocabulary import TERMINAL_STATUSES

WAITING: Final = ("pending", "scheduled", "hold")
"""In these statuses no call is under way: what the output tells is over, or has never begun."""
RUNNING: Final = ("processing", "in_progress")
_SKEW: Final = 60.0
"""Seconds by which the platform's clock may run ahead of this one: the end of a call is seen by this one."""
_FRACTION: Final = 1.0
"""Seconds: the same start is told with and without its fraction."""
TOLD: Final = Seen.TOLD_ID | Seen.TOLD_START


class Sight(msgspec.Struct, frozen=True):
    """A task shows a call, and another look knew a call of it."""

    before: KnownCall
    shown: Call
    known: Record
    """Of the last look."""
    task: Task
    """Of this one."""

    @property
    def risen(self) -> int:
        """By how much ``retry_attempt`` has risen since the last look."""
        return self.task.retry_attempt - self.known.retry_attempt


def is_same(before: KnownCall, shown: Call, known: Record, task: Task) -> bool:
    """Whether the shown call is the one known before."""
    sight = Sight(before, shown, known, task)
    verdicts = (evidence(sight) for evidence in _EVIDENCE)
    return next((verdict for verdict in verdicts if verdict is not None), True)


def told(call: Call) -> int:
    """Which of its names an output tells."""
    return (Seen.TOLD_ID if call.id else 0) | (Seen.TOLD_START if call.start is not None else 0)


def name(call: Call) -> int:
    """What recognises a shown call later; 0 where nothing does."""
    return KnownCall(id=digest(call.id) if call.id else 0, start=call.start).name


def begins_anew(known: Record, task: Task) -> bool:
    """Whether another attempt has begun since the last look although the task was not seen waiting."""
    if task.status in WAITING:
        return False
    reopened = known.status in TERMINAL_STATUSES and task.status not in TERMINAL_STATUSES
    return reopened or task.retry_attempt > known.retry_attempt


def _ids(sight: Sight) -> bool | None:
    if sight.before.id and sight.shown.id:
        return sight.before.id == digest(sight.shown.id)
    return None


def _goes_on(sight: Sight) -> bool | None:
    return None if sight.before.seen & Seen.ENDED else True


def _starts(sight: Sight) -> bool | None:
    if sight.before.start is None or sight.shown.start is None:
        return None
    return abs(sight.before.start - sight.shown.start) < _FRACTION


def _going_on(sight: Sight) -> bool | None:
    another = sight.task.status in RUNNING and not sight.shown.over and sight.before.digest != sight.shown.digest
    return False if another else None


def _moments(sight: Sight) -> bool | None:
    ended, start = sight.before.ended, sight.shown.start
    if ended is None or start is None:
        return None
    if start > ended + _SKEW:
        return False
    if start > ended:
        return None
    # If no call was under way at the last look, what began before it is no later call.
    return None if sight.known.status in RUNNING else True


def _fullness(sight: Sight) -> bool | None:
    return False if sight.before.seen & TOLD & ~told(sight.shown) else None


def _left_behind(sight: Sight) -> bool | None:
    """What a retry leaves behind is the known call, unless that one had been left behind before: by an earlier retry,
    or by completing its task, which is dialled again without one. A restart begins again at 0."""
    if sight.task.status not in WAITING:
        return None
    if sight.risen == 1:
        return not sight.before.seen & Seen.LEFT and sight.known.status != "completed"
    return sight.risen == 0 or sight.task.retry_attempt == 0


def _progress(sight: Sight) -> bool | None:
    if not sight.before.seen & Seen.LEFT and not begins_anew(sight.known, sight.task):
        return True
    if sight.task.status in RUNNING and sight.known.status not in RUNNING and sight.risen <= 0:
        # The call that is under way now has not ended, so what has is the known one, told in other words.
        return True
    return sight.task.status not in TERMINAL_STATUSES and sight.before.digest == sight.shown.digest


_EVIDENCE: Final[tuple[Callable[[Sight], bool | None], ...]] = (
    _ids,
    _goes_on,
    _starts,
    _going_on,
    _moments,
    _fullness,
    _left_behind,
    _progress,
)
"""Each tells True, False, or None where it cannot tell."""
