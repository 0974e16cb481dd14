"""When each agent is polled: at slots of its own within the interval, later where it fails.

Where the requests that are allowed do not suffice for all agents at their intervals, all intervals are stretched by the
same factor, so that every agent gets its share.
"""

from __future__ import annotations

import math
import random
from hashlib import blake2b
from typing import Final

import msgspec

from exporter.unpod.errors import BadRequest, Forbidden, NoAccess, NotFound, Unauthorized

BARRED: Final = frozenset({Forbidden.reason, NotFound.reason, NoAccess.reason})
"""Failures of an agent that the token may not, or can no longer, read."""
NEEDS_A_PERSON: Final = BARRED | {Unauthorized.reason, BadRequest.reason}
"""Failures that no retry heals: a slow heartbeat notices when somebody has."""
HEARTBEAT: Final = 300.0
"""Seconds between two tries of an agent that needs a person."""
LONGEST: Final = 600.0
"""Seconds: the longest back-off, unless the interval itself is longer."""

PLANNED: Final = 0.8
"""The share of the allowed requests that polls are planned with. The rest is for what comes unplanned: retries, new
tasks, first readings, the list of agents, sweeps."""
STEADY: Final = 1.05
"""The factor stays as it is until the need for requests has changed by more than this: each change moves all slots."""
REST: Final = 0.25
"""The part of an interval that lies between two polls of an agent at least."""
_LEARNED: Final = 0.2
"""How much of what is known of an agent's polls is what the last one took."""

SOON: Final = 30.0
"""Seconds to the second try of a list of agents that could not be read."""


def slot(agent: str, interval: float) -> float:
    """Seconds into the interval at which an agent is polled: spread over all agents, the same after a restart."""
    place = int.from_bytes(blake2b(agent.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return interval * place / 2**64


def next_slot(agent: str, interval: float, now: float, took: float = 0.0) -> float:
    """Seconds from ``now``, when a poll that took so long has ended, to the agent's next slot.

    It is at least half an interval after that poll began, and ``REST`` after its end, so that a platform which answers
    slowly is left alone for a while.
    """
    earliest = max(interval / 2 - took, interval * REST)
    return earliest + (slot(agent, interval) - now - earliest) % interval


def left_to_slot(agent: str, intervals: tuple[float, float], polled: float, took: float, now: float) -> float:
    """Seconds from ``now`` to the slot that follows a poll which took so long and ended well at ``polled``, in
    whichever process; below 0: it has passed.

    ``intervals`` are the one of then and the one of now. The slot is that of the former, as it would be without a
    restart, unless the agent is to be polled more often by now.
    """
    before, interval = intervals
    kept = before if 0.0 < before <= interval * STEADY else interval
    return polled + next_slot(agent, kept, polled, took) - now


def after_failure(reason: str, failures: int, interval: float, chance: random.Random) -> float:
    """Seconds to the next poll after so many failures in a row, the last one for ``reason``.

    What can heal is tried again with exponential back-off and jitter, so that agents that failed together do not come
    back together. A refused token keeps no agent waiting: the client asks with it now and then on behalf of all, and
    until it works again a poll costs nothing.
    """
    if reason == Unauthorized.reason:
        return interval * chance.uniform(0.9, 1.1)
    if reason in NEEDS_A_PERSON:
        return max(interval, HEARTBEAT) * chance.uniform(0.9, 1.1)
    longest = min(interval * 2.0 ** min(failures, 30), max(interval, LONGEST))
    return interval / 2 + chance.uniform(0, longest - interval / 2)


def until_next_look(failures: int, interval: float, chance: random.Random) -> float:
    """Seconds to the next look at the list of agents after so many failed ones in a row: soon, since agents may be
    missing altogether until it has been read, and ever later up to ``interval``."""
    return min(SOON * 2.0 ** min(failures - 1, 30), interval) * chance.uniform(0.8, 1.0)


class Stretch:
    """By which factor all intervals are stretched, as polls need more requests than ``per_minute`` allows; None: it
    allows any number."""

    def __init__(self, per_minute: float | None) -> None:
        self.per_minute = per_minute
        self.factor = 1.0
        self._polls: dict[str, _Polls] = {}
        self._total = 0.0

    @property
    def needed(self) -> float:
        """Requests a minute that would have to be allowed for polls to come at their intervals."""
        return self._total / PLANNED

    def share(self, interval: float) -> float:
        """How many requests a poll may take whose agent is polled so often, if none of the agents may have more than
        the others."""
        if not self.per_minute or not self._polls:
            return math.inf
        return PLANNED * self.per_minute / len(self._polls) * interval / 60.0

    def expects(self, agent: str, interval: float) -> None:
        """An agent is to be polled so often. As long as nothing is known of its polls, they are of one request each."""
        before = self._polls.get(agent)
        self._enter(agent, _Polls(interval, None if before is None else before.requests))

    def learns(self, agent: str, interval: float, requests: int) -> None:
        """A poll of an agent took so many requests."""
        before = self._polls.get(agent)
        usual = requests if before is None or before.requests is None else before.requests
        self._enter(agent, _Polls(interval, usual + _LEARNED * (requests - usual)))

    def forget(self, agent: str) -> None:
        """An agent is polled no more."""
        self._polls.pop(agent, None)
        self._total = sum(polls.per_minute for polls in self._polls.values())

    def settle(self) -> None:
        """Takes what is known now for the factor, where that makes a difference."""
        needed = self.needed / self.per_minute if self.per_minute else 0.0
        if not self.factor / STEADY <= needed <= self.factor * STEADY:
            self.factor = max(1.0, needed)

    def _enter(self, agent: str, polls: _Polls) -> None:
        before = self._polls.get(agent)
        self._polls[agent] = polls
        self._total += polls.per_minute - (before.per_minute if before is not None else 0.0)


class _Polls(msgspec.Struct, frozen=True):
    """What the polls of one agent need."""

    interval: float
    requests: float | None = None
    """Of one poll, on average; None: nothing is known of it."""

    @property
    def per_minute(self) -> float:
        return (1.0 if self.requests is None else self.requests) * 60.0 / self.interval
