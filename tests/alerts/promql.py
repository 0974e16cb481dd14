"""What a PromQL expression names: metrics with their label matchers, and labels that it groups or matches by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_STRING = r'"(?:[^"\\]|\\.)*"'
_SELECTOR = re.compile(rf"(?<![\w:])([a-zA-Z_:][\w:]*)\s*(?:{{((?:[^}}\"]|{_STRING})*)}})?")
_MATCHER = re.compile(rf"(\w+)\s*(=~|!~|!=|=)\s*({_STRING})")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")


class Matcher(NamedTuple):
    """A label, and the values that it is compared with: alternatives of a regular expression are told one by one."""

    label: str
    values: tuple[str, ...]


class Selector(NamedTuple):
    """A metric, and what is asked of its labels."""

    name: str
    matchers: tuple[Matcher, ...]


def selectors(expression: str) -> Iterator[Selector]:
    """The metrics of ours that are named, raw or recorded, and ``up``."""
    for found in _SELECTOR.finditer(_without_strings_of_functions(expression)):
        name = found[1]
        if name == "up" or name.startswith("unpod_") or ":" in name:
            matchers = tuple(
                Matcher(label, tuple(text[1:-1].split("|")) if operator.endswith("~") else (text[1:-1],))
                for label, operator, text in _MATCHER.findall(found[2] or "")
            )
            yield Selector(name, matchers)


def grouped(expression: str) -> set[str]:
    """The labels that are aggregated or matched by."""
    return {label for found in _GROUPING.findall(expression) for label in re.findall(r"\w+", found)}


def _without_strings_of_functions(expression: str) -> str:
    """Label names that ``label_replace`` is given are no metrics."""
    return re.sub(rf"(,\s*){_STRING}", r"\1", expression)
