"""gzip (RFC 1952) of a text in parts: a part that has not changed is not packed again.

One member, not one for each part: curl refuses what follows the first member, and browsers drop it, and show a part
as if it were all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import zlib
else:
    try:
        from isal import isal_zlib as zlib
    except ImportError:  # there are machines for which nobody builds it
        import zlib

_LEVEL: Final = 1
"""zlib's default takes ten times as long and saves little; ISA-L has no other that is worth its time."""
_RAW: Final = -15
"""Deflate without a frame of its own, in the largest window."""
_UNKNOWN: Final = 255
_HEAD: Final = struct.pack("<2sBBIBB", b"\x1f\x8b", zlib.DEFLATED, 0, 0, 0, _UNKNOWN)
"""No name, no time: equal texts have equal bytes."""


class Packed(msgspec.Struct, frozen=True):
    """A part of a text, packed for itself."""

    deflated: bytes
    """Ends at the border of a byte, and is not the end."""
    crc: int
    size: int
    shift: int
    """What the checksum of all that comes before is multiplied by when this part follows."""


def pack(text: bytes) -> Packed:
    """Packs a part."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    deflated = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return Packed(deflated, zlib.crc32(text), len(text), _power(8 * len(text)))


def gzip(parts: Iterable[Packed], rest: bytes) -> bytes:
    """The whole text, packed: these parts, and what follows them."""
    pieces, crc, size = [_HEAD], 0, 0
    for part in parts:
        pieces.append(part.deflated)
        crc = _product(crc, part.shift) ^ part.crc
        size += part.size
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    foot = struct.pack("<II", zlib.crc32(rest, crc), (size + len(rest)) % 2**32)
    return b"".join((*pieces, packer.compress(rest), packer.flush(), foot))


# A CRC-32 is a polynomial over GF(2), x**31 its lowest bit. To append n bytes multiplies it by x**8n modulo _MODULUS.
_MODULUS: Final = 0xEDB88320
_ONE: Final = 1 << 31
_X: Final = 1 << 30


def _product(one: int, other: int) -> int:
    """Two polynomials multiplied."""
    product, bit = 0, _ONE
    while bit:
        if one & bit:
            product ^= other
        other = other >> 1 ^ (_MODULUS if other & 1 else 0)
        bit >>= 1
    return product


def _power(exponent: int) -> int:
    """x raised to this."""
    power, square = _ONE, _X
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power
