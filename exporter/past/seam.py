"""Where the past of an agent meets what Prometheus has scraped, and with which numbers."""

from __future__ import annotations

import msgspec

from exporter.past.annals import Annals, Series
from exporter.tracking.tallies import Numbers


class Seam(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an agent's past. There each series has the value that the exporter shows of it first: Prometheus takes
    a higher one for something that happens there, and a lower one for a new beginning.

    What happened at no known time is in the values from the beginning, and in no ``increase()``.
    """

    end: float
    """Unix seconds."""
    opening: Numbers | None = None
    """What the exporter showed first; None: all that is in the annals, since it goes on from the same reading."""
    anew: bool = False
    """The exporter began at 0: Prometheus takes that for a restart, and counts on from there."""

    without: frozenset[str] = frozenset()
    """Families that do not lead up to anything."""

    @property
    def is_whole(self) -> bool:
        """Whether all that is in the annals has happened by then."""
        return self.opening is None and not self.anew

    def base(self, annals: Annals, series: Series, last: int) -> list[int]:
        """What each cell of a series held before anything happened at a known time. ``last`` is the slot at ``end``."""
        if self.anew:
            return [0] * annals.layouts[series.source].width
        if self.opening is None:
            return annals.undated(series)
        keys = annals.layouts[series.source].keys(series.labels)
        told = annals.until(series, last)
        return [self.opening.get(key, 0) - amount for key, amount in zip(keys, told, strict=True)]
