"""The two text formats of Prometheus, line by line: the one place that knows their syntax.

Rules: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0.0 specification.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.utils import floatToGoString


class Format(enum.Enum):
    """A text format; the value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

    @property
    def content_type(self) -> str:
        return self.value

    @property
    def created(self) -> bool:
        """Whether the format has ``_created`` samples."""
        return self is Format.OPENMETRICS

    @property
    def end(self) -> bytes:
        """What follows the last family."""
        return b"# EOF\n" if self is Format.OPENMETRICS else b""


number: Final[Callable[[float], str]] = floatToGoString
"""A number as Go writes it: a sample's value, and the value of the label ``le``."""


def escape(value: str) -> str:
    """A label's value as it stands between its quotation marks."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def header(form: Format, name: str, kind: str, text: str, unit: str = "") -> str:
    """HELP and TYPE of a family, in OpenMetrics with its UNIT. ``name`` is the full name, with ``_total``."""
    if form is Format.TEXT:
        escaped = text.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"
    family = name.removesuffix("_total") if kind == "counter" else name
    unit_line = f"# UNIT {family} {unit}\n" if unit else ""
    return f"# HELP {family} {escape(text)}\n# TYPE {family} {kind}\n{unit_line}"


def labels(pairs: Iterable[tuple[str, str]], *, after: str = "") -> str:
    """Label pairs as they stand between the braces, after those that are already text."""
    return joined(after, ",".join([f'{name}="{escape(value)}"' for name, value in pairs]))


def joined(front: str, rest: str) -> str:
    """Labels that are already text, and more of them."""
    return f"{front},{rest}" if front and rest else front or rest


def sample(name: str, inside: str, value: float) -> str:
    """One sample, without a timestamp; ``inside`` is what stands between the braces."""
    return line(name, inside, number(value))


def line(name: str, inside: str, value: str) -> str:
    """A sample whose value is already text."""
    return f"{name}{{{inside}}} {value}\n" if inside else f"{name} {value}\n"


def encode(text: str) -> bytes:
    """UTF-8; a lone surrogate, which has no bytes, becomes a question mark."""
    return text.encode("utf-8", "replace")
