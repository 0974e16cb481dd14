"""Which agents are polled, and how often: what the operator has said."""

from __future__ import annotations

import msgspec

from exporter.tracking.roster import Choice


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that the operator has named."""

    handle: str
    interval: float | None = None
    """Seconds; None: that of all."""
    labels: tuple[tuple[str, str], ...] = ()
    """More labels for ``agent_info``."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which agents are polled, and how often."""

    interval: float = 60.0
    """Seconds."""
    named: tuple[Named, ...] = ()
    choice: Choice | None = None
    """Which of the listed agents are polled as well; None: none of them."""
    list_interval: float | None = 600.0
    """Seconds between two looks at the list of agents, which also tells their names; None: it is never read."""
    requests_per_minute: float | None = None
    """How many are allowed, for which intervals are stretched where need be; None: any number."""
