"""Passwords against their bcrypt hashes: costly by design, so one at a time, beside the event loop, and remembered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

import bcrypt

_REMEMBERED: Final = 100
"""Of right and of wrong passwords each: wrong ones, however many, push out no right one."""
_WAITING: Final = 64
"""Checks that may wait for their turn."""
_WAITING_OF_ONE: Final = 8
"""Checks that one address may have waiting, so that it keeps no other from being heard."""
_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at."""


class Overburdened(Exception):
    """Too many checks wait already."""


class Passwords:
    """Checks passwords in a thread of its own. A context manager; it ends without waiting for what is under way."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._key = secrets.token_bytes(32)
        self._right = _Remembered()
        self._wrong = _Remembered()
        self._checks: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def fit(self, users: Mapping[str, str], user: str, password: bytes, peer: str) -> bool:
        """Whether this is the password of that user. ``users`` are the hashes, ``peer`` is who asks.

        An unknown user takes as long as a known one. Raises ``Overburdened``.
        """
        hashed = users.get(user, "")
        mark = self._mark(user, hashed, password)
        if mark in self._right:
            return True
        if mark in self._wrong:
            return False
        fits = await self._checked(mark, hashed or self._stand_in(users, user), password, peer) and bool(hashed)
        (self._right if fits else self._wrong).add(mark)
        return fits

    def _mark(self, user: str, hashed: str, password: bytes) -> bytes:
        """Stands for a password in memory: nobody can compute it, nor read the password from it."""
        parts = (user.encode(), hashed.encode(), password)
        framed = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, framed, hashlib.sha256)

    def _stand_in(self, users: Mapping[str, str], user: str) -> str:
        """The hash of somebody else, always the same for the same unknown user."""
        digest = hmac.digest(self._key, user.encode(), hashlib.sha256)
        return list(users.values())[int.from_bytes(digest[:8]) % len(users)]

    async def _checked(self, mark: bytes, hashed: str, password: bytes, peer: str) -> bool:
        check = self._checks.get(mark)
        if check is None:
            if len(self._checks) >= _WAITING or self._waiting[peer] >= _WAITING_OF_ONE:
                raise Overburdened
            check = asyncio.get_running_loop().run_in_executor(self._thread, _fits, hashed, password)
            self._begin(mark, check, peer)
        # Shielded: one of those who wait may hang up, the others still want to know.
        return await asyncio.shield(check)

    def _begin(self, mark: bytes, check: asyncio.Future[bool], peer: str) -> None:
        def ended(_: asyncio.Future[bool]) -> None:
            del self._checks[mark]
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]

        self._checks[mark] = check
        self._waiting[peer] += 1
        check.add_done_callback(ended)


class _Remembered:
    """The last marks that were looked for."""

    def __init__(self) -> None:
        self._marks: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, mark: bytes) -> bool:
        if mark not in self._marks:
            return False
        self._marks.move_to_end(mark)
        return True

    def add(self, mark: bytes) -> None:
        self._marks[mark] = None
        if len(self._marks) > _REMEMBERED:
            self._marks.popitem(last=False)


def _fits(hashed: str, password: bytes) -> bool:
    try:
        # What makes such hashes reads no more of a password either, and the library refuses a longer one.
        return bcrypt.checkpw(password[:_LONGEST], hashed.encode())
    except ValueError:
        return False
