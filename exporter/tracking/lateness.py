"""By how much agents are polled less often than they should be, since their polls take too long for their intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from exporter.tracking.schedule import REST


class Lateness:
    """Of all agents. ``elapsed`` gives seconds that never jump.

    A poll that takes too long misses its agent's next slot, or several. What that costs is known once it has ended, and
    is at least what it has taken too long so far.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._late: dict[str, float] = {}
        self._under_way: dict[str, tuple[float, float]] = {}
        """When each poll began, and the interval of its agent."""

    @property
    def worst(self) -> float:
        """Seconds by which the polls of the agent that has it worst are farther apart than its interval."""
        now = self._elapsed()
        so_far = (now - begun - interval for begun, interval in self._under_way.values())
        return max(0.0, max(self._late.values(), default=0.0), max(so_far, default=0.0))

    @contextmanager
    def watched(self, agent: str, interval: float) -> Iterator[None]:
        """A poll of an agent takes place within the context."""
        self._under_way[agent] = self._elapsed(), interval
        try:
            yield
        finally:
            del self._under_way[agent]

    def learns(self, agent: str, interval: float, *, took: float, wait: float) -> float:
        """A poll took so many seconds, and the next one begins so many later; returns how many seconds later than the
        interval has it that is."""
        late = max(0.0, took + wait - interval) if took > (1.0 - REST) * interval else 0.0
        self._late[agent] = late
        return late

    def forget(self, agent: str) -> None:
        """Its last poll tells nothing of this kind."""
        self._late.pop(agent, None)
