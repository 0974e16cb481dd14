"""Which tasks of a page have to be looked up in the state: those of which it may know something.

Where nothing was known of an agent, the state knows what its first reading has committed, and nothing else. As long as
the reading remembers the keys of that, it need not ask for any other: which is for nearly none at all, since hardly a
task is met twice. Keys are memory, so there is room for so many of all agents together; a reading that finds no more
room remembers none, and looks up every task from then on.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final
from weakref import WeakSet

_MOST: Final = 200_000
"""Keys of which the memory is no matter: some 15 MB."""


class Room:
    """For the keys of all first readings that are under way."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._readings: WeakSet[Lookups] = WeakSet()

    def first(self) -> Lookups:
        """Those of a reading before which nothing was known."""
        lookups = Lookups(self)
        self._readings.add(lookups)
        return lookups

    @property
    def is_full(self) -> bool:
        """Whether more is remembered than there is room for."""
        return sum(reading.remembered for reading in self._readings) > self._most


class Lookups:
    """The tasks that one reading has to look up; without ``room`` all of them."""

    def __init__(self, room: Room | None = None) -> None:
        self._room = room
        self._committed: set[int] = set()

    @property
    def remembered(self) -> int:
        """How many keys are in memory."""
        return len(self._committed)

    def committed(self, keys: Collection[int]) -> None:
        """Takes note that the state knows these tasks now."""
        if self._room is None:
            return
        self._committed.update(keys)
        if self._room.is_full:
            self._room, self._committed = None, set()

    def needed(self, keys: Set[int]) -> Set[int]:
        """Those of these tasks of which the state may know something."""
        return keys if self._room is None else keys & self._committed
