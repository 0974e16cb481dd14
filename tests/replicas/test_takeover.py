"""How long nobody has an agent that moves: to the second, by the clock of the database, which is moved by hand."""

from __future__ import annotations

import pytest

from exporter.config.model import Polling, State
from tests.replicas.clockwork import ALLOWED, Group, agents, grouped

LEASE, INTERVAL = State().lease, Polling().interval
BEAT = 1.0
"""Seconds between two renewals."""
MINUTE = 60.0
TURN = 3 * BEAT
"""Until every replica has seen what is free, and has had its turn to take it: of three, one after the other."""


async def settled(group: Group, *names: str) -> None:
    group.starts(*names)
    assert await group.time.passes(10 * BEAT, lambda: group.even)


@pytest.mark.parametrize("phase", [0.0, 0.01, 0.5, 0.99])
async def test_what_the_dead_held_is_polled_by_others_within_two_intervals(database: str, phase: float) -> None:
    """At whatever moment between two renewals it dies."""
    async with grouped(database, lease=LEASE, agents=agents(60)) as group:
        await settled(group, "one", "other", "third")
        await group.time.passes(phase)
        died = group.forgets()
        held = await group.dies("other")
        assert len(held) == 20
        assert not await group.time.passes(LEASE - BEAT - 0.1, lambda: bool(group.taken())), "it may live"
        assert await group.time.passes(BEAT + 0.1 + TURN, lambda: group.even)
        taken = group.taken()
        assert taken.keys() == held
        assert max(taken.values()) - died <= LEASE + TURN <= 2 * INTERVAL


@pytest.mark.parametrize("lease", [5.0, INTERVAL])
async def test_two_intervals_are_enough_for_any_lease_that_is_no_longer_than_one(database: str, lease: float) -> None:
    async with grouped(database, lease=lease, agents=agents(6)) as group:
        await settled(group, "one", "other")
        group.forgets()
        held = await group.dies("other")
        assert await group.time.passes(lease + TURN, lambda: group.even)
        assert group.taken().keys() == held


async def test_what_is_handed_over_is_held_by_others_within_moments(database: str) -> None:
    async with grouped(database, lease=LEASE, agents=agents(60)) as group:
        await settled(group, "one", "other", "third")
        group.forgets()
        await group.ends("other")
        assert await group.time.passes(TURN, lambda: group.even)
        gaps = group.gaps()
        assert len(gaps) == 20
        assert max(gaps.values()) <= 2 * BEAT


async def test_what_a_newcomer_gets_is_held_by_nobody_for_moments(database: str) -> None:
    async with grouped(database, lease=LEASE, agents=agents(60)) as group:
        await settled(group, "one", "other")
        group.forgets()
        await settled(group, "third")
        gaps = group.gaps()
        assert len(gaps) == 20, "no agent moves that need not"
        assert max(gaps.values()) <= 2 * BEAT


async def test_what_the_dead_may_have_asked_is_shared_out_a_minute_after_their_lease(database: str) -> None:
    """Also where another one has come in time, so that no agent moves any more."""
    async with grouped(database, lease=LEASE, agents=agents(60)) as group:
        await settled(group, "one", "other", "third")
        await group.dies("other")
        group.starts("fourth")
        assert await group.time.passes(LEASE + TURN, lambda: group.even)
        assert sum(group.shares) <= 2 * ALLOWED / 3
        assert await group.time.passes(MINUTE + TURN, lambda: sum(group.shares) == ALLOWED)
