"""Bodies that a strict decoder refuses, and bodies that nobody can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod import lenient, reading, wire

DEEP = b"[" * 100_000 + b"]" * 100_000


def ids(body: bytes) -> list[str | None]:
    page = wire.tasks(body)
    assert page is not None
    return [task.id if (task := reading.task(entry)) else None for entry in page.data]


def page_with(poison: bytes) -> bytes:
    """Three tasks, in the middle one a transcript that holds some bytes where a value belongs."""
    return (
        b'{"count":3,"data":[{"task_id":"T1"},{"task_id":"T2","output":{"transcript":%b}},{"task_id":"T3"}]}' % poison
    )


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(b'"a\x01b"', id="a raw control character"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"-Infinity", id="an infinity"),
        pytest.param(b"1e999", id="a number beyond all floats"),
        pytest.param(b"1" * 6000, id="an integer beyond all sense"),
        pytest.param(b'"\\ud800"', id="a lone surrogate"),
        pytest.param(b'"\xff\xfe"', id="bad UTF-8"),
        pytest.param('"नमस्ते"'.encode()[:-3] + b'"', id="UTF-8 cut in the middle of a letter"),
    ],
)
def test_poison_in_one_task_costs_nothing(poison: bytes) -> None:
    assert ids(page_with(poison)) == ["T1", "T2", "T3"]


@pytest.mark.parametrize("poison", [DEEP, b'{"a":' * 50_000 + b'"]}"' + b"}" * 50_000], ids=["lists", "objects"])
def test_absurd_nesting_costs_its_own_task_alone(poison: bytes) -> None:
    assert ids(page_with(poison)) == ["T1", None, "T3"]


def test_a_byte_order_mark_is_no_harm() -> None:
    assert ids(b'\xef\xbb\xbf{"data":[{"task_id":"T1"}]}') == ["T1"]


def test_a_lone_surrogate_in_an_identity_is_replaced_so_that_it_can_be_stored() -> None:
    assert ids(b'{"data":[{"task_id":"T\\ud800"}]}') == ["T?"]


def test_text_in_escapes_and_in_letters_is_the_same() -> None:
    words = json.dumps({"data": [{"task_id": "कार्य"}]})
    assert ids(words.encode()) == ids(json.dumps(json.loads(words), ensure_ascii=False).encode()) == ["कार्य"]


WHOLE = b'{"count": 2, "data": [{"task_id": "T1", "x": "\x01 [{\\"", "y": {"z": []}}, {"task_id": "T2"}], "m": 1}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_truncated_body_is_no_page_wherever_it_was_cut(length: int) -> None:
    assert ids(WHOLE) == ["T1", "T2"]
    assert wire.tasks(WHOLE[:length]) is None


@pytest.mark.parametrize("length", range(0, 200_000, 9_999))
def test_a_truncated_body_is_no_page_however_deep_it_was(length: int) -> None:
    assert wire.tasks(b'{"data":[' + DEEP[:length]) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><body>502</body></html>",
        b"[]",
        b'"text"',
        b"null",
        b'{"data":[]} trailing',
        b'{"data":[],}',
        b'{"data":[\x01]}',
        b'{"data":["\x01",]}',
        b'{"data":["\x01" 1]}',
        b'{"data" ["\x01"]}',
        b"{data:[]}",
        b'{"data":["\x01"]]}',
        pytest.param(DEEP, id="absurd nesting instead of an object"),
        pytest.param(b'{"a":{"b":' + DEEP + b"}}", id="absurd nesting outside of any entry"),
    ],
)
def test_what_is_no_complete_json_object_is_no_page(body: bytes) -> None:
    assert wire.tasks(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_the_tolerant_decoder_reads_what_the_standard_one_reads(
    document: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    expected = json.loads(body.decode("utf-8", "replace"))
    assert lenient.document(body, lambda item: item) == expected


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary())
def test_no_bytes_make_the_decoder_fail(noise: bytes) -> None:
    for body in (noise, b'{"data":[' + noise + b"]}", b'{"data":[{"task_id":"' + noise + b'"}]}'):
        wire.agents(body)
        page = wire.tasks(body)
        if page is not None and isinstance(page.data, list):
            for entry in page.data:
                reading.task(entry)
