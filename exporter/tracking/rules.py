"""How agents are read and counted."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from exporter.tracking.tallies import Limits

FARTHEST: Final = 2 * 86_400.0
"""Seconds; a time that is farther ahead than this is wrong."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How agents are read and counted. Times in seconds."""

    page_size: int = 200
    reconcile_interval: float = 86_400.0
    """Over how long a sweep of the whole history is spread; 0: there is none."""
    settling_time: float = 600.0
    max_staleness: float = 900.0
    overdue_grace: float = 300.0
    history: float | None = None
    """How far back tasks are read at all; None: without limit."""
    backfill: float = math.inf
    """How far back the tasks lie that a new ledger counts; 0: it starts at nothing."""
    limits: Limits
