"""Durations and sizes as people write them: ``1h30m``, ``64MiB``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

SECONDS: Final = {
    "y": 365 * 86400.0,
    "w": 7 * 86400.0,
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 0.001,
}
"""Units of a duration from large to small, the order in which Prometheus wants them."""

BYTES: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

LONGEST: Final = 2**63 / 1e9
"""Seconds: what Prometheus can hold in a duration (about 292 years)."""

_DURATION: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in SECONDS), re.ASCII)
_SIZE: Final = re.compile(rf"(\d{{1,18}}) ?({'|'.join(BYTES)})", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration in Prometheus' notation; a bare ``0`` is one as well.

    Raises ValueError, whose text says what would be right.
    """
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text) if text else None
    if match is None:
        raise ValueError("is not a duration; write for example 30s, 5m or 1h30m")
    if any(len(amount) > 18 for amount in match.groups() if amount):
        raise ValueError("is too long a duration")
    # Whole milliseconds are added up, so that 1s500ms is exactly 1.5.
    milliseconds = sum(
        int(amount) * round(seconds * 1000)
        for amount, seconds in zip(match.groups(), SECONDS.values(), strict=True)
        if amount
    )
    if milliseconds / 1000 > LONGEST:
        raise ValueError("is too long a duration")
    return milliseconds / 1000


def parse_moment(text: str, now: float) -> float:
    """Unix seconds of a date or time as ISO 8601 writes it (without a zone: UTC), or of a duration before ``now``.

    Raises ValueError, whose text says what would be right.
    """
    if text and _DURATION.fullmatch(text):
        return now - parse_duration(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no time; write for example 2026-05-01, 2026-05-01T08:00:00Z or 90d") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def format_duration(seconds: float) -> str:
    """The shortest notation that `parse_duration` reads as the same whole milliseconds."""
    rest = round(seconds * 1000)
    parts = []
    for unit, length in SECONDS.items():
        amount, rest = divmod(rest, round(length * 1000))
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def format_size(size: int) -> str:
    """The shortest notation that `parse_size` reads as the same."""
    unit = next(unit for unit in reversed(BYTES) if size % BYTES[unit] == 0)
    return f"{size // BYTES[unit]}{unit}"


def parse_size(text: str) -> int:
    """Bytes of a size such as ``64MiB``. Raises ValueError, whose text says what would be right."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("is not a size; write for example 512KiB, 64MiB or 1GiB")
    return int(match[1]) * BYTES[match[2]]
