"""Agents are shared evenly with as few moves as can be, and requests never above what is allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.tracking.replicas.quotas import (
    Lease,
    Replica,
    Step,
    View,
    claim,
    fair_share,
    idle_first,
    quotas,
    step,
)


def replica(name: str, *, alive: bool = True, share: int = 10, choice: str = "all") -> Replica:
    return Replica(id=name, name=name, choice=choice, alive=alive, share=share)


def view(replicas: Sequence[Replica], held: dict[str, str | None]) -> View:
    return View(tuple(replicas), tuple(Lease(agent, holder) for agent, holder in held.items()))


# Agents


@given(st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 30), min_size=1), st.integers(0, 30))
def test_quotas_are_even_and_add_up_to_all_agents(held: dict[str, int], free: int) -> None:
    found = quotas(held, free)
    assert sum(found.values()) == sum(held.values()) + free
    assert max(found.values()) - min(found.values()) <= 1


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 6), min_size=1), st.integers(0, 6))
def test_no_other_even_spread_takes_fewer_moves(held: dict[str, int], free: int) -> None:
    least, more = divmod(sum(held.values()) + free, len(held))
    spreads = permutations([least + 1] * more + [least] * (len(held) - more))
    fewest = min(
        sum(max(0, has - should) for has, should in zip(held.values(), spread, strict=True)) for spread in spreads
    )
    found = quotas(held, free)
    assert sum(max(0, has - found[one]) for one, has in held.items()) == fewest


class Group:
    """Replicas that come, go and do their part in some order; counts the agents that are taken from the living."""

    def __init__(self, agents: int) -> None:
        self.holders: dict[str, str | None] = {f"agent-{number:02}": None for number in range(agents)}
        self.replicas: dict[str, Replica] = {}
        self.moves = 0

    def acts(self, name: str) -> bool:
        """Whether a replica had anything to do."""
        done = step(name, view(tuple(self.replicas.values()), self.holders), self.holders)
        own = [agent for agent, holder in self.holders.items() if holder == name]
        for agent in own[: done.give]:
            self.holders[agent] = None
            self.moves += 1
        for agent in done.take:
            assert self.holders[agent] not in self.replicas, "it was taken from the living"
            self.holders[agent] = name
        return done != Step()

    def settles(self, order: Sequence[str]) -> None:
        for _ in range(10):
            acted = [self.acts(name) for name in order]
            if not any(acted):
                return
        raise AssertionError("it never comes to rest")

    def counts(self) -> list[int]:
        found = Counter(self.holders.values())
        return [found[name] for name in self.replicas]


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from("abcde"), st.permutations("abcde")), min_size=1, max_size=12),
)
def test_whoever_comes_or_goes_all_settle_evenly_and_move_no_more_than_that_takes(
    agents: int, story: list[tuple[str, list[str]]]
) -> None:
    group = Group(agents)
    for name, order in story:
        before = dict(zip(group.replicas, group.counts(), strict=True))
        if name in group.replicas:
            del group.replicas[name]
        else:
            group.replicas[name] = replica(name)
        group.moves = 0
        group.settles([one for one in order if one in group.replicas])
        if not group.replicas:
            continue
        counts = group.counts()
        assert sum(counts) == agents
        assert max(counts) - min(counts) <= 1
        # What a newcomer holds was moved once; where somebody goes, what the others hold stays.
        assert group.moves == (agents // len(group.replicas) if name in group.replicas and before else 0)


def test_those_who_may_not_ask_yet_are_left_out() -> None:
    both = view((replica("old"), replica("new", share=0)), {"x": "old", "y": "old"})
    assert step("old", both, ("x", "y")) == Step()
    assert step("new", both, ("x", "y")) == Step()


def test_what_is_held_for_other_settings_stays_where_it_is() -> None:
    both = view((replica("old", choice="some"), replica("new")), {"x": "old", "y": None})
    assert step("new", both, ("x", "y")) == Step(take=("y",))
    assert step("old", both, ("x",)) == Step()


def test_agents_of_the_dead_are_free_and_so_are_those_that_nobody_has_registered() -> None:
    found = view((replica("me"), replica("dead", alive=False)), {"x": "dead", "y": "long gone"})
    assert step("me", found, ("x", "y", "z")) == Step(take=("x", "y", "z"))


def test_agents_are_given_back_between_their_polls_where_that_is_possible() -> None:
    assert idle_first(["c", "b", "a"], {"a", "b"}) == ["c", "a", "b"]


# Requests


@given(st.integers(1, 100), st.integers(1, 12))
def test_shares_are_fair_and_whole(allowed: int, count: int) -> None:
    everybody = View(tuple(replica(str(number)) for number in range(count)))
    shares = [fair_share(one.id, everybody, allowed) for one in everybody.replicas]
    assert sum(shares) == allowed
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True), "a newcomer brings nobody to none"


@given(
    st.integers(1, 60),
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(("acts", "joins", "dies", "ages")), st.floats(0, 1)),
        max_size=60,
    ),
)
def test_claims_never_add_up_to_more_than_is_allowed(allowed: int, story: list[tuple[str, str, float]]) -> None:
    replicas: dict[str, Replica] = {}
    for name, what, busy in story:
        known = replicas.get(name)
        if what == "joins" and known is None:
            replicas[name] = replica(name, share=0)
        elif what == "dies" and known is not None:
            replicas[name] = msgspec.structs.replace(known, alive=False)
        elif what == "ages" and known is not None and not known.alive:
            del replicas[name]
        elif what == "acts" and known is not None and known.alive:
            begun = round(busy * known.share)
            share = claim(name, View(tuple(replicas.values())), allowed, begun)
            assert share >= begun, "what it has asked would not be counted"
            replicas[name] = msgspec.structs.replace(known, share=share)
        assert sum(one.share for one in replicas.values()) <= allowed
    living = [one for one in replicas if replicas[one].alive]
    replicas = {one: replicas[one] for one in living}
    for _ in range(2):
        for one in living:
            share = claim(one, View(tuple(replicas.values())), allowed, 0)
            replicas[one] = msgspec.structs.replace(replicas[one], share=share)
    found = [one.share for one in replicas.values()]
    assert sum(found) == (allowed if living else 0)
    assert not found or max(found) - min(found) <= 1


def test_a_newcomer_waits_until_the_others_have_given_way() -> None:
    before = View((replica("old", share=60), replica("new", share=0)))
    assert claim("new", before, 60, 0) == 0
    assert claim("old", before, 60, begun=45) == 45
    assert claim("new", View((replica("old", share=45), replica("new", share=0))), 60, 0) == 15


def test_newcomers_share_evenly_what_the_dead_leave() -> None:
    replicas = [replica("old", share=30), replica("dead", alive=False, share=30), replica("b", share=0)]
    found = View((*replicas, replica("c", share=0)))
    assert [fair_share(one, found, 60) for one in ("old", "b", "c")] == [10, 10, 10]


def test_the_requests_of_the_dead_count_until_they_are_old() -> None:
    found = View((replica("me", share=30), replica("dead", alive=False, share=30)))
    assert claim("me", found, 60, 0) == 30
    assert claim("me", View((replica("me", share=30),)), 60, 0) == 60


@pytest.mark.parametrize("share", [0, 20])
def test_a_replica_that_is_not_listed_claims_nothing(share: int) -> None:
    assert claim("me", View((replica("other", share=share),)), 60, 0) == 0
