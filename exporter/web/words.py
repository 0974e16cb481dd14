"""Numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

UNKNOWN: Final = "–"  # noqa: RUF001 -- a dash for what is not known
STEPS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "read": "reads what can have changed",
        "sweep": "reads the whole history again, since something is not where it should be",
        "history": "goes on reading the history",
        "retry": "tries again, after a pause that grows with each failure",
        "heartbeat": "looks whether somebody has mended it",
    }
)
"""What the next poll does."""
_NEWS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "new": ("new task", "new tasks"),
        "transitions": ("change of status", "changes of status"),
        "calls": ("call", "calls"),
        "retries": ("retry", "retries"),
        "failures": ("failure", "failures"),
    }
)
"""What a poll may have found: one of it, and more."""
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in _SPANS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def took(seconds: float) -> str:
    """How long something took: exactly where that is short."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def every(seconds: float) -> str:
    """An interval: to the second where it is not long."""
    return f"{seconds:.0f} s" if seconds < 600 else span(seconds)


def ago(moment: float | None, now: float) -> str:
    """How long before ``now`` a moment was."""
    return UNKNOWN if moment is None else f"{span(now - moment)} ago"


def until(moment: float | None, now: float) -> str:
    """How long after ``now`` a moment is."""
    return UNKNOWN if moment is None else f"in {span(moment - now)}" if moment - now >= 1 else "now"


def stamp(moment: float) -> str:
    """A moment for machines: UTC to the second, as ISO 8601 writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(moment: float) -> str:
    """The time of the day of a moment, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")


def number(value: float | None) -> str:
    """With separators between thousands."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def percent(ratio: float) -> str:
    """Whole per cents, never rounded up: 100 % is all of it."""
    return f"{int(ratio * 100)} %"


def size(amount: int) -> str:
    """Bytes in the largest unit that they fill."""
    value, unit = float(amount), 0
    while value >= 1024 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_SIZES[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_SIZES[unit]}"


def count(amount: int, noun: str) -> str:
    """``1 agent``, ``2 agents``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def news(amount: int, word: str) -> str:
    """``1 retry``, ``3 calls``."""
    one, more = _NEWS.get(word, (word, word))
    return f"{amount:,} {one if amount == 1 else more}"


def measured(value: float, unit: str) -> str:
    """A number with its unit: "dollars", "seconds" or none."""
    if unit == "dollars":
        return f"${value:,.2f}"
    return took(value) if unit == "seconds" else number(value)
