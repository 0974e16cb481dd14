"""The time of all parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The time of all parts."""

    now: Callable[[], float] = time.time
    """Unix seconds."""
    elapsed: Callable[[], float] = time.monotonic
    """Seconds that never jump."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


REAL: Final = Clock()
