"""Identities as the platform makes them: each holds the time at which it was made."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Final
from uuid import UUID

_GREGORIAN: Final = 0x01B21DD213814000
"""1970 in 100-nanosecond steps since 1582, the beginning of UUID1 time."""


class Identities:
    """The identities of one agent: unique, and the same for the same generator."""

    def __init__(self, random: Random) -> None:
        self._node = random.getrandbits(48)
        self._machine = random.getrandbits(40)
        self._serial = count(1)

    def task(self, at: float) -> str:
        """A ``task_id``: T and the hex of a UUID1."""
        return "T" + self._uuid1(at)

    def run(self, at: float) -> str:
        """A ``run_id``: R and the hex of a UUID1."""
        return "R" + self._uuid1(at)

    def document(self, at: float) -> str:
        """An ``_id``: an ObjectId whose first four bytes are the seconds since 1970."""
        return f"{int(at):08x}{self._machine:010x}{next(self._serial) & 0xFFFFFF:06x}"

    def _uuid1(self, at: float) -> str:
        serial = next(self._serial)
        ticks = round(at * 1000) * 10_000 + serial % 10_000 + _GREGORIAN
        fields = (
            ticks & 0xFFFFFFFF,
            ticks >> 32 & 0xFFFF,
            ticks >> 48 & 0x0FFF,
            serial // 10_000 >> 8 & 0x3F,
            serial // 10_000 & 0xFF,
            self._node,
        )
        return UUID(fields=fields, version=1).hex
