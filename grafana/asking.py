"""What Grafana sends to Prometheus for the query of a panel: the variables filled in, and the step between points."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_POINTS: Final = 400
"""How many points Grafana asks for at most: about as many as a panel of a third of the page has pixels."""
_VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class View(NamedTuple):
    """What somebody looks at."""

    begin: float
    """Unix seconds."""
    end: float
    scrape_interval: float = 15.0
    """Seconds, as the data source is told."""
    chosen: Mapping[str, str] = {}
    """The values of variables; those that are not here are All."""


def step(panel: Mapping[str, Any], view: View) -> float:
    """Seconds between two points: no less than the panel and the data source want."""
    least = panel.get("interval", "")
    wanted = float(least[:-1]) * _UNITS[least[-1]] if least else 0.0
    return max(wanted, view.scrape_interval, (view.end - view.begin) / _POINTS)


def sent(expr: str, view: View, seconds: float) -> str:
    """The query with its variables filled in. Raises KeyError where it has one that no dashboard has."""
    every = dict.fromkeys(("job", "instance", "agent"), ".+")
    span = view.end - view.begin
    values = {
        **every,
        **view.chosen,
        "__interval": f"{seconds:.0f}s",
        "__range": f"{span:.0f}s",
        # As Grafana has it: four scrapes at least, and one more than a step.
        "__rate_interval": f"{max(seconds + view.scrape_interval, 4 * view.scrape_interval):.0f}s",
    }
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expr)
