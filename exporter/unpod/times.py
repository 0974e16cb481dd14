"""The platform's many ways to write a moment, as Unix seconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from exporter.unpod.values import absent

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_LATEST_SECONDS: Final = 1e11
"""Larger numbers (the year 5138 in seconds) are milliseconds."""
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
    None where there is none: absent, or 1970 and before, which stands for "not set".

    Raises:
        ValueError: The value is no moment.
    """
    if isinstance(raw, dict):
        raw = raw.get("$date", raw)
    if absent(raw):
        return None
    if isinstance(raw, str):
        written = raw.strip()
        raw = float(written) if _NUMERAL.fullmatch(written) else _iso(written)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError("not a time")
    return _seconds(raw)


def _iso(written: str) -> float:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        moment = datetime.fromisoformat(_ZONE.sub("", written))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) / _SECOND


def _seconds(told: float) -> float | None:
    if math.isnan(told) or told > _LATEST_SECONDS * 1000:
        raise ValueError("not a time")
    if told <= 0:
        return None
    return float(told if told <= _LATEST_SECONDS else told / 1000)


def of_object_id(identity: str) -> float | None:
    """When a MongoDB ObjectId was made: its first 4 bytes. None where it is no ObjectId."""
    return float(int(identity[:8], 16)) or None if _OBJECT_ID.fullmatch(identity) else None


def of_task_id(identity: str) -> float | None:
    """When a ``task_id`` of the form ``T`` + UUID1 was made. None where it has another form."""
    form = _TASK_ID.fullmatch(identity)
    if form is None:
        return None
    seconds = (UUID(hex=form[1]).time - _GREGORIAN) / 1e7
    return seconds if 0 < seconds <= _LATEST_SECONDS else None
