"""What tracking hands to exposition: the numbers of one agent at one moment, as plain immutable data.

Family names here are those of the catalog without the prefix ``unpod_`` and the suffix ``_total``. A family that is
present, even empty, has been published: exposition adds the zeros. A family that is absent is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Labels = tuple[str, ...]
"""Label values in the order of the catalog, without ``agent``."""


class Counter(msgspec.Struct, frozen=True, gc=False):
    since: float
    """Unix seconds: when counting began (``_created``)."""
    values: Mapping[Labels, float]


class Distribution(msgspec.Struct, frozen=True, gc=False):
    """Observations of one label set: how many fell into each bucket, and their sum."""

    counts: tuple[int, ...]
    """Not cumulative; the last is +Inf."""
    sum: float


class Histogram(msgspec.Struct, frozen=True, gc=False):
    since: float
    bounds: tuple[float, ...]
    """Upper bounds without +Inf."""
    values: Mapping[Labels, Distribution]


class Total(msgspec.Struct, frozen=True, gc=False):
    count: int
    sum: float


class Summary(msgspec.Struct, frozen=True, gc=False):
    since: float
    values: Mapping[Labels, Total]


class Gauge(msgspec.Struct, frozen=True, gc=False):
    values: Mapping[Labels, float]


Family = Counter | Histogram | Summary | Gauge


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be shown of one agent."""

    agent: str
    families: Mapping[str, Family]
    info: Mapping[str, str] = {}
    """Labels of ``unpod_agent_info`` besides ``agent``."""
    fresh_until: float | None = None
    """Unix seconds after which gauges of what the platform showed are no longer shown; None: there are none yet."""
