"""Tables of pages in docs, from the catalog: ``python -m exporter.exposition.docs docs/metrics.md`` renews that one.

The pages themselves are written by hand; only what stands between two marks is replaced:

    <!-- begin: families of an agent -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from exporter.exposition.catalog import INFO, Settings, families
from exporter.exposition.family import Family, Label, Scope

_PART: Final = re.compile(r"(<!-- begin: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OPEN: Final = {
    "code": "open: a slug, an HTTP status or a bounded word",
    "number": "open: the organisation's own numbers",
    "name": "open: the agent's own name",
    "version": "open",
    "python_version": "open",
    "replica_name": "open: what the machine or the pod is called",
    "shard_index": "a number from 0",
    "shard_count": "a number from 1",
}


def renew(page: str) -> str:
    """The page with its tables as the catalog has them now.

    Raises:
        KeyError: the page names a table that does not exist.
    """
    catalog = families(Settings())
    return _PART.sub(lambda found: found[1] + _TABLES[found["name"]](catalog) + found[3], page)


def _agent_families(catalog: Iterable[Family]) -> str:
    return _families(family for family in catalog if family.scope is Scope.AGENT)


def _exporter_families(catalog: Iterable[Family]) -> str:
    return _families(family for family in catalog if family.scope is not Scope.AGENT)


def _families(shown: Iterable[Family]) -> str:
    rows = [(f"`{family.name}`", family.kind, _label_names(family), _meaning(family)) for family in shown]
    return _table(("family", "kind", "labels", "meaning"), rows)


def _past(catalog: Iterable[Family]) -> str:
    """What the history tells of the past of each family that is not about the exporter itself."""
    rows = [
        (f"`{family.name}`", family.kind, family.told or "not told")
        for family in sorted(catalog, key=lambda family: family.told is None)
        if family.scope is Scope.AGENT
    ]
    return _table(("family", "kind", "when what it counts happened"), rows)


def _meaning(family: Family) -> str:
    buckets = f"; buckets {' '.join(f'{bound:g}' for bound in family.buckets)}" if family.buckets else ""
    return f"{family.help}{buckets}{' ⏳' if family.expires else ''}"


def _label_names(family: Family) -> str:
    names = ", ".join(f"`{label.name}`" for label in family.labels)
    return f"{names}, and yours" if family.name == INFO else names


def _vocabulary(catalog: Iterable[Family]) -> str:
    """Each label with its values; a label may have other values in another family."""
    found: dict[Label, list[str]] = {}
    for family in catalog:
        for label in family.labels:
            found.setdefault(label, []).append(family.name)
    shared = {"reason", "status", "code"}
    rows = [
        (f"`{label.name}`", f"`{names[0]}`" if label.name in shared and len(names) == 1 else "", _values(label))
        for label, names in found.items()
    ]
    return _table(("label", "of", "values"), rows)


def _values(label: Label) -> str:
    return _OPEN[label.name] if label.values is None else ", ".join(label.values)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


_TABLES: Final[Mapping[str, Callable[[Iterable[Family]], str]]] = {
    "families of an agent": _agent_families,
    "families of the exporter": _exporter_families,
    "vocabulary": _vocabulary,
    "the past of each family": _past,
}


def main(paths: Iterable[str]) -> None:
    """Renew the tables of these pages in place."""
    for path in map(Path, paths):
        path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
