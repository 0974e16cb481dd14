"""What is to be said of a metric family: the columns of the catalog."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

UNITS: Final = ("seconds", "bytes", "dollars", "ratio")


class Kind(enum.StrEnum):
    """The types of Prometheus that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


class Scope(enum.Enum):
    """Whose numbers a family holds."""

    AGENT = "agent"
    """One agent's, from its report; the first label is ``agent``."""
    SUM = "sum"
    """The exporter's, summed over the reports of its agents."""
    PROCESS = "process"
    """The exporter's about itself, counted while it runs."""


class Told(enum.StrEnum):
    """Which time of the platform tells when what a family counts happened."""

    CREATED = "when the task was created"
    START = "when the task's first call began"
    END = "when the call ended"


class Label(msgspec.Struct, frozen=True):
    """A label and the values that it may have."""

    name: str
    values: tuple[str, ...] | None = None
    """The bounded domain; None where it is open (a code, a number): then only what exists is shown."""
    always: tuple[str, ...] | None = None
    """The values that are exported as 0 in advance, besides those seen; None: all of a bounded domain."""

    @property
    def known(self) -> tuple[str, ...]:
        """The values that are known in advance."""
        return self.always if self.always is not None else self.values or ()

    @property
    def grows(self) -> bool:
        """Whether values are added once they are seen."""
        return self.values is None or self.always is not None


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One metric family."""

    name: str
    """The full name, a counter's with ``_total``."""
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    """Without ``agent``, which every family of an agent has in front."""
    scope: Scope = Scope.AGENT
    buckets: tuple[float, ...] = ()
    """Upper bounds without +Inf, in the family's unit."""
    expires: bool = False
    """Whether it shows what the platform showed, and so disappears when that is too old."""
    zeroed: bool = True
    """Whether a published family without a value means 0; False where no value means that there is none."""
    told: Told | None = None
    """By which time the history tells its past; None: by none."""

    @property
    def source(self) -> str:
        """Its key in ``Report.families``."""
        return self.name.removeprefix("unpod_").removesuffix("_total")

    @property
    def unit(self) -> str:
        """Its unit in the sense of OpenMetrics: the last word of its name, where that is a unit."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in UNITS else ""
