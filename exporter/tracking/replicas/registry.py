"""What replicas ask of the database that they share: who there is, and who holds what, by its own clock."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, Protocol

import msgspec

from exporter.tracking.replicas.quotas import View

REMEMBERED: Final = 60.0
"""Seconds for which the requests of a replica that is gone still count: those of the platform's minute."""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica says of itself, as in ``Replica``."""

    id: str
    name: str
    choice: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica wants to be otherwise."""

    share: int
    """Its own."""
    take: tuple[str, ...] = ()
    """Agents whose leases are free. One that somebody still writes to stays as it is, and is tried again."""
    tell: tuple[str, ...] = ()
    """Agents that have no lease yet."""


class Tenure:
    """What this replica holds: its commits are fenced by it."""

    def __init__(self) -> None:
        self.replica = ""
        """Its id in the database."""
        self.epochs: dict[str, int] = {}
        """The agents that are polled and shown here, with the epochs under which they were loaded."""


class Registry(Protocol):
    """Whatever it does, it returns everything as it is after that.

    Raises ``StorageError`` wherever it cannot do what it is asked; what it was asked may have been done then.
    """

    async def join(self, me: Me, seconds: float) -> View:
        """There is one more replica, which is alive for so many seconds."""

    async def renew(self, me: Me, seconds: float) -> View | None:
        """The replica is alive for so many seconds from now, however long it was not. None: it has not joined, or has
        been forgotten."""

    async def change(self, me: Me, decide: Callable[[View], Change]) -> View | None:
        """Does what ``decide``, which runs in a thread, makes of everything as it is, while nobody else changes it.
        None: somebody else does at this moment, and nothing was done."""

    async def release(self, me: Me, agents: Collection[str]) -> View:
        """The leases of these agents are free, where they are the replica's."""

    async def forget(self, me: Me, agents: Collection[str]) -> View:
        """There are no leases of these agents any more, where they are the replica's."""

    async def leave(self, me: Me, begun: int) -> None:
        """The replica is gone, all its leases are free, and it has begun so many requests within the last minute."""

    async def close(self) -> None:
        """Lets go of the database."""
