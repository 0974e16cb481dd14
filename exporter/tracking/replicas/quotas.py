"""Who should hold what: how many agents, and how many of the requests that are allowed.

Nobody decides for the others. Each replica looks at what all hold and does its own part: it gives back what it holds
above its quota, takes what is free up to it, and asks no more than what the others leave. So they agree as long as they
see the same, and where they do not yet, they hold too little rather than too much.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One that has joined, as the database tells it."""

    id: str
    """Never that of another process, past or to come."""
    name: str
    """For people: where it runs."""
    choice: str
    """Stands for which agents its settings want. Those with another one share the requests, and no agents."""
    alive: bool
    """It holds what it holds. One that is not anymore is still listed while its last requests count."""
    share: int
    """How many requests it may begin within a minute; 0: it has to wait for the others to give way."""


class Lease(msgspec.Struct, frozen=True):
    """Who polls, counts and shows an agent."""

    agent: str
    holder: str | None
    """The id of a replica, which may be dead; None: nobody."""
    epoch: int = 0
    """Of each taking of any agent another one, and always a higher one."""


class View(msgspec.Struct, frozen=True):
    """What the database tells at one moment."""

    replicas: tuple[Replica, ...] = ()
    """In the order in which they joined."""
    leases: tuple[Lease, ...] = ()

    def get(self, replica: str) -> Replica | None:
        """One of the replicas; None: it is not there."""
        return next((one for one in self.replicas if one.id == replica), None)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica should do now."""

    take: tuple[str, ...] = ()
    """Agents that are free and wanted."""
    give: int = 0
    """How many of its agents are above its quota."""


def quotas(held: Mapping[str, int], free: int) -> dict[str, int]:
    """How many agents each replica should hold: as evenly as can be, and where that leaves a choice, with as few moves
    as can be. ``held`` is how many each holds now, ``free`` how many nobody does."""
    if not held:
        return {}
    least, more = divmod(sum(held.values()) + free, len(held))
    most_first = sorted(held, key=lambda replica: (-held[replica], replica))
    return {replica: least + (place < more) for place, replica in enumerate(most_first)}


def step(me: str, view: View, wanted: Collection[str]) -> Step:
    """What the replica ``me`` should do about the agents that it wants.

    They are shared among those that are alive, want the same agents, and may ask: whoever may not yet could not poll
    them. What others hold who want other agents is theirs.
    """
    alive = {one.id for one in view.replicas if one.alive}
    own = view.get(me)
    if own is None or not own.alive or not own.share:
        return Step()
    held = {one.id: 0 for one in view.replicas if one.alive and one.share and one.choice == own.choice}
    holders = {lease.agent: lease.holder for lease in view.leases}
    free = []
    for agent in sorted(wanted):
        holder = holders.get(agent)
        if holder in held:
            held[holder] += 1
        elif holder not in alive:
            free.append(agent)
    more = quotas(held, len(free))[me] - held[me]
    return Step(take=tuple(free[: max(0, more)]), give=max(0, -more))


def fair_share(me: str, view: View, allowed: int) -> int:
    """How many of the ``allowed`` requests a minute a replica should have, the dead being left what is theirs. Those
    that joined first have one more where they cannot be divided evenly: nobody is brought to none by a newcomer."""
    alive = [one.id for one in view.replicas if one.alive]
    dead = sum(one.share for one in view.replicas if not one.alive)
    least, more = divmod(max(0, allowed - dead), len(alive) or 1)
    return least + (alive.index(me) < more) if me in alive else 0


def claim(me: str, view: View, allowed: int, begun: int) -> int:
    """The share that a replica may claim now, having ``begun`` so many requests within the last minute.

    The claims of all never add up to more than ``allowed``: it claims more only as far as the others leave it, the dead
    included whose requests are not a minute old yet; and less only as its own grow old.
    """
    own = view.get(me)
    before, target = (own.share if own is not None else 0), fair_share(me, view, allowed)
    if target <= before:
        return min(before, max(target, begun))
    others = sum(one.share for one in view.replicas if one.id != me)
    return max(before, min(target, allowed - others))


def idle_first(agents: Sequence[str], busy: Collection[str]) -> list[str]:
    """Agents in the order in which to give them back: those whose poll would be lost come last."""
    return sorted(agents, key=lambda agent: (agent in busy, agent))
