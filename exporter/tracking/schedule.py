"""When each agent is polled: at slots of its own within the interval, later where it fails."""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Final

NEEDS_A_PERSON: Final = frozenset({"unauthorized", "forbidden", "not_found", "no_access", "bad_request"})
"""Failures that no retry heals: a slow heartbeat notices when somebody has."""
HEARTBEAT: Final = 300.0
"""Seconds between two tries of an agent that needs a person."""
LONGEST: Final = 600.0
"""Seconds: the longest back-off, unless the interval itself is longer."""

SOON: Final = 30.0
"""Seconds to the second try of a list of agents that could not be read."""


def slot(agent: str, interval: float) -> float:
    """Seconds into the interval at which an agent is polled: spread over all agents, the same after a restart."""
    place = int.from_bytes(blake2b(agent.encode("utf-8", "surrogatepass"), digest_size=8).digest())
    return interval * place / 2**64


def next_slot(agent: str, interval: float, now: float) -> float:
    """Seconds from ``now`` to the agent's next slot that is at least half an interval away."""
    earliest = now + interval / 2
    return interval / 2 + (slot(agent, interval) - earliest) % interval


def after_failure(reason: str, failures: int, interval: float, chance: random.Random) -> float:
    """Seconds to the next poll after so many failures in a row, the last one for ``reason``.

    What can heal is tried again with exponential back-off and jitter, so that agents that failed together do not come
    back together.
    """
    if reason in NEEDS_A_PERSON:
        return max(interval, HEARTBEAT) * chance.uniform(0.9, 1.1)
    longest = min(interval * 2.0 ** min(failures, 30), max(interval, LONGEST))
    return interval / 2 + chance.uniform(0, longest - interval / 2)


def until_next_look(failures: int, interval: float, chance: random.Random) -> float:
    """Seconds to the next look at the list of agents after so many failed ones in a row: soon, since agents may be
    missing altogether until it has been read, and ever later up to ``interval``."""
    return min(SOON * 2.0 ** min(failures - 1, 30), interval) * chance.uniform(0.8, 1.0)
