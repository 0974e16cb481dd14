"""The platform's many ways to write a moment, as Unix seconds."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

from exporter.unpod.values import absent

_NAIVE_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive moments are told in UTC
EARLIEST: Final = 946_684_800
"""The year 2000 in Unix seconds: nothing here is older."""
LATEST: Final = 7_258_118_400
"""The year 2200 in Unix seconds; larger numbers are milliseconds."""
_NUMERAL: Final = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{0,30})?")
_ZONE: Final = re.compile(r"\s*(?:UTC|GMT)$|\s+(?=[+-][0-9:]+$)", re.IGNORECASE)
_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
_TASK_ID: Final = re.compile(r"T([0-9a-fA-F]{12}1[0-9a-fA-F]{19})")
_GREGORIAN: Final = 0x01B21DD213814000
"""100 ns steps from the start of a UUID1's calendar (October 1582) to 1970."""


def parse(raw: object) -> float | None:
    """Unix seconds of a moment.

    Understood are ISO 8601 with ``T`` or a space, with any number of fraction digits, naive (which means UTC), with
    ``Z`` or an offset; epoch seconds or milliseconds as a number or a string; MongoDB's ``{"$date": ...}``.
    None where there is none.

    Raises:
        ValueError: The value is no moment, or none between 2000 and 2200.
    """
    return _plausible(_told(raw))


def written(raw: str | None) -> float | None:
    """A moment like ``parse``, if it is written as nearly always: a year, a dash, and so on.

    Raises:
        ValueError: It is not, or is no moment between 2000 and 2200.
    """
    if raw is None:
        return None
    if raw[4:5] != "-":
        raise ValueError("not written as usual")
    told = _seconds(datetime.fromisoformat(raw))
    if not EARLIEST <= told <= LATEST:
        raise ValueError("not a time of ours")
    return told


def due(raw: object) -> float | None:
    """A moment like ``parse``, but 1970 and before, like the number 0, stands for "at no time"."""
    told = _told(raw)
    return None if told is not None and told <= 0 else _plausible(told)


def _plausible(told: float | None) -> float | None:
    if told is None:
        return None
    # NaN is not between anything, and an integer beyond all floats must not become one.
    if not EARLIEST <= told <= LATEST:
        raise ValueError("not a time of ours")
    return float(told)


def _told(raw: object) -> float | None:
    if isinstance(raw, str):
        # Nearly always. Whatever it is that does not fit is looked at below.
        with suppress(ValueError):
            return written(raw)
    if isinstance(raw, dict):
        raw = raw.get("$date", raw)
    if absent(raw):
        return None
    if isinstance(raw, str):
        trimmed = raw.strip()
        if not _NUMERAL.fullmatch(trimmed):
            return _iso(trimmed)
        raw = float(trimmed)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError("not a time")
    return raw / 1000 if LATEST < raw <= LATEST * 1000 else raw


def _iso(text: str) -> float:
    try:
        return _seconds(datetime.fromisoformat(text))
    except ValueError:
        return _seconds(datetime.fromisoformat(_ZONE.sub("", text)))


def _seconds(moment: datetime) -> float:
    return moment.timestamp() if moment.tzinfo else (moment - _NAIVE_EPOCH).total_seconds()


def of_object_id(identity: str) -> float | None:
    """When a MongoDB ObjectId was made: its first 4 bytes. None where it is none, or holds no time of ours."""
    return _since(int(identity[:8], 16)) if _OBJECT_ID.fullmatch(identity) else None


def of_task_id(identity: str) -> float | None:
    """When a ``task_id`` of the form ``T`` + UUID1 was made. None where it has another form."""
    form = _TASK_ID.fullmatch(identity)
    return _since((UUID(hex=form[1]).time - _GREGORIAN) / 1e7) if form else None


def _since(seconds: float) -> float | None:
    """A time that nobody wrote: bytes of an identity that were never meant as one give none."""
    return float(seconds) if EARLIEST <= seconds <= LATEST else None
