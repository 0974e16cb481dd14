"""The texts of all agents in one format, laid out in the order of the exposition: to show them is to join them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from exporter.exposition.packing import Packed

Pack = Callable[[bytes], Packed]


class Column:
    """One family of all agents.

    Args:
        head: what stands before its samples, as long as any agent shows one.
        expires: whether stale agents do not show it.
        pack: packs a text.
    """

    def __init__(self, head: bytes, *, expires: bool, pack: Pack) -> None:
        self.expires = expires
        self._head = head
        self._pack = pack
        self._texts: list[bytes] = []
        self._shown = 0
        self._packed: Packed | None = None

    def lay_out(self, texts: list[bytes]) -> None:
        """These texts, one of each agent, in place of all."""
        self._texts = texts
        self._shown = sum(map(bool, texts))
        self._packed = None

    def put(self, place: int, text: bytes) -> None:
        """The text of one agent, in place of the one before."""
        before = self._texts[place]
        if text is not before:
            self._texts[place] = text
            self._shown += bool(text) - bool(before)
            self._packed = None

    def pieces(self) -> Sequence[bytes]:
        """The head and the texts; nothing if no agent shows the family."""
        return (self._head, *self._texts) if self._shown else ()

    def packed(self) -> Packed:
        """The same, packed when it is asked for the first time since it changed."""
        if self._packed is None:
            self._packed = self._pack(b"".join(self.pieces()))
        return self._packed


class Sheet:
    """A publication puts in the texts that it changed; a scrape touches only those of agents gone stale.

    Args:
        columns: all families.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._texts: dict[str, Sequence[bytes]] = {}
        self._stale: Set[str] = frozenset()
        self._places: Mapping[str, int] | None = None
        """Where each agent stands; None: agents have come or gone, and all is to be laid out anew."""

    def put(self, agent: str, texts: Sequence[bytes]) -> None:
        """These texts of an agent, one for each family, in place of those before."""
        is_new = agent not in self._texts
        self._texts[agent] = texts
        if is_new:
            self._places = None
        elif self._places is not None:
            self._place(agent, self._places[agent])

    def remove(self, agent: str) -> None:
        """No text of this agent any more."""
        if self._texts.pop(agent, None) is not None:
            self._places = None

    def columns(self, stale: Set[str]) -> Sequence[Column]:
        """All families, where these agents are stale."""
        changed, self._stale = self._stale ^ stale, stale
        if self._places is None:
            self._places = self._lay_out()
        else:
            for agent in changed:
                self._place(agent, self._places[agent])
        return self._columns

    def _lay_out(self) -> Mapping[str, int]:
        agents = sorted(self._texts)
        rows = [self._shown(agent) for agent in agents]
        for family, column in enumerate(self._columns):
            column.lay_out([row[family] for row in rows])
        return {agent: place for place, agent in enumerate(agents)}

    def _place(self, agent: str, place: int) -> None:
        for column, text in zip(self._columns, self._shown(agent), strict=True):
            column.put(place, text)

    def _shown(self, agent: str) -> Sequence[bytes]:
        texts = self._texts[agent]
        if agent not in self._stale:
            return texts
        return [b"" if column.expires else text for column, text in zip(self._columns, texts, strict=True)]
