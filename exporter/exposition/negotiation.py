"""Which format and which encoding a scrape wants, from its request headers (RFC 9110, sections 12.4 and 12.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from exporter.exposition.lines import Format

_TYPES: Final = {
    "application/openmetrics-text": (Format.OPENMETRICS, ("", "1.0.0")),
    "text/plain": (Format.TEXT, ("", "0.0.4")),
    "text/*": (Format.TEXT, ("",)),
    "*/*": (Format.TEXT, ("",)),
}
"""Media ranges, the format each stands for, and the versions that can be delivered; absent is any."""


class _Wish(msgspec.Struct, frozen=True):
    """One element of an Accept or Accept-Encoding header."""

    value: str
    parameters: Mapping[str, str]
    quality: float


def choose(accept: str | None) -> Format:
    """The format that the header ``Accept`` likes best, of equals the first; text 0.0.4 where nothing fits.

    Prometheus names several versions of each format with falling quality; other formats and versions, the protobuf
    one among them, are passed over.
    """
    wishes = [wish for wish in _wishes(accept or "") if wish.quality > 0 and _deliverable(wish)]
    best = max(wishes, key=lambda wish: wish.quality, default=None)
    return Format.TEXT if best is None else _TYPES[best.value][0]


def wants_gzip(accept_encoding: str | None) -> bool:
    """Whether the header ``Accept-Encoding`` allows gzip, and does not like an answer as it is better."""
    quality = {wish.value: wish.quality for wish in _wishes(accept_encoding or "")}
    gzip = quality.get("gzip", quality.get("*", 0.0))
    return gzip > 0 and gzip >= quality.get("identity", 0.0)


def _deliverable(wish: _Wish) -> bool:
    return wish.value in _TYPES and wish.parameters.get("version", "") in _TYPES[wish.value][1]


def _wishes(text: str) -> Iterator[_Wish]:
    for element in text.split(","):
        value, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {name.strip().lower(): content.strip().strip('"') for name, _, content in pairs}
        yield _Wish(value.lower(), parameters, _quality(parameters.get("q", "1")))


def _quality(text: str) -> float:
    """A quality value; what is none counts as 0, so that nobody gets what they may not have wanted."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
