"""What rows hold, in whichever database: how numbers are named there, and what it means when a row cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from exporter.tracking.storage import StateDamaged
from exporter.tracking.tallies import Key


def series_of(key: Key) -> str:
    """The name of a number."""
    return json.dumps(key)


def key_of(series: str | bytes) -> Key:
    """The key of a number that goes by this name. To be called within ``decoding``."""
    return tuple(json.loads(series))


@contextmanager
def decoding() -> Iterator[None]:
    """Whatever is wrong with a row that is read within becomes ``StateDamaged``."""
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise StateDamaged("it holds what no exporter of this version writes") from error
