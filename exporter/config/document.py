"""A YAML file as a tree whose every value knows its line and its path, and which collects what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
import yaml

T = TypeVar("T")
Given: TypeAlias = T | msgspec.UnsetType
"""What reading a value gives: UNSET where it is not there, is null, or is wrong (which is then a problem)."""

KINDS: Final = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "null": "null"}
OTHER_KIND: Final = "another kind of value"
_VARIABLE: Final = re.compile(r"\$(?:\$|\{([^}]*)(\}?))")
_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.ASCII | re.DOTALL)
_KEY: Final = re.compile(r"[A-Za-z_][\w-]{0,30}", re.ASCII)
_QUOTED: Final = re.compile(r"""\s*(['"])(.*?)\1""")
_UNUSABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Wrong(Exception):
    """What is wrong with one value, each thing as the end of a sentence that begins with the value's path."""


class Problem(msgspec.Struct, frozen=True):
    line: int
    """0 where there is none."""
    path: str
    """Empty where it is about the whole file."""
    text: str


class Scalar(msgspec.Struct, frozen=True):
    """One value as written. `raw` may be shown, `text` may hold what came from the environment."""

    text: str
    kind: str
    """``str``, ``int``, ``float``, ``bool``, ``null``, or another word of YAML."""
    raw: str
    expanded: bool = False

    def shown(self) -> str:
        return show(self.raw)

    def words(self) -> str:
        """The value without white space around it, which must be text: not empty, and without control characters."""
        if self.kind != "str" and not self.expanded:
            raise Wrong(
                f"must be text, not {KINDS.get(self.kind, OTHER_KIND)}; put it in quotes if it is meant as text"
            )
        words = self.text.strip()
        if _UNUSABLE.search(words):
            raise Wrong("holds a character that cannot be used (a line break, a tab, or another control character)")
        if not words:
            raise Wrong("is empty")
        return words


class Place:
    """A value of the document together with where it stands."""

    def __init__(self, document: Document, node: yaml.Node, path: str, key: yaml.Node | None = None) -> None:
        self.document = document
        self.node = node
        self.path = path
        mark = (key or node).start_mark
        self.line = mark.line + 1 if mark else 0

    def wrong(self, text: str) -> None:
        """Notes a problem; reading goes on, so that all are found in one go."""
        self.document.problems.append(Problem(self.line, self.path, text))

    def scalar(self) -> Scalar:
        """Raises Wrong where this is a list or a mapping, or names a variable that is not set."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise Wrong(f"must be a single value, not {self._shape()}")
        kind, raw = self.node.tag.rpartition(":")[2], self.node.value
        text = self.document.expand(raw) if kind == "str" else raw
        return Scalar(text, kind, raw, expanded="$" in raw and text != raw)

    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    def is_null(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag.endswith(":null")

    @property
    def size(self) -> int:
        """How many entries there are in a list; 0 where it is none."""
        return len(self.node.value) if isinstance(self.node, yaml.SequenceNode) else 0

    def read(self, reader: Callable[[Scalar], T], *, secret: bool = False) -> Given[T]:
        """The single value as `reader` understands it; UNSET for null, or where nothing is left after expansion.

        A secret is kept out of every message, of other keys too.
        """
        try:
            scalar = self.scalar()
            if scalar.kind == "null" or (scalar.expanded and not scalar.text.strip()):
                return msgspec.UNSET
            if secret:
                self.document.secrets += [scalar.text, *scalar.text.split()]
            self.document.values[self.path] = value = reader(scalar)
        except Wrong as wrong:
            for problem in wrong.args:
                self.wrong(problem)
            return msgspec.UNSET
        return value

    def items(self) -> tuple[Place, ...]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.wrong(f"must be a list, not {self._shape()}")
            return ()
        return tuple(Place(self.document, node, f"{self.path}[{index}]") for index, node in enumerate(self.node.value))

    def entries(self) -> dict[str, Place]:
        """The values of a mapping by key."""
        if not isinstance(self.node, yaml.MappingNode):
            self.wrong(f"must be a mapping (key: value), not {self._shape()}")
            return {}
        return dict(self._pairs(self.node))

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, Place]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                Place(self.document, key, self.path).wrong("a key must be a plain word")
                continue
            place = Place(self.document, value, ".".join(filter(None, (self.path, show_key(key.value)))), key)
            if key.value in seen:
                place.wrong(f"is given twice, first in line {seen[key.value]}")
                continue
            seen[key.value] = place.line
            self.document.lines.setdefault(place.path, place.line)
            yield key.value, place

    def _shape(self) -> str:
        if isinstance(self.node, yaml.MappingNode):
            return "a mapping"
        if isinstance(self.node, yaml.SequenceNode):
            return "a list"
        return KINDS.get(self.node.tag.rpartition(":")[2], OTHER_KIND)


class Document:
    """Values with the variables that they may name, and the problems found so far."""

    def __init__(
        self,
        environ: Mapping[str, str] | None,
        directory: Path | None = None,
        *,
        sections: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        self._environ = environ
        self.sections = sections
        """The keys of each section, to tell where one in the wrong place belongs."""
        self.directory = directory or Path()
        """What paths inside the file are relative to."""
        self.problems: list[Problem] = []
        self.secrets: list[str] = []
        self.lines: dict[str, int] = {}
        """Where each key stands that was read, by its path."""
        self.values: dict[str, Any] = {}
        """What each single value was read as, by its path."""
        self.misspelt: set[str] = set()
        """Sections that hold a key that is not known: one that is may be meant."""

    def wrong(self, path: str, text: str) -> None:
        """Notes a problem with the key at `path`, which need not be there."""
        self.problems.append(Problem(self.lines.get(path, 0), path, text))

    def sound(self, path: str) -> bool:
        """Whether nothing is wrong with the key at `path`, or with anything in it."""
        return self.in_shape(path) and not any(
            problem.path.startswith((f"{path}.", f"{path}[")) for problem in self.problems
        )

    def in_shape(self, path: str) -> bool:
        """Whether nothing is wrong with the key at `path` itself, whatever is with what is in it."""
        return not any(problem.path == path for problem in self.problems)

    def in_words(self, name: str) -> tuple[str, ...]:
        """The problems in the order of the file, one line each, without a secret in any."""
        ordered = sorted(self.problems, key=lambda problem: (not problem.line, problem.line))
        return tuple(_joined(_place(name, problem), self._conceal(_sentence(problem))) for problem in ordered)

    def _conceal(self, sentence: str) -> str:
        for secret in self.secrets:
            for form in (secret, json.dumps(secret)[1:-1]):
                sentence = sentence.replace(form, "<secret>") if len(form) > 5 else sentence
        return sentence

    def expand(self, raw: str) -> str:
        """``${NAME}``, ``${NAME:-default}`` and ``$$`` replaced. Raises Wrong, which shows no value."""
        if self._environ is None:
            return raw
        return _VARIABLE.sub(self._variable, raw)

    def _variable(self, match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name = _NAME.fullmatch(match[1])
        if not match[2] or name is None:
            raise Wrong(
                "has a ${ that does not name a variable; write ${NAME} or ${NAME:-default}, and $$ for a dollar"
            )
        value = (self._environ or {}).get(name[1])
        if value is None and name[2] is None:
            raise Wrong(
                f"names ${{{name[1]}}}, which is not set in the environment; ${{{name[1]}:-default}} has a default"
            )
        return value or name[2] or ""


def _place(name: str, problem: Problem) -> str:
    return f"{name}:{problem.line}" if problem.line else name


def _sentence(problem: Problem) -> str:
    return _joined(problem.path, problem.text)


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))


def show(text: str) -> str:
    """A value within a message: quoted and in one line. A long one is not shown, nor is a piece of it."""
    if len(text) > 80:
        return f"(a text of {len(text)} characters)"
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def show_key(key: str) -> str:
    """A key within a message. One that looks like no key may be a secret in the wrong place."""
    return key if _KEY.fullmatch(key) else "(a key that is not shown)"


def compose(text: str) -> yaml.Node | None:
    """The tree of a YAML text; None where it holds nothing.

    Raises yaml.YAMLError, and ValueError, OverflowError or RecursionError where PyYAML stumbles.
    """
    return yaml.compose(text, Loader=yaml.SafeLoader)


def syntax_problem(error: Exception) -> Problem:
    """What PyYAML found wrong, without the piece of the file that it would quote."""
    if isinstance(error, RecursionError):
        return Problem(0, "", "is nested too deeply")
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 0
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    if said == "but found another document":
        return Problem(line, "", "holds a second YAML document after a line of ---; keep one")
    if "\\t" in said:
        return Problem(line, "", "is not YAML: a tab stands where YAML wants spaces")
    said = _QUOTED.sub(lambda match: match[0] if len(match[2]) < 2 or match[2].startswith("<") else "", said)
    return Problem(line, "", f"is not YAML: {said}")
