"""What is kept of a task, as bytes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from exporter.tracking.records import NO_AMOUNTS, Amounts, Record, digest, pack, unpack
from tests.tracking.states import records


@given(record=records)
def test_packing_a_record_loses_nothing(record: Record) -> None:
    assert unpack(pack(record), record.created) == record


def test_bytes_that_are_no_record_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\xc1", None)


async def test_an_id_is_kept_as_a_digest_that_fits_a_database_and_is_never_nought() -> None:
    found = {digest(text) for text in ("", "T1", "T2", "\ud800", "विक्रय")}
    assert len(found) == 5
    assert all(-(2**63) <= key < 2**63 and key for key in found)
    assert Amounts() == NO_AMOUNTS
