"""Raw JSON values made uniform. Each reader gives None for what is absent and raises ValueError for nonsense."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

ABSENT: Final = frozenset({"", "null", "none", "na", "n/a"})
"""Folded words by which the platform says that there is nothing: ``"NULL"``, ``"None"``, ``"NA"``, ``""``."""

_LONGEST_ABSENT: Final = 8
"""Characters of such a word as it is written: longer ones need not be looked up."""
_SEPARATORS: Final = re.compile(r"[\s_-]+")
_LONGEST_WORD: Final = 60
"""Characters of a word that is remembered once it was folded: longer ones are nobody's vocabulary."""
_NUMERAL: Final = re.compile(r"[+-]?[0-9]{1,24}(?:\.[0-9]{0,40})?")

T = TypeVar("T")
Odd = set[str]
"""The fields of one task whose values fit nothing known, while it is read."""


def fold(word: str) -> str:
    """A word without case, space, ``-`` and ``_``: what comparisons see."""
    return _folded(word) if len(word) <= _LONGEST_WORD else _fold(word)


def _fold(word: str) -> str:
    return _SEPARATORS.sub("", word).casefold()


# The platform says the same few words in every task.
_folded: Final = lru_cache(maxsize=1024)(_fold)


def absent(raw: object) -> bool:
    """Whether a value says nothing: null, white space, or one of the words for it."""
    if not isinstance(raw, str):
        return raw is None
    if len(raw) > _LONGEST_ABSENT:
        return raw.isspace()
    return not raw or raw.isspace() or fold(raw) in ABSENT


def first(*raws: object) -> object:
    """The first value that says something, None where none does."""
    for raw in raws:
        # Called for what is there alone: most of what is asked for is not.
        if raw is not None and not absent(raw):
            return raw
    return None


def text(raw: object) -> str:
    """An identity as text: a string, or an integer written out; empty for anything else.

    Lone surrogates, which no file and no socket takes, are replaced.
    """
    if type(raw) is str and len(raw) > _LONGEST_ABSENT and raw.isascii():
        # Nearly always.
        return raw.strip()
    if isinstance(raw, str):
        written = "" if absent(raw) else raw.strip()
        return written if written.isascii() else written.encode("utf-8", "replace").decode()
    return str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else ""


def number(raw: object, *, most: float) -> float | None:
    """A number from 0 to ``most``, also when written as a string."""
    if type(raw) is float and 0 <= raw <= most:
        return raw
    if absent(raw):
        return None
    if isinstance(raw, str) and _NUMERAL.fullmatch(raw.strip()):
        raw = float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise ValueError("not a number")
    # NaN is not between anything, and an integer beyond all floats must not become one.
    if not 0 <= raw <= most:
        raise ValueError("out of range")
    return float(raw)


def whole(raw: object, *, most: int) -> int | None:
    """A whole number from 0 to ``most``, also when written as a string or an integral float."""
    if type(raw) is int and 0 <= raw <= most:
        return raw
    told = number(raw, most=most)
    if told is None:
        return None
    if not told.is_integer():
        raise ValueError("not whole")
    return int(told)


def taken(read: Callable[[object], T | None], raw: object, field: str, odd: Odd) -> T | None:
    """What ``read`` makes of a value; where it raises ValueError, None, and the field is noted as odd."""
    if raw is None:
        return None
    try:
        return read(raw)
    except ValueError:
        odd.add(field)
        return None


def label(raw: Any, words: Mapping[str, str], field: str, odd: Odd, *, missing: str = "unknown") -> str:
    """The word that a folded raw word maps to: ``missing`` when absent, ``other`` (and odd) when it fits nothing."""
    if isinstance(raw, str) and (known := words.get(raw)) is not None:
        return known
    if absent(raw):
        return missing
    word = words.get(fold(raw)) if isinstance(raw, str) else None
    if word is None:
        odd.add(field)
        return "other"
    return word
