"""The table of docs/faults.md, from the matrix: ``python -m tests.faults.docs`` renews it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.faults.matrix import ROWS

PAGE: Final = Path(__file__).parents[2] / "docs" / "faults.md"
_TABLE: Final = re.compile(r"(<!-- begin: faults -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD: Final = ("fault", "the metrics show", "the numbers", "it heals with")


def renewed(page: str) -> str:
    """The page with its table as the matrix has it now."""
    return _TABLE.sub(lambda found: found[1] + _table(row.told for row in ROWS) + found[2], page)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (_HEAD, ("---",) * len(_HEAD), *rows))


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
