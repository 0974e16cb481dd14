"""What the log is told of polls: what has changed, a failure once for each reason, and its end."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from exporter.tracking.folding import Folding
from exporter.tracking.log import Log, whereabouts
from exporter.tracking.polls import Outcome
from exporter.unpod.errors import UnpodError

_STRETCHED: Final = (
    "raise api.requests_per_minute if the platform allows it, lengthen polling.interval, or share the agents with "
    "--shard.count"
)


_PERSISTENT: Final = 3
"""Polls in a row that take too long until that is told, and that do not until it is over."""
_SPENT: Final = "requests_spent"
_SLOW: Final = "slow_platform"
_ADVICE: Final = {
    _SPENT: _STRETCHED,
    _SLOW: (
        "ask the platform why it answers slowly; lengthen polling.interval, or that of the agent, or raise "
        "api.max_concurrent_requests if the platform can bear it"
    ),
}
"""Why polls take too long, and what may be done."""


class _Trouble(msgspec.Struct, frozen=True):
    """Failures in a row, and the reason of the last one."""

    failures: int
    reason: str


class Teller:
    """Tells ``log``. ``now`` gives Unix seconds."""

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log = log
        self._fold = Folding(log, now)
        self._troubles: dict[str, _Trouble] = {}
        self._too_long: dict[str, int] = {}
        """How many polls more of an agent have taken too long of late than not, up to what is persistent."""
        self._told_late: set[str] = set()
        """The agents of which it was said last that their polls take too long."""
        self._told_factor = 1.0
        """What was last said of the factor."""

    @property
    def failing(self) -> Collection[str]:
        """The agents whose last poll failed."""
        return self._troubles.keys()

    def failures(self, handle: str) -> int:
        """How many polls of an agent have failed in a row."""
        return self._troubles[handle].failures if handle in self._troubles else 0

    def forget(self, handle: str) -> None:
        """An agent is polled no more."""
        self._troubles.pop(handle, None)
        self._too_long.pop(handle, None)
        self._told_late.discard(handle)

    def unfold(self) -> None:
        """Tells at once what was still to be told of many agents."""
        self._fold.unfold(now=True)

    def discovered(self, handle: str) -> None:
        """An agent was found in the list."""
        self._fold.tell(self._log.info, "agent discovered", agent=handle)

    def stretched(self, factor: float, interval: float, per_minute: float | None, needed: float) -> None:
        """Intervals of so many seconds are stretched by a factor, since so many requests are allowed and more are
        needed: told when that begins, has doubled, or ends."""
        if factor == 1.0 and self._told_factor > 1.0:
            self._told_factor = factor
            self._log.info("agents are polled at their interval again", seconds=interval)
        elif factor >= 2.0 * self._told_factor or factor > 1.0 == self._told_factor:
            self._told_factor = factor
            self._log.warning(
                "agents are polled less often than they should be",
                seconds=round(interval * factor, 1),
                instead_of=interval,
                requests_per_minute=per_minute,
                needed=math.ceil(needed),
                advice=_STRETCHED,
            )

    def paced(self, handle: str, outcome: Outcome, interval: float, late: float, *, is_spent: bool) -> None:
        """A poll has ended well, after which the next one begins so many seconds later than the interval has it, since
        it took so long; ``is_spent``: the requests that are allowed are used up. Told when that persists, and when it
        is over."""
        many = self._too_long.get(handle, 0) + (1 if late else -1)
        self._too_long[handle] = min(max(many, 0), _PERSISTENT)
        if many >= _PERSISTENT and handle not in self._told_late:
            self._told_late.add(handle)
            reason = _SPENT if is_spent else _SLOW
            self._fold.tell(
                self._log.warning,
                "polls take too long for their interval",
                agent=handle,
                reason=reason,
                seconds=round(interval + late, 1),
                instead_of=round(interval, 1),
                poll=round(outcome.seconds, 1),
                requests=outcome.requests,
                advice=_ADVICE[reason],
            )
        elif many <= 0 and handle in self._told_late:
            self._told_late.discard(handle)
            self._fold.tell(self._log.info, "polls fit into their interval again", agent=handle)

    def not_listed(self, error: Exception) -> str:
        """The list of agents could not be read; returns why, for people."""
        if isinstance(error, UnpodError):
            self._log.warning("list of agents not read", reason=error.reason, error=str(error))
            return f"The list of agents could not be read: {error}"
        self._log.error("list of agents not read", reason="internal", error=whereabouts(error))
        return f"The list of agents could not be read: a defect of the exporter: {type(error).__name__}"

    def polled(self, handle: str, outcome: Outcome) -> None:
        """Says what has become of a poll: what changed at info, a failure once for each reason, and its end."""
        self._fold.unfold()
        before = self._troubles.pop(handle, None)
        if outcome.reason is not None:
            trouble = _Trouble(before.failures + 1 if before else 1, outcome.reason)
            self._troubles[handle] = trouble
            self._tell_failure(handle, outcome, trouble, is_new=before is None or before.reason != outcome.reason)
            return
        if before is not None:
            self._fold.tell(self._log.info, "agent works again", agent=handle, failures=before.failures)
        told = {"agent": handle, "tasks": outcome.tasks, "pages": outcome.pages, "seconds": round(outcome.seconds, 3)}
        news = outcome.news
        if outcome.first:
            self._log.info("history read", **told, **news)
        elif news:
            self._log.info("agent polled", **told, **news)
        else:
            self._log.debug("agent polled", **told)

    def _tell_failure(self, handle: str, outcome: Outcome, trouble: _Trouble, *, is_new: bool) -> None:
        reason, failures, error = trouble.reason, trouble.failures, outcome.error_in_words
        if outcome.error is not None and outcome.is_defect:
            # Not its message: that may hold a piece of an answer.
            tell, event, error = self._log.error, "poll failed by a defect", whereabouts(outcome.error)
        elif is_new:
            tell, event = self._log.warning, "poll failed"
        else:
            self._log.debug("poll failed again", agent=handle, reason=reason, failures=failures)
            return
        self._fold.tell(tell, event, agent=handle, reason=reason, failures=failures, error=error)
