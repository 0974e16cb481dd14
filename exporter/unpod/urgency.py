"""How soon a request is wanted: the lanes in which requests wait for their turn."""

from __future__ import annotations

from enum import IntEnum


class Urgency(IntEnum):
    """The most urgent first."""

    FRESH = 0
    """What polls show next: what may have changed since the last one, and the list of agents."""
    HISTORY = 1
    """What was never read: first readings, and a search for what is not where it should be."""
    SWEEP = 2
    """What has been read and has hardly changed: reconciliation."""
