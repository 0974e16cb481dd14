"""From when until when certificates are valid, which Python's ssl tells of none that it has not just verified."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION: Final = 0xA0
"""The tag of the version, which certificates of version 1 do not have."""
_FORMS: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime, as RFC 5280 (4.1.2.5) wants them."""


class Validity(msgspec.Struct, frozen=True):
    """In Unix seconds."""

    begins: float
    ends: float


def validity(pem: str) -> Validity | None:
    """That of all certificates in the text together: a chain is valid as long as each of its links. None: there is no
    certificate, or one that is written otherwise than RFC 5280 wants it."""
    try:
        each = [_validity(ssl.PEM_cert_to_DER_cert(block)) for block in _PEM.findall(pem)]
        return Validity(max(one.begins for one in each), min(one.ends for one in each))
    except (ValueError, LookupError, StopIteration, OverflowError):
        return None


def _validity(der: bytes) -> Validity:
    """RFC 5280, 4.1: a certificate begins with its version, serial number, algorithm, issuer and validity."""
    _, certificate = next(_elements(der))
    _, signed = next(_elements(certificate))
    fields = [content for tag, content in _elements(signed) if tag != _VERSION]
    begins, ends = (_time(tag, content) for tag, content in _elements(fields[3]))
    return Validity(begins, ends)


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element (X.690, 8.1)."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size]), at + size
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, content: bytes) -> float:
    return datetime.strptime(content.decode("ascii"), _FORMS[tag]).replace(tzinfo=UTC).timestamp()
