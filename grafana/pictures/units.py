"""Numbers as Grafana writes them in the units of the dashboards, and round numbers for axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

_TIMES: Final = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "mins"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SHORT: Final = ((1e9, "B"), (1e6, "M"), (1e3, "K"), (1.0, ""))
_BYTES: Final = ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"), (1.0, " B"))


def told(value: float, unit: str, decimals: int | None = None) -> str:
    """A number in its unit."""
    if unit.startswith("suffix:"):
        return _scaled(value, _SHORT, decimals) + unit.removeprefix("suffix:")
    return _UNITS[unit](value, decimals)


def ticks(highest: float, unit: str, count: int = 4) -> list[float]:
    """About so many round numbers from 0 to ``highest``."""
    base = 2.0 if unit == "bytes" else 10.0
    if unit == "s" and highest > 90:
        steps: Sequence[float] = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
    else:
        power = base ** math.floor(math.log(highest / count, base))
        steps = [power * factor for factor in ((1, 2, 4, 8) if unit == "bytes" else (1, 2, 2.5, 5, 10))]
    step = next((step for step in steps if highest / step <= count), steps[-1])
    return [number * step for number in range(math.floor(highest / step + 1e-9) + 1)]


def _scaled(value: float, scales: Sequence[tuple[float, str]], decimals: int | None) -> str:
    size, suffix = next(((size, suffix) for size, suffix in scales if abs(value) >= size), scales[-1])
    return _digits(value / size, decimals) + suffix


def _digits(value: float, decimals: int | None) -> str:
    if decimals is None:
        if 0 < abs(value) < 0.01:
            return f"{value:.1g}"
        decimals = 0 if abs(value) >= 100 or value == round(value) else 1 if abs(value) >= 10 else 2
        return f"{value:.{decimals}f}".rstrip("0").rstrip(".") if decimals else f"{value:.0f}"
    return f"{value:.{decimals}f}"


def _time(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    size, name = next(((size, name) for size, name in _TIMES if abs(value) >= size), _TIMES[-1])
    digits = _digits(value / size, decimals if size >= 1 else None)
    return f"{digits} {name.removesuffix('s') if digits == '1' and len(name) > 2 else name}"


_UNITS: Final[Mapping[str, Callable[[float, int | None], str]]] = {
    "short": lambda value, decimals: _scaled(value, _SHORT, decimals),
    "percentunit": lambda value, decimals: f"{_digits(value * 100, decimals)}%",
    "s": _time,
    "bytes": lambda value, decimals: _scaled(value, _BYTES, decimals),
    "currencyUSD": lambda value, decimals: f"${_scaled(value, _SHORT, decimals)}",
    "reqps": lambda value, decimals: f"{_digits(value, decimals)} req/s",
}
