"""Writes docs/alerts.md from the rules: ``python prometheus/document.py docs/alerts.md``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent / "rules"
AREAS = {
    "exporter": "The exporter",
    "data": "Can the numbers be trusted?",
    "work": "Does the work get done?",
    "calls": "How are the calls?",
    "money": "What does it cost?",
}
HEAD = """\
# Alerts

Made from [the rules](../prometheus/rules) by `make docs`. How to load them and how to change a threshold:
[alerting.md](alerting.md). Each name leads to its runbook.
"""


def page() -> str:
    """The whole page."""
    alerts, thresholds = _rules("alerts.yml", "alert"), _thresholds()
    parts = [HEAD]
    for area, title in AREAS.items():
        rows = [_row(alert) for alert in alerts if alert["labels"]["area"] == area]
        parts.append(f"## {title}\n\n{_table(('alert', 'severity', 'after', 'tells', 'thresholds'), rows)}")
    rows = [
        (f"`{name}`", f"`{value}`", why, ", ".join(_link(alert["alert"]) for alert in alerts if name in _used(alert)))
        for name, (value, why) in thresholds.items()
    ]
    parts.append(f"## Thresholds\n\n{_table(('`unpod:threshold:` ...', 'is', 'meaning', 'of'), rows)}")
    return "\n".join(parts)


def _rules(name: str, kind: str) -> list[Mapping[str, Any]]:
    groups = yaml.safe_load((RULES / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def _thresholds() -> dict[str, tuple[str, str]]:
    """The value of each threshold, and what its comment says."""
    text = (RULES / "thresholds.yml").read_text(encoding="utf-8")
    found = re.findall(r'((?: +# .*\n)+) +- record: unpod:threshold:(\w+)\n +expr: "(.*)"', text)
    return {name: (value, " ".join(re.findall(r"# (.*)", comment))) for comment, name, value in found}


def _row(alert: Mapping[str, Any]) -> tuple[str, ...]:
    tells = re.sub(r"{{ \$labels\.(\w+) }}", r"*\1*", alert["annotations"]["summary"])
    return (
        _link(alert["alert"]),
        alert["labels"]["severity"],
        alert.get("for", "at once"),
        tells,
        ", ".join(f"`{name}`" for name in _used(alert)),
    )


def _used(alert: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(re.findall(r"unpod[:_]threshold:(\w+)", alert["expr"])))


def _link(alert: str) -> str:
    return f"[{alert}](runbooks/{alert}.md)"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
