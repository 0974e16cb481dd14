"""A JSON object read as tolerantly as it can be, entry by entry, by the standard library's decoder.

It takes what strict decoders refuse: raw control characters, NaN, lone surrogates, bad UTF-8, numbers of any size. A
value nested too deeply costs its own entry, not the document. What is incomplete or no JSON is still refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

_LONGEST_INTEGER: Final = 18
"""Digits; Python refuses to convert thousands of them, and nothing here needs more."""
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_BRACKET: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_DEPTH: Final = {"[": 1, "{": 1, "]": -1, "}": -1}


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


_DECODER: Final = json.JSONDecoder(strict=False, parse_int=_integer)

Entry = Callable[[Any], Any]


def document(body: bytes | bytearray, entry: Entry) -> dict[str, Any] | None:
    """The members of the object that ``body`` holds, None where it holds no complete object.

    ``entry`` turns each item of a list directly inside the object into what is kept of it, at once, so that a large
    page never stands in memory as a whole. An item that is nested too deeply is given as None.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    try:
        at = _skip(text, 0)
        if text[at] != "{":
            return None
        members, at = _object(text, at, entry)
    except (ValueError, IndexError, RecursionError):
        return None
    return members if _skip(text, at) == len(text) else None


def _object(text: str, at: int, entry: Entry) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    at = _skip(text, at + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise ValueError("a name must be a string")
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] != ":":
            raise ValueError("a name without a value")
        at = _skip(text, at + 1)
        members[name], at = _list(text, at, entry) if text[at] == "[" else _DECODER.raw_decode(text, at)
        at = _next(text, at, "}")
    return members, at + 1


def _list(text: str, at: int, entry: Entry) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        item, at = _item(text, at)
        items.append(entry(item))
        at = _next(text, at, "]")
    return items, at + 1


def _item(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        return None, _end(text, at)


def _end(text: str, at: int) -> int:
    """Where the bracketed value that begins at ``at`` ends, however deep it is."""
    depth = 0
    for token in _BRACKET.finditer(text, at):
        depth += _DEPTH.get(token[0], 0)
        if depth == 0:
            return token.end()
    raise ValueError("truncated")


def _next(text: str, at: int, closing: str) -> int:
    """The place of the next item, or of the closing bracket."""
    at = _skip(text, at)
    if text[at] == closing:
        return at
    if text[at] != ",":
        raise ValueError("items must be separated by commas")
    at = _skip(text, at + 1)
    if text[at] == closing:
        raise ValueError("a comma without an item")
    return at


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
