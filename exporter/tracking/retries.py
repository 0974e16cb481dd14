"""What is left to later polls: tasks that the platform could not deliver, and those that have slipped through."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_AT_ONCE: Final = 2
"""Tasks that are asked for again at once."""
_MOST: Final = 20
"""Tasks that one poll asks for again at most, where all of them are delivered."""
_CHANCES: Final = 3
"""Polls in a row through which a task may slip."""


class Retries:
    """When tasks that could not be delivered are asked for again: each, by its place, after 1, 2, 4, 8 ... polls, or as
    soon as others are delivered: what ailed them may have ailed all. (A sweep asks for all of them as well.)"""

    def __init__(self) -> None:
        self._pauses: dict[int, tuple[int, int]] = {}
        """How many polls each waits in all, and how many of them are left."""
        self._left = 0
        """How many more may be asked for in this poll."""

    def due(self, places: Collection[int], urgent: Collection[int]) -> list[int]:
        """The places to be asked for in this poll, the urgent ones first, of all that could not be delivered before."""
        self._left = _MOST
        pauses = {place: self._pauses.get(place, (1, 1)) for place in places}
        self._pauses = {place: (pause, left - 1) for place, (pause, left) in pauses.items()}
        waiting = [place for place, (_, left) in self._pauses.items() if left <= 0]
        return self.more(waiting, urgent)

    def more(self, places: Collection[int], urgent: Collection[int]) -> list[int]:
        """Some of these places, whenever they would be due: where all of the last ones were delivered, they are to be
        asked for as well."""
        first = sorted(places, key=lambda place: (place not in urgent, -place))[: min(_AT_ONCE, self._left)]
        self._left -= len(first)
        for place in first:
            pause = 2 * self._pauses[place][0]
            self._pauses[place] = pause, pause
        return first


class Slips:
    """The watched tasks that were not found of late, by key."""

    def __init__(self) -> None:
        self._polls: dict[int, int] = {}
        """Through how many polls in a row each has slipped."""

    def excused(self, slipped: Collection[int]) -> frozenset[int]:
        """Those of the tasks that have slipped through this poll that the next ones may find."""
        self._polls = {key: self._polls.get(key, 0) + 1 for key in slipped}
        return frozenset(key for key, polls in self._polls.items() if polls <= _CHANCES)
