"""Which agents are polled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.roster import Choice, Shard, chosen
from exporter.unpod.facts import Agent

LISTED = (
    Agent(handle="sales-v1", type="voice"),
    Agent(handle="sales-v2", type="voice"),
    Agent(handle="support", type="chat"),
    Agent(handle="Sales-v3"),
)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (Choice(), ("sales-v1", "sales-v2", "support", "Sales-v3")),
        (Choice(include=("sales-*",)), ("sales-v1", "sales-v2")),
        (Choice(include=("sales-v?", "supp*")), ("sales-v1", "sales-v2", "support")),
        (Choice(include=("*-v[13]",)), ("sales-v1", "Sales-v3")),
        (Choice(exclude=("*v2", "support")), ("sales-v1", "Sales-v3")),
        (Choice(include=("sales-v1",), exclude=("*",)), ()),
        (Choice(include=()), ()),
        (Choice(types=("voice",)), ("sales-v1", "sales-v2")),
        (Choice(types=("chat", "unknown")), ("support", "Sales-v3")),
        (Choice(include=("s*",), exclude=("*2",), types=("voice",)), ("sales-v1",)),
    ],
)
def test_globs_tell_handles_by_case_and_types_tell_kinds(choice: Choice, wanted: tuple[str, ...]) -> None:
    assert chosen((), LISTED, choice) == wanted


def test_without_discovery_only_the_named_agents_are_polled() -> None:
    assert chosen(("mine",), LISTED, None) == ("mine",)


def test_named_agents_come_first_and_are_polled_whatever_discovery_thinks_of_them() -> None:
    choice = Choice(include=("sales-*",), exclude=("support",))
    assert chosen(("support", "sales-v2"), LISTED, choice) == ("support", "sales-v2", "sales-v1")


def test_an_agent_that_occurs_twice_is_polled_once() -> None:
    assert chosen(("sales-v1", "sales-v1"), (*LISTED[:2], *LISTED[:2]), Choice()) == ("sales-v1", "sales-v2")


def shards(count: int) -> list[Shard]:
    return [Shard(index=index, count=count) for index in range(count)]


@given(handle=st.text(), count=st.integers(1, 40))
def test_every_agent_falls_to_exactly_one_shard(handle: str, count: int) -> None:
    assert sum(shard.owns(handle) for shard in shards(count)) == 1


@given(handle=st.text(), count=st.integers(1, 40))
def test_with_one_shard_more_an_agent_stays_or_moves_to_the_new_one(handle: str, count: int) -> None:
    (before,) = (shard.index for shard in shards(count) if shard.owns(handle))
    (after,) = (shard.index for shard in shards(count + 1) if shard.owns(handle))
    assert after in (before, count)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_shards_have_about_as_many_agents_each(count: int) -> None:
    handles = [f"agent-{number}" for number in range(2000)]
    for shard in shards(count):
        share = sum(map(shard.owns, handles)) * count / len(handles)
        assert 0.8 < share < 1.2


def test_which_shard_an_agent_falls_to_is_the_same_in_every_process_and_version() -> None:
    owners = [next(shard.index for shard in shards(4) if shard.owns(handle)) for handle in ("sales", "support", "")]
    assert owners == [0, 2, 1]


def test_what_falls_to_another_shard_is_not_chosen() -> None:
    chosen_by = [chosen((), LISTED, Choice(shard=shard)) for shard in shards(3)]
    assert sorted(handle for handles in chosen_by for handle in handles) == sorted(one.handle for one in LISTED)
