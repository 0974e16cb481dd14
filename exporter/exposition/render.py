"""What each agent last published, kept as text for each family, and put together family by family at a scrape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from exporter.exposition import chunks
from exporter.exposition.catalog import INFO
from exporter.exposition.family import Family, Scope
from exporter.exposition.lines import Format, encode, header
from exporter.tracking import report as reports
from exporter.tracking.report import Labels, Report

Write = Callable[[Family, Report, chunks.Seen, Format], bytes]


class UnknownAgentError(LookupError):
    """A scrape asked for an agent that has published nothing."""

    def __init__(self, agent: str) -> None:
        super().__init__(f"no agent {agent!r} is known here")


class Board:
    """The numbers of all agents, ready to be shown.

    A chunk (a family of an agent in a format) is written when it is first asked for, and anew only when a publication
    changes it. Not safe for use by several threads.
    """

    def __init__(self, catalog: Iterable[Family], *, write: Write = chunks.write) -> None:
        shown = [family for family in catalog if family.scope is not Scope.PROCESS]
        self._families = tuple(family for family in shown if family.scope is Scope.AGENT)
        self._sums = tuple(family for family in shown if family.scope is Scope.SUM)
        self._sources = {family.source: family for family in shown if family.name != INFO}
        self._headers = {form: tuple(_header(family, form) for family in self._families) for form in Format}
        self._write = write
        self._entries: dict[str, _Entry] = {}
        self._addends: dict[str, Mapping[str, reports.Family]] = {}

    def publish(self, report: Report) -> None:
        """Show these numbers of an agent as a whole, in place of those before.

        Raises:
            ContractError: the report does not fit the catalog; what was shown before stays.
        """
        chunks.check(self._sources, report)
        before = self._entries.get(report.agent)
        entry = _Entry(report, chunks.seen_in(self._sources, report))
        if before is not None:
            for form in before.texts:
                entry.texts[form] = tuple(self._renew(before, entry, form))
        self._entries[report.agent] = entry
        self._addends[report.agent] = {
            family.source: report.families[family.source] for family in self._sums if family.source in report.families
        }

    def remove(self, agent: str) -> None:
        """Show this agent no more.

        What it added to the exporter's own counters stays in them, since a counter never falls while the process runs.
        """
        self._entries.pop(agent, None)
        addends = self._addends.get(agent, {})
        self._addends[agent] = {
            source: numbers for source, numbers in addends.items() if isinstance(numbers, reports.Counter)
        }

    def render(self, form: Format, now: float, agents: Sequence[str] = ()) -> bytes:
        """All families, without what ends the format (``Format.end``).

        Args:
            form: the format.
            now: Unix seconds; what agents showed is left out where it is not fresh any more.
            agents: these agents alone, without the sums over all of them; none: everything.

        Raises:
            UnknownAgentError: one of ``agents`` has published nothing.
        """
        columns = zip(*(self._texts(agent, form, now) for agent in self._chosen(agents)), strict=True)
        parts: list[bytes] = []
        for head, column in zip(self._headers[form], columns, strict=False):
            if any(column):
                parts += (head, *column)
        if not agents:
            parts += (self._summed(family, form) for family in self._sums)
        return b"".join(parts)

    def _chosen(self, agents: Sequence[str]) -> Sequence[str]:
        for agent in agents:
            if agent not in self._entries:
                raise UnknownAgentError(agent)
        return sorted(set(agents) or self._entries)

    def _texts(self, agent: str, form: Format, now: float) -> Sequence[bytes]:
        entry = self._entries[agent]
        if form not in entry.texts:
            entry.texts[form] = tuple(self._write(family, entry.report, entry.seen, form) for family in self._families)
        texts = entry.texts[form]
        if entry.fresh(now):
            return texts
        return [b"" if family.expires else text for family, text in zip(self._families, texts, strict=True)]

    def _renew(self, before: _Entry, after: _Entry, form: Format) -> Iterable[bytes]:
        for family, text in zip(self._families, before.texts[form], strict=True):
            same = after.like(before, family.source)
            yield text if same else self._write(family, after.report, after.seen, form)

    def _summed(self, family: Family, form: Format) -> bytes:
        found = [addends[family.source] for addends in self._addends.values() if family.source in addends]
        if not found:
            return b""
        return _header(family, form) + chunks.samples(family, _sum(found), {}, "", form)


class _Entry:
    """A report, and its texts as far as they have been written."""

    def __init__(self, report: Report, seen: chunks.Seen) -> None:
        self.report = report
        self.seen = seen
        self.texts: dict[Format, tuple[bytes, ...]] = {}

    def fresh(self, now: float) -> bool:
        """Whether the gauges of what the platform showed may still be shown."""
        return self.report.fresh_until is not None and now <= self.report.fresh_until

    def like(self, other: _Entry, source: str) -> bool:
        """Whether a family of both looks the same."""
        return (
            self.report.families.get(source) == other.report.families.get(source)
            and self.seen == other.seen
            and self.report.info == other.report.info
        )


def _header(family: Family, form: Format) -> bytes:
    return encode(header(form, family.name, family.kind, family.help, family.unit))


def _sum(numbers: Sequence[reports.Family]) -> reports.Family:
    """Counters, or gauges, added up."""
    totals: defaultdict[Labels, float] = defaultdict(float)
    since: list[float] = []
    for one in numbers:
        if isinstance(one, reports.Counter):
            since.append(one.since)
        if isinstance(one, reports.Counter | reports.Gauge):
            for labels, value in one.values.items():
                totals[labels] += value
    return reports.Counter(min(since), totals) if since else reports.Gauge(totals)
