"""The queries' building blocks.

Two replicas of the exporter show the same numbers, so every sum takes the highest of the replicas first. All queries
read what the exporter shows, never recording rules: the dashboards work without any rules.
"""

from __future__ import annotations

from typing import Final

TARGET: Final = 'job=~"$job",instance=~"$instance"'
AGENT: Final = f'{TARGET},agent=~"$agent"'
SMOOTH: Final = "$__rate_interval"
WHOLE: Final = "$__range"
HOUR: Final = 3600

ENDED: Final = "unpod_calls_total"
ANSWERED: Final = 'call_status=~"connected|completed"'
OUTBOUND: Final = 'direction="outbound"'
WAITING: Final = "pending|scheduled|hold"
OPEN: Final = "pending|scheduled|processing|in_progress|hold"
FAULTS: Final = "start_error|llm_error|tts_error|stt_error|pipeline_error|transport_error"
"""End reasons that are the platform's or a provider's own fault."""

_AT: Final = "<at>"
"""Where a selector can be moved to the end of the range, for ``worst``."""


def finished(expr: str) -> str:
    """The query as Grafana shall send it."""
    return expr.replace(_AT, "")


def now(family: str, *matchers: str, of: str = AGENT) -> str:
    """A gauge, once for each agent, however many replicas show it."""
    return _once(_selected(family, of, matchers) + _AT)


def per_second(family: str, *matchers: str, of: str = AGENT) -> str:
    """How fast a counter grows."""
    return _once(f"rate({_selected(family, of, matchers)}[{SMOOTH}]{_AT})")


def growth(family: str, *matchers: str, window: str = WHOLE, of: str = AGENT) -> str:
    """By how much a counter has grown."""
    return _once(f"increase({_selected(family, of, matchers)}[{window}]{_AT})")


def per_hour(family: str, by: str) -> str:
    """How fast a counter grows, by a label; only of those values that it had in the range, so that the legend names
    what there is."""
    seen = total(growth(family), by).replace(_AT, " @ end()")
    return f"{HOUR} * {total(per_second(family), by)} and on ({by}) {seen} > 0"


def by_target(family: str, *matchers: str) -> str:
    """A gauge of the exporter itself: each replica has its own."""
    return _selected(family, TARGET, matchers)


def rate_by_target(family: str, *matchers: str) -> str:
    """How fast a counter of the exporter itself grows: each replica has its own."""
    return f"rate({_selected(family, TARGET, matchers)}[{SMOOTH}])"


def total(expr: str, by: str = "") -> str:
    """The sum, for each value of these labels (comma-separated)."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def share(part: str, whole: str) -> str:
    """A ratio; nothing where there is nothing to divide by."""
    return f"{part} / ({whole} > 0)"


def age(timestamp: str) -> str:
    """Seconds since."""
    return f"time() - {timestamp}"


def worst(expr: str, count: int = 10) -> str:
    """Of the series by agent, those that are highest: gauges at the end of the range, rates over all of it."""
    # A time to come is left out at each step, but what is compared is of the end: it is not to come any more.
    last = expr.replace(_AT, " @ end()").replace(" < time()", "").replace(f"[{SMOOTH}]", f"[{WHOLE}]")
    return f"{expr} and on (agent) topk({count}, {last})"


def quantile(share_below: float, buckets: str, by: str = "") -> str:
    """A quantile of a histogram, whose buckets these are; nothing (not NaN) where nothing was observed."""
    labels = f"{by},le" if by else "le"
    return f"histogram_quantile({share_below}, sum by ({labels}) ({buckets})) >= 0"


def _once(expr: str) -> str:
    return f"max without (instance, pod) ({expr})"


def _selected(family: str, of: str, matchers: tuple[str, ...]) -> str:
    return f"{family}{{{','.join((of, *matchers))}}}"
