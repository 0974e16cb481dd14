"""gzip (RFC 1952) of a text of which most stays the same: that part is kept, and what follows it is added each time.

One member, not one for each part: browsers read the first member alone, and show a part as if it were all.
"""

from __future__ import annotations

import struct
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
    """The beginning of a text, packed."""

    deflated: bytes
    """Ends at the border of a byte, and is not the end."""
    crc: int
    size: int


def pack(text: bytes) -> Packed:
    """Packs the beginning of a text. Lets other threads run meanwhile."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return Packed(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(text), len(text))


def gzip(beginning: Packed, rest: bytes) -> bytes:
    """The whole text, packed."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    crc, size = zlib.crc32(rest, beginning.crc), beginning.size + len(rest)
    foot = struct.pack("<II", crc, size % 2**32)
    return b"".join((_HEAD, beginning.deflated, packer.compress(rest), packer.flush(), foot))
