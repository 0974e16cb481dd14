"""What each kind of value must look like: one function per kind, from the text in the file to the typed value.

Each raises `Wrong` with what is wrong and what would be right.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from exporter.config.document import Scalar, Wrong
from exporter.config.model import ALL, LEVELS, Secret
from exporter.config.quantities import parse_duration, parse_size
from exporter.unpod.values import fold
from exporter.unpod.vocabulary import AGENT_TYPES

RESERVED_LABELS: Final = ("agent", "name", "agent_type")
"""What ``unpod_agent_info`` carries anyway."""

_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def text(scalar: Scalar) -> str:
    return scalar.words()


def duration(scalar: Scalar) -> float:
    """Seconds, above 0."""
    seconds = duration_or_never(scalar)
    if not seconds:
        raise Wrong("must be longer than 0")
    return seconds


def duration_or_never(scalar: Scalar) -> float:
    """Seconds; 0 is allowed."""
    try:
        return parse_duration(scalar.text.strip())
    except ValueError as error:
        raise Wrong(f"{scalar.shown()} {error}") from None


def history(scalar: Scalar) -> float | None:
    """``all`` (None) or a duration."""
    if scalar.text.strip() == "all":
        return None
    return _or_words(duration, scalar, "all")


def backfill(scalar: Scalar) -> float:
    """``all``, ``none`` or a duration."""
    words = {"all": ALL, "none": 0.0}
    word = scalar.text.strip()
    return words[word] if word in words else _or_words(duration_or_never, scalar, "all or none")


def _or_words(read: Callable[[Scalar], float], scalar: Scalar, words: str) -> float:
    try:
        return read(scalar)
    except Wrong as wrong:
        raise Wrong(f"{wrong}, or {words}") from None


def size(scalar: Scalar) -> int:
    """Bytes, above 0."""
    try:
        amount = parse_size(scalar.text.strip())
    except ValueError as error:
        raise Wrong(f"{scalar.shown()} {error}") from None
    if not amount:
        raise Wrong("must be more than 0")
    return amount


def at_least(least: int) -> Callable[[Scalar], int]:
    """A reader of whole numbers from `least` on."""

    def integer(scalar: Scalar) -> int:
        digits = scalar.text.strip()
        if not (scalar.kind == "int" or scalar.expanded) or not _INTEGER.fullmatch(digits):
            raise Wrong(f"{scalar.shown()} is not a whole number")
        if int(digits) < least:
            raise Wrong(f"{scalar.shown()} is too small; it must be at least {least}")
        return int(digits)

    return integer


def boolean(scalar: Scalar) -> bool:
    word = scalar.text.strip().lower()
    if not (scalar.kind == "bool" or scalar.expanded) or word not in _TRUTH:
        raise Wrong(f"{scalar.shown()} is neither true nor false")
    return _TRUTH[word]


def bound(scalar: Scalar) -> float:
    """An upper bound of a bucket, in seconds."""
    try:
        value = float(scalar.text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise Wrong(f"{scalar.shown()} is not a number of seconds")
    if math.isinf(value):
        raise Wrong("must not be infinite; the bucket +Inf is always there")
    if value <= 0:
        raise Wrong(f"{scalar.shown()} is too small; a bucket's bound must be above 0")
    return value


def token(scalar: Scalar) -> Secret:
    """The text of an access token; no message shows any of it."""
    value = scalar.words()
    if re.search(r"\s", value):
        raise Wrong("has white space inside; give the token alone, without a word such as Token or Bearer before it")
    if not _fits_header(value):
        raise Wrong("holds a character that no HTTP header can carry")
    return Secret(value)


def header_value(scalar: Scalar) -> str:
    value = scalar.words()
    if not _fits_header(value):
        raise Wrong(f"{scalar.shown()} holds a character that no HTTP header can carry")
    return value


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable()


def base_url(scalar: Scalar) -> str:
    """The address of the platform, without a slash at its end."""
    value = scalar.words()
    problem = _url_problem(value)
    if "@" in value:
        raise Wrong("must hold no user or password; the token goes to api.token")
    if problem:
        raise Wrong(f"{scalar.shown()} {problem}; write for example https://unpod.ai")
    return value.rstrip("/")


def proxy_url(scalar: Scalar) -> Secret:
    """The address of an HTTP proxy, which may hold a password; no message shows any of it."""
    value = scalar.words()
    problem = _url_problem(value)
    if problem:
        raise Wrong(f"{problem}; write for example http://proxy.example:3128")
    return Secret(value)


def _url_problem(value: str) -> str | None:
    if re.search(r"\s", value):
        return "has white space inside"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https"):
        return "does not begin with http:// or https://"
    if not parts.hostname or port == 0:
        return "names no host" if port != 0 else "has a port that cannot be used"
    if parts.query or parts.fragment:
        return "must not hold a ? or a #"
    return None


def path_prefix(scalar: Scalar) -> str:
    """Empty, or a path with a slash at its start and none at its end."""
    if scalar.kind == "str" and not scalar.text.strip():
        return ""
    value = scalar.words()
    if not value.startswith("/") or re.search(r"[\s?#]", value):
        raise Wrong(f"{scalar.shown()} is not a path; write for example /api/v2/platform")
    return value.rstrip("/")


def file(directory: Path) -> Callable[[Scalar], Path]:
    """A reader of paths, relative to `directory`, of files that can be read and hold something."""

    def existing(scalar: Scalar) -> Path:
        path = directory / scalar.words()
        try:
            facts = path.stat()
        except OSError as error:
            raise Wrong(f"{scalar.shown()} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(facts.st_mode):
            raise Wrong(f"{scalar.shown()} is not a file")
        if not os.access(path, os.R_OK):
            raise Wrong(f"{scalar.shown()} cannot be read: the exporter's user may not")
        if not facts.st_size:
            raise Wrong(f"{scalar.shown()} is an empty file")
        return path

    return existing


def state_path(scalar: Scalar) -> Path | None:
    """None for the word ``memory``."""
    value = scalar.words()
    return None if value == "memory" else Path(value)


def glob(scalar: Scalar) -> str:
    pattern = scalar.words()
    if "[" in re.sub(r"\[!?\]?[^\]]*\]", "", pattern):
        raise Wrong(f"{scalar.shown()} is not a glob: its [ is never closed")
    return pattern


def log_level(scalar: Scalar) -> str:
    word = scalar.words()
    if word not in LEVELS:
        raise Wrong(f"{scalar.shown()} is not a level; known are {', '.join(LEVELS)}")
    return word


def agent_type(scalar: Scalar) -> str:
    """One of ``AGENT_TYPES``, in whichever case."""
    word = fold(scalar.words())
    if word in AGENT_TYPES:
        return word
    close = difflib.get_close_matches(word, AGENT_TYPES, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(AGENT_TYPES)}"
    raise Wrong(f"{scalar.shown()} is not a type of agents; {hint}")


def label_name(name: str) -> str:
    """The name of a label, which the exporter does not set itself. Raises Wrong."""
    if not _LABEL.fullmatch(name):
        raise Wrong("is not a label name; it takes letters, digits and _, and does not begin with a digit")
    if name.startswith("__"):
        raise Wrong("begins with __, which Prometheus keeps for itself")
    if name in RESERVED_LABELS:
        raise Wrong(f"is a label that the exporter sets itself (as it does {', '.join(RESERVED_LABELS)})")
    return name
