"""Which format and which encoding a scrape wants, from its request headers (RFC 9110, sections 12.4 and 12.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

import msgspec

from exporter.exposition.lines import Format


class _Media(msgspec.Struct, frozen=True):
    """How a format can be asked for."""

    ranges: tuple[str, ...]
    """Media ranges that cover it, the most specific first."""
    version: str


_MEDIA: Final[Mapping[Format, _Media]] = {
    Format.TEXT: _Media(("text/plain", "text/*", "*/*"), "0.0.4"),
    Format.OPENMETRICS: _Media(("application/openmetrics-text", "application/*", "*/*"), "1.0.0"),
}
"""Of formats that are liked equally, the first is chosen."""
_NOT_AT_ALL: Final = (0.0, 0)


class _Wish(msgspec.Struct, frozen=True):
    """One element of an Accept or Accept-Encoding header."""

    value: str
    parameters: Mapping[str, str]
    quality: float


def choose(accept: str | None) -> Format:
    """The format that the header ``Accept`` likes best, of equals the first; text 0.0.4 where nothing fits.

    Prometheus names several versions of each format with falling quality; other formats and versions, the protobuf
    one among them, are passed over. So are parameters other than a version: names here need no ``escaping``.
    """
    wishes = list(_wishes(accept or ""))
    return max(_MEDIA, key=lambda form: _liking(wishes, _MEDIA[form]))


def wants_gzip(accept_encoding: str | None) -> bool:
    """Whether the header ``Accept-Encoding`` allows gzip, and does not like an answer as it is better."""
    quality = {wish.value: wish.quality for wish in _wishes(accept_encoding or "")}
    gzip = quality.get("gzip", quality.get("*", 0.0))
    return gzip > 0 and gzip >= quality.get("identity", 0.0)


def _liking(wishes: Sequence[_Wish], media: _Media) -> tuple[float, int]:
    """How much a format is liked: the quality of the most specific range that covers it, then how early that stands."""
    for covering, version in product(media.ranges, (media.version, "")):
        for place, wish in enumerate(wishes):
            if (wish.value, wish.parameters.get("version", "")) == (covering, version):
                return (wish.quality, -place) if wish.quality else _NOT_AT_ALL
    return _NOT_AT_ALL


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
