"""When tasks that the platform could not deliver are asked for again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_AT_ONCE: Final = 2
"""Tasks that one poll asks for again at most."""


class Retries:
    """For each such task, by its place, after 1, 2, 4, 8 ... polls. (A sweep asks for all of them as well.)"""

    def __init__(self) -> None:
        self._pauses: dict[int, tuple[int, int]] = {}
        """How many polls each waits in all, and how many of them are left."""

    def due(self, places: Collection[int], urgent: Collection[int]) -> list[int]:
        """The places to be asked for in this poll, the urgent ones first, of all that could not be delivered before."""
        pauses = {place: self._pauses.get(place, (1, 1)) for place in places}
        self._pauses = {place: (pause, left - 1) for place, (pause, left) in pauses.items()}
        waiting = [place for place, (_, left) in self._pauses.items() if left <= 0]
        due = sorted(waiting, key=lambda place: (place not in urgent, -place))[:_AT_ONCE]
        for place in due:
            pause = 2 * self._pauses[place][0]
            self._pauses[place] = pause, pause
        return due
