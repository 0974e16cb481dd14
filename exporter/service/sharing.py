"""The exporter as one of several replicas, where the settings say so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final

from exporter.config import Config
from exporter.exposition.telemetry import Telemetry
from exporter.service.clock import Clock
from exporter.tracking.fleet import Fleet
from exporter.tracking.log import Log
from exporter.tracking.replicas.member import Member, Standing
from exporter.tracking.replicas.registry import Tenure
from exporter.unpod.client import Client

_HURRY: Final = 0.1
"""The part of a lease after which a piece of work with the database is given up, so that there is time for others."""
_SHORTEST: Final = 2.0
"""Seconds that it has in any case."""
_NAMED: Final = 20
"""How many agents of another replica are named to people."""


def member(
    config: Config,
    fleet: Fleet,
    tenure: Tenure,
    client: Client,
    *,
    allowed: Callable[[], int],
    allow: Callable[[int], None],
    log: Log,
    telemetry: Telemetry,
    clock: Clock,
) -> Member:
    """One replica; the state is open already."""
    from exporter.tracking.postgres import Leases, Limits, Target

    lease = config.state.lease
    patience = max(_SHORTEST, lease * _HURRY)
    limits = Limits(connect=patience, work=patience, rest=0.0)
    target = Target(url=config.state.url or "", password_file=config.state.password_file)
    made = Member(
        Leases(target, limits=limits, elapsed=clock.elapsed),
        fleet,
        tenure,
        name=socket.gethostname(),
        lease=lease,
        log=log,
        allowed=allowed,
        begun=lambda: client.usage().begun,
        allow=allow,
        lost=telemetry.leases_lost,
        now=clock.now,
        elapsed=clock.elapsed,
        sleep=clock.sleep,
    )
    telemetry.replica(made.name, lambda: made.standing)
    return made


def in_words(standing: Standing) -> str:
    """What a replica and the others do, for people."""
    if not standing.sure:
        return (
            f"This is the replica {standing.replica}. It has not reached the database lately, and shows no agent until "
            "it does: another one may have taken over."
        )
    by_name: dict[str, list[str]] = {}
    for agent, name in standing.elsewhere.items():
        by_name.setdefault(name, []).append(agent)
    others = [f"{name} polls {_some(agents)}" for name, agents in sorted(by_name.items())]
    free = [f"nobody polls {_some(standing.free)} yet"] if standing.free else []
    told = "; ".join((*others, *free)) or "the others poll no agent"
    return f"This is the replica {standing.replica}, one of {standing.alive}: {told}."


def _some(agents: Sequence[str]) -> str:
    """The first of them by name, and how many more there are."""
    more = len(agents) - _NAMED
    return ", ".join(agents[:_NAMED]) + (f" and {more} more" if more > 0 else "")
