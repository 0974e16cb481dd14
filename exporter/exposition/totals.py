"""What the reports say of the exporter itself, summed over all agents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from exporter.exposition import chunks
from exporter.exposition.family import Family
from exporter.exposition.lines import Format
from exporter.tracking import report as reports
from exporter.tracking.report import Labels, Report


class Totals:
    """The sums of these families. One is added up and written anew only when a report has changed what goes into it."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = {family.source: family for family in families}
        self._addends: dict[str, dict[str, reports.Family]] = {source: {} for source in self._families}
        self._texts: dict[Format, dict[str, bytes]] = {form: {} for form in Format}

    def put(self, report: Report) -> None:
        """The numbers of an agent, in place of those before."""
        for source in self._families:
            self._put(source, report.agent, report.families.get(source))

    def remove(self, agent: str) -> None:
        """Without the gauges of this agent. What it added to counters stays: a counter never falls while the process
        runs."""
        for source, addends in self._addends.items():
            if isinstance(addends.get(agent), reports.Gauge):
                self._put(source, agent, None)

    def pieces(self, form: Format) -> Sequence[bytes]:
        """The text of each sum that any agent adds to."""
        texts = self._texts[form]
        for source, family in self._families.items():
            if source not in texts:
                texts[source] = self._write(family, form)
        return [texts[source] for source in self._families]

    def _put(self, source: str, agent: str, numbers: reports.Family | None) -> None:
        addends = self._addends[source]
        if addends.get(agent) == numbers:
            return
        if numbers is None:
            del addends[agent]
        else:
            addends[agent] = numbers
        for texts in self._texts.values():
            texts.pop(source, None)

    def _write(self, family: Family, form: Format) -> bytes:
        addends = self._addends[family.source].values()
        if not addends:
            return b""
        return chunks.head(family, form) + chunks.samples(family, _sum(addends), {}, "", form)


def _sum(addends: Iterable[reports.Family]) -> reports.Family:
    """Counters, or gauges, added up."""
    totals: defaultdict[Labels, float] = defaultdict(float)
    since: list[float] = []
    for one in addends:
        if isinstance(one, reports.Counter):
            since.append(one.since)
        if isinstance(one, reports.Counter | reports.Gauge):
            for labels, value in one.values.items():
                totals[labels] += value
    return reports.Counter(min(since), totals) if since else reports.Gauge(totals)
