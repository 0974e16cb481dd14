"""A text that is packed in parts comes out whole, wherever it is unpacked."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exposition import packing

texts = st.binary(max_size=300) | st.integers(0, 200_000).map(
    lambda size: b'unpod_agent_up{agent="a"} 1.0\n' * (size // 30)
)


@settings(deadline=None)
@given(st.lists(texts, max_size=4), texts)
def test_all_parts_come_out_one_after_the_other(parts: list[bytes], rest: bytes) -> None:
    assert gzip.decompress(packing.gzip(map(packing.pack, parts), rest)) == b"".join((*parts, rest))


@settings(deadline=None)
@given(texts, texts, texts)
def test_a_part_can_stand_before_and_behind_others(one: bytes, two: bytes, three: bytes) -> None:
    first, second, third = map(packing.pack, (one, two, three))
    assert gzip.decompress(packing.gzip((first, second, third, second), one)) == one + two + three + two + one


@settings(deadline=None)
@given(st.lists(texts, max_size=4), texts)
def test_it_is_a_single_member(parts: list[bytes], rest: bytes) -> None:
    """curl refuses what follows the first member, and browsers drop it."""
    unpacker = zlib.decompressobj(31)
    assert unpacker.decompress(packing.gzip(map(packing.pack, parts), rest)) == b"".join((*parts, rest))
    assert unpacker.eof
    assert unpacker.unused_data == b""


def test_gzip_itself_finds_nothing_wrong() -> None:
    packed = packing.gzip([packing.pack(b"one\n" * 100_000)] * 2, b"two\n")
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"one\n" * 200_000 + b"two\n"


def test_a_damaged_text_is_noticed() -> None:
    packed = bytearray(packing.gzip([packing.pack(b"one\n" * 1000)], b"two\n"))
    packed[-8] ^= 1
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(packed)


def test_without_isal_zlib_does_it() -> None:
    """There are machines for which nobody builds it."""
    code = (
        "import gzip, sys\n"
        "sys.modules['isal'] = None\n"
        "from exporter.exposition import packing\n"
        "assert packing.zlib.__name__ == 'zlib'\n"
        "assert gzip.decompress(packing.gzip([packing.pack(b'one' * 1000)], b'two')) == b'one' * 1000 + b'two'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
