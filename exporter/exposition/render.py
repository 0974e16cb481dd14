"""What each agent last published, kept as text for each family, and put together family by family at a scrape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from itertools import chain

from exporter.exposition import chunks, packing
from exporter.exposition.catalog import INFO
from exporter.exposition.family import Family, Scope
from exporter.exposition.lines import Format
from exporter.exposition.packing import Packed
from exporter.exposition.sheet import Column, Pack, Sheet
from exporter.exposition.totals import Totals
from exporter.tracking.report import Report

Write = Callable[[Family, Report, chunks.Seen, Format], bytes]
Texts = tuple[bytes, ...]
"""Of an agent, one for each family."""


class UnknownAgentError(LookupError):
    """A scrape asked for an agent that has published nothing."""

    def __init__(self, agent: str) -> None:
        super().__init__(f"no agent {agent!r} is known here")


class Board:
    """The numbers of all agents, ready to be shown.

    A chunk (a family of an agent in a format) is written when its format is first asked for, and anew only when a
    publication changes it. Not safe for use by several threads.
    """

    def __init__(self, catalog: Iterable[Family], *, write: Write = chunks.write, pack: Pack = packing.pack) -> None:
        families = tuple(catalog)
        self._write = write
        self._pack = pack
        self._entries: dict[str, _Entry] = {}
        self._totals = Totals(family for family in families if family.scope is Scope.SUM)
        self.adopt(families)

    def adopt(self, catalog: Iterable[Family]) -> None:
        """Another catalog of the same families, otherwise described. What is published stays."""
        shown = [family for family in catalog if family.scope is not Scope.PROCESS]
        self._families = tuple(family for family in shown if family.scope is Scope.AGENT)
        self._sources = {family.source: family for family in shown if family.name != INFO}
        self._sheets: dict[Format, Sheet] = {}

    def publish(self, report: Report) -> None:
        """Show these numbers of an agent as a whole, in place of those before.

        Raises:
            ContractError: the report does not fit the catalog; what was shown before stays.
        """
        chunks.check(self._sources, report)
        before = self._entries.get(report.agent)
        entry = _Entry(report, chunks.seen_in(self._sources, report))
        for form in self._sheets:
            entry.texts[form] = self._written(entry, form) if before is None else self._renewed(before, entry, form)
        # Nothing is taken over until all of it is written.
        self._entries[report.agent] = entry
        for form, sheet in self._sheets.items():
            sheet.put(report.agent, entry.texts[form])
        self._totals.put(report)

    def remove(self, agent: str) -> None:
        """Show this agent no more.

        What it added to the exporter's own counters stays in them, since a counter never falls while the process runs.
        """
        self._entries.pop(agent, None)
        for sheet in self._sheets.values():
            sheet.remove(agent)
        self._totals.remove(agent)

    def render(self, form: Format, now: float, agents: Collection[str] = ()) -> bytes:
        """All families, without what ends the format (``Format.end``).

        Args:
            form: the format.
            now: Unix seconds; what agents showed is left out where it is not fresh any more.
            agents: these agents alone, without the sums over all of them; none: everything.

        Raises:
            UnknownAgentError: one of ``agents`` has published nothing.
        """
        columns = self._selected(form, now, agents) if agents else self._everything(form, now)
        pieces = chain.from_iterable(column.pieces() for column in columns)
        return b"".join(pieces if agents else chain(pieces, self._totals.pieces(form)))

    def sums(self, form: Format) -> bytes:
        """The sums over all agents alone, without what ends the format."""
        return b"".join(self._totals.pieces(form))

    def packed(self, form: Format, now: float) -> tuple[Iterable[Packed], bytes]:
        """The same of all agents: their families, of which only those are packed that changed, and the sums."""
        return [column.packed() for column in self._everything(form, now)], self.sums(form)

    def _everything(self, form: Format, now: float) -> Sequence[Column]:
        if form not in self._sheets:
            self._sheets[form] = self._laid_out(form, self._entries)
        return self._sheets[form].columns(_stale(self._entries, now))

    def _selected(self, form: Format, now: float, agents: Collection[str]) -> Sequence[Column]:
        for agent in agents:
            if agent not in self._entries:
                raise UnknownAgentError(agent)
        chosen = {agent: self._entries[agent] for agent in agents}
        return self._laid_out(form, chosen).columns(_stale(chosen, now))

    def _laid_out(self, form: Format, entries: Mapping[str, _Entry]) -> Sheet:
        sheet = Sheet(
            [Column(chunks.head(family, form), expires=family.expires, pack=self._pack) for family in self._families]
        )
        for agent, entry in entries.items():
            if form not in entry.texts:
                entry.texts[form] = self._written(entry, form)
            sheet.put(agent, entry.texts[form])
        return sheet

    def _written(self, entry: _Entry, form: Format) -> Texts:
        return tuple(self._write(family, entry.report, entry.seen, form) for family in self._families)

    def _renewed(self, before: _Entry, entry: _Entry, form: Format) -> Texts:
        """The texts of an agent, written anew only where they can differ from those before."""
        if entry.seen != before.seen or entry.report.info != before.report.info:
            return self._written(entry, form)
        return tuple(
            text
            if entry.report.families.get(family.source) == before.report.families.get(family.source)
            else self._write(family, entry.report, entry.seen, form)
            for family, text in zip(self._families, before.texts[form], strict=True)
        )


class _Entry:
    """A report, and its texts, one for each family, in each format that has been asked for."""

    def __init__(self, report: Report, seen: chunks.Seen) -> None:
        self.report = report
        self.seen = seen
        self.texts: dict[Format, Texts] = {}

    def is_fresh(self, now: float) -> bool:
        """Whether the gauges of what the platform showed may still be shown."""
        return self.report.fresh_until is not None and now <= self.report.fresh_until


def _stale(entries: Mapping[str, _Entry], now: float) -> Set[str]:
    return {agent for agent, entry in entries.items() if not entry.is_fresh(now)}
