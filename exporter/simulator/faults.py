"""What can go wrong between the platform and a client: a list of faults that tests and people switch on and off."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

import msgspec

from exporter.simulator.tables import dice

KINDS: Final = (
    "server_error",
    "bad_gateway",
    "unavailable",
    "gateway_timeout",
    "rate_limited",
    "unauthorized",
    "forbidden",
    "not_found",
    "no_access",
    "business_error",
    "bad_request",
    "status_in_body",
    "html",
    "redirect",
    "reset",
    "close",
    "refuse",
    "black_hole",
    "slow_drip",
    "truncated",
    "wrong_json",
    "nan",
    "control_characters",
    "lone_surrogate",
    "bad_utf8",
    "wrong_count",
    "duplicate_tasks",
    "missing_tasks",
    "short_page",
    "data_is_object",
    "ignore_paging",
    "huge",
    "item_not_object",
)


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault and whom it hits. Options that its kind does not know are ignored."""

    kind: str
    agent: str | None = None
    """Handle; None: any."""
    page: int | None = None
    """None: any."""
    endpoint: str | None = "tasks"
    """``tasks``, ``agents``, or None: both."""
    times: int | None = None
    """How often it strikes; None: until it is cleared."""
    probability: float = 1.0

    retry_after: float | None = 12.0
    """rate_limited: seconds; None: no such header."""
    http_date: bool = False
    """rate_limited: ``Retry-After`` as an HTTP date."""
    bare: bool = False
    """business_error, unauthorized: the shorter shape of the body."""
    location: str = "https://elsewhere.example/login/"
    """redirect."""
    cut: str = "plain"
    """truncated: ``plain`` (less than Content-Length), ``chunked`` (no last chunk), ``gzip`` (half of the compressed
    bytes, and a transfer that looks complete), ``json`` (half of the text, and a transfer that looks complete)."""
    by: int = 1
    """wrong_count: added to the true count; missing_tasks: how many are missing."""
    count: bool = True
    """ignore_paging: whether ``count`` is there."""
    size: int = 80 * 2**20
    """huge: bytes of padding."""
    declared: bool = False
    """huge: whether Content-Length tells the size."""
    item: str | None = None
    """item_not_object: what stands in place of a task."""
    piece: int = 64
    """slow_drip: bytes at once."""
    pause: float = 0.5
    """slow_drip: seconds between two pieces."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(_unknown(self.kind))
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"{self.probability} is not a probability; write a number from 0 to 1, for example 0.02")

    def hits(self, endpoint: str, agent: str | None, page: int | None) -> bool:
        """Whether a request is among those that it strikes."""
        return self.endpoint in (None, endpoint) and self.agent in (None, agent) and self.page in (None, page)


class Faults:
    """The faults in force. The first that hits a request, and whose dice say so, strikes."""

    def __init__(self, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        self._random = dice("faults", seed)
        self._active: list[tuple[Fault, int | None]] = []
        for fault in faults:
            self.add(fault)

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> Faults:
        """Faults of a command line, ``server_error:0.02,rate_limited:0.01``; without a number: always.

        Raises ValueError with what is wrong and what would be right.
        """
        return cls([_parse(part.strip()) for part in text.split(",") if part.strip()], seed=seed)

    @property
    def active(self) -> tuple[Fault, ...]:
        """Those in force, with the times that they have left."""
        return tuple(msgspec.structs.replace(fault, times=left) for fault, left in self._active)

    def add(self, fault: Fault) -> None:
        """Switch one on."""
        self._active.append((fault, fault.times))

    def clear(self) -> None:
        """Switch all off."""
        self._active.clear()

    def strike(self, endpoint: str, agent: str | None = None, page: int | None = None) -> Fault | None:
        """The fault that strikes this request, if any."""
        for place, (fault, left) in enumerate(self._active):
            if not fault.hits(endpoint, agent, page) or left == 0:
                continue
            if fault.probability < 1.0 and self._random.random() >= fault.probability:
                continue
            self._active[place] = (fault, None if left is None else left - 1)
            return fault
        return None


def _unknown(kind: str) -> str:
    close = difflib.get_close_matches(kind, KINDS, 1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(KINDS)}"
    return f'unknown fault "{kind}": {hint}'


def _parse(part: str) -> Fault:
    kind, colon, share = part.partition(":")
    if not colon:
        return Fault(kind=kind)
    try:
        probability = float(share)
    except ValueError:
        raise ValueError(
            f'"{share}" of fault {kind} is not a probability; write a number from 0 to 1, for example 0.02'
        ) from None
    return Fault(kind=kind, probability=probability)
