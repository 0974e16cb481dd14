"""Writes the rules as resources of the Prometheus Operator: ``python prometheus/resources.py FILE``.

A resource for each file of rules, with its comments, so that the thresholds can be patched or replaced alone.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

RULES = Path(__file__).parent / "rules"
RESOURCE = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: unpod-{name}
  labels:
    app.kubernetes.io/name: unpod-exporter
spec:
{rules}"""
HEAD = "# Made from prometheus/rules by `make docs`.\n"


def resources() -> str:
    """The whole file."""
    return HEAD + "".join(_resource(file) for file in sorted(RULES.glob("*.yml")))


def _resource(file: Path) -> str:
    # Moved, not parsed: what a rule is for is said in its comments.
    rules = textwrap.indent(file.read_text(encoding="utf-8"), "  ")
    return RESOURCE.format(name=file.stem, rules=rules)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(resources(), encoding="utf-8")
