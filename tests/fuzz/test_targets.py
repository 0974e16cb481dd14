from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["NULL", "None", "0", "-1", "1e308", "9" * 40, "2026-02-30T25:00:00Z", "\ud800", "\u0000", "A" * 5000]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.none() | st.text(max_size=3) | st.dictionaries(st.text(max_size=3), st.integers()), max_size=3),
)
"""What may stand anywhere in a document."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    """The document with another value at this path."""
    if not path:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], odd)
    return copy


@st.composite
def spliced(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A good input with some bytes replaced, left out or put in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        data = data[:begin] + draw(st.binary(max_size=8)) + data[begin + draw(st.integers(0, 8)) :]
    return data


@st.composite
def edited(draw: st.DrawFn, seed: bytes) -> bytes:
    """A good document with odd values in places."""
    document = json.loads(seed)
    for _ in range(draw(st.integers(1, 4))):
        document = replaced(document, draw(st.sampled_from(list(places(document)))), draw(ODD))
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_takes_its_good_inputs(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_bytes_of_any_kind_do_no_harm(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(st.binary(max_size=200) | spliced(SEEDS[name])))


@pytest.mark.parametrize("name", ["page", "agents"])
@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_documents_with_odd_values_do_no_harm(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(edited(SEEDS[name][0])))
