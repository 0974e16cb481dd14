"""The shipped rules and routes with all their times made shorter by one factor, so that hours pass in seconds.

Scaled are the durations: ``for`` and ``interval``, ranges and offsets in expressions, thresholds in seconds (their
names end in ``_seconds``), and the waits of Alertmanager. Names, counts and shares stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_DURATION: Final = r"(?:\d+(?:ms|[smhdwy]))+"
_IN_EXPRESSION: Final = re.compile(rf"(?<=\[){_DURATION}(?=\])|(?<=\boffset ){_DURATION}\b")
_TIMES: Final = ("for", "interval", "keep_firing_for")
_WAITS: Final = ("group_wait", "group_interval", "repeat_interval")


def seconds(duration: str) -> float:
    """A duration of Prometheus in seconds. Raises ValueError where it is none."""
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration} is no duration")
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


def shorter(duration: str, factor: float) -> str:
    """A duration, so many times shorter, in whole milliseconds and at least one."""
    return f"{max(1, round(1000 * seconds(duration) / factor))}ms"


def rules(document: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A file of rules."""
    groups = [
        {**_times(group, _TIMES, factor), "rules": [_rule(rule, factor) for rule in group["rules"]]}
        for group in document["groups"]
    ]
    return {**document, "groups": groups}


def routes(route: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A tree of Alertmanager's routes."""
    found = _times(route, _WAITS, factor)
    return {**found, "routes": [routes(child, factor) for child in route["routes"]]} if "routes" in route else found


def _rule(rule: Mapping[str, Any], factor: float) -> dict[str, Any]:
    found = _times(rule, _TIMES, factor)
    found["expr"] = _IN_EXPRESSION.sub(lambda found: shorter(found[0], factor), rule["expr"])
    if re.fullmatch(r"unpod:threshold:\w+_seconds", rule.get("record", "")):
        found["expr"] = f"({rule['expr']}) / {factor:g}"
    return found


def _times(mapping: Mapping[str, Any], keys: tuple[str, ...], factor: float) -> dict[str, Any]:
    return {key: shorter(value, factor) if key in keys else value for key, value in mapping.items()}
