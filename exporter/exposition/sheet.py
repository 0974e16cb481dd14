"""The texts of all agents in one format, laid out in the order of the exposition: to show them is to join them."""

from __future__ import annotations

from collections.abc import Sequence, Set


class Sheet:
    """A publication puts in the pieces that it changed; a scrape touches only those of agents gone stale.

    Args:
        heads: what stands before each family that any agent shows.
        expires: for each family, whether stale agents do not show it.
    """

    def __init__(self, heads: Sequence[bytes], expires: Sequence[bool]) -> None:
        self._heads = heads
        self._expires = expires
        self._texts: dict[str, Sequence[bytes]] = {}
        self._stale: Set[str] = frozenset()
        self._places: dict[str, int] = {}
        """Where each agent stands in a family, whose head is at 0."""
        self._laid_out = True
        """Whether every agent has its place."""
        self._pieces: list[bytes] = []
        self._shown: list[int] = []
        """How many agents show each family."""
        self._version = 0

    def put(self, agent: str, texts: Sequence[bytes]) -> None:
        """These texts of an agent, one for each family, in place of those before."""
        self._texts[agent] = texts
        if self._laid_out and agent in self._places:
            self._place(agent)
        else:
            self._laid_out = False

    def remove(self, agent: str) -> None:
        """No text of this agent any more."""
        if self._texts.pop(agent, None) is not None:
            self._laid_out = False

    def pieces(self, stale: Set[str]) -> tuple[int, Sequence[bytes]]:
        """Everything, family by family, where these agents are stale, to be joined at once; with a version: where that
        is the same, so is everything."""
        changed, self._stale = self._stale ^ stale, stale
        if not self._laid_out:
            self._lay_out()
        else:
            for agent in changed:
                self._place(agent)
        return self._version, self._pieces

    def _lay_out(self) -> None:
        self._version += 1
        self._laid_out = True
        self._places = {agent: place for place, agent in enumerate(sorted(self._texts), start=1)}
        self._pieces = [b""] * (len(self._heads) * (1 + len(self._places)))
        self._shown = [0] * len(self._heads)
        for agent in self._places:
            self._place(agent)

    def _place(self, agent: str) -> None:
        is_stale, place, width = agent in self._stale, self._places[agent], 1 + len(self._places)
        for family, text in enumerate(self._texts[agent]):
            at = family * width + place
            shown = b"" if is_stale and self._expires[family] else text
            if shown is not self._pieces[at]:
                self._shown[family] += bool(shown) - bool(self._pieces[at])
                self._pieces[family * width] = self._heads[family] if self._shown[family] else b""
                self._pieces[at] = shown
                self._version += 1
