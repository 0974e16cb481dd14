"""Which requests are pointless, since the token was refused (401): they fail at once instead of being asked for.

A bad token is a matter of the account, not of an agent. Once it has been refused for two of them, with nothing accepted
in between, one request for all of them tries it now and then. Refused for one alone, it is a matter of that one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from exporter.unpod.errors import Unauthorized

FIRST: Final = 15.0
"""Seconds from a refusal to the next try; doubled with each refusal."""
LONGEST: Final = 300.0


class _Hold(msgspec.Struct, frozen=True):
    message: str
    until: float
    seconds: float


class Refusals:
    """What the platform has said about a token. ``who`` is an agent, or whatever else may be refused by itself; times
    are seconds of a clock that never jumps."""

    def __init__(self) -> None:
        self._token = ""
        self._alike: set[str] = set()
        """Those refused since anything was accepted."""
        self._account: _Hold | None = None
        self._each: dict[str, _Hold] = {}

    def check(self, who: str, token: str, now: float) -> None:
        """Raises Unauthorized where it is pointless to ask with this token now."""
        if token != self._token:
            self._forget(token)
        for hold in (self._account, self._each.get(who)):
            if hold is not None and now < hold.until:
                raise Unauthorized(hold.message, status=401)

    def asks(self, who: str, token: str, now: float) -> None:
        """Like ``check``, just before the request: where it is the one that tries for all, the others wait for it."""
        self.check(who, token, now)
        if self._account is not None:
            self._account = msgspec.structs.replace(self._account, until=now + self._account.seconds)

    def refused(self, who: str, token: str, message: str, now: float) -> None:
        """The platform has answered 401."""
        if token != self._token:
            return
        self._alike.add(who)
        self._each[who] = _longer(self._each.get(who), message, now)
        if len(self._alike) > 1:
            self._account = _longer(self._account, message, now)

    def accepted(self, who: str, token: str) -> None:
        """The platform has answered something to which it needs a good token."""
        if token != self._token:
            return
        if self._account is not None:
            self._forget(token)
        self._alike.clear()
        self._each.pop(who, None)

    def _forget(self, token: str) -> None:
        self._token = token
        self._alike.clear()
        self._account = None
        self._each.clear()


def _longer(before: _Hold | None, message: str, now: float) -> _Hold:
    seconds = FIRST if before is None else min(2 * before.seconds, LONGEST)
    return _Hold(message, now + seconds, seconds)
