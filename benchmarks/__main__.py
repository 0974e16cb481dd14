"""Measures what the exporter costs and prints it as a table: ``python -m benchmarks [--scale S] [NAME ...]``.

Without names everything is measured. A benchmark is a module with ``rows(scale)``, and a line in ``BENCHMARKS``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from benchmarks import databases, first_reading, fleet, past, replicas, scrape, stalls, steady
from benchmarks.table import Benchmark

BENCHMARKS: Final[Mapping[str, Benchmark]] = MappingProxyType(
    {
        "first-reading": first_reading.rows,
        "steady": steady.rows,
        "stalls": stalls.rows,
        "scrape": scrape.rows,
        "fleet": fleet.rows,
        "replicas": replicas.rows,
        "databases": databases.rows,
        "past": past.rows,
    }
)


def main() -> None:
    """Prints the table, row by row as they are measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what the exporter costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="scales the numbers of tasks (1.0)")
    given = parser.parse_args()
    if unknown := set(given.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    sys.stdout.write("| what | measured | ratio | goal |\n|---|---|---|---|\n")
    for name in given.names or BENCHMARKS:
        for row in BENCHMARKS[name](given.scale):
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
