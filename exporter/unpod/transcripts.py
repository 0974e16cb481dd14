"""Who said how many messages, and whether the user said anything at all. The words themselves are not kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from exporter.unpod import wire
from exporter.unpod.facts import Messages
from exporter.unpod.values import Odd, absent, label
from exporter.unpod.vocabulary import ROLE_WORDS, ROLES

_LINE: Final = re.compile(rf"\s*({'|'.join(ROLE_WORDS)})\s*:(.*)", re.IGNORECASE)
"""A line that begins a message. Any other line goes on with the message before it: a colon alone is no role."""

_SIDES: Final[Mapping[type, str]] = MappingProxyType(
    {
        kind: ROLE_WORDS.get(kind.role(), "other")
        for kind in (wire.UserTurn, wire.CustomerTurn, wire.AssistantTurn, wire.AgentTurn, wire.SystemTurn)
    }
)
"""The side of each usual kind of message."""
_NO_ROLE: Final = "?"
"""Stands for a role that is no word at all."""


def transcript(raw: object, odd: Odd) -> tuple[Messages | None, bool | None]:
    """Messages of each side, and whether the user said nothing; (None, None) where no roles are told.

    Understood are a list of messages with a role, and text with lines ``Role: words``.
    """
    plain = [message for item in _messages(raw, odd) for message in _item(item, odd)]
    if not plain:
        return None, None
    counts = dict.fromkeys(ROLES, 0)
    for role, number in Counter([message.role for message in plain]).items():
        counts[_side(role, odd)] += number
    users = (message for message in plain if _side(message.role, set()) == "user")
    return Messages(**counts), not any(map(_has_words, users))


def turns(messages: Sequence[wire.Turn]) -> tuple[Messages | None, bool | None]:
    """``transcript`` of a list in which every message is usual. Counting is cheap where it is done for all at once."""
    if not messages:
        return None, None
    kinds = list(map(type, messages))
    counts = dict.fromkeys(ROLES, 0)
    for kind in set(kinds):
        counts[_SIDES[kind]] += kinds.count(kind)
    return Messages(**counts), not any(_has_words(turn) for turn in messages if isinstance(turn, wire.UserTurn))


def _side(role: str | None, odd: Odd) -> str:
    return label(role, ROLE_WORDS, "transcript", odd, missing="other")


def _messages(raw: object, odd: Odd) -> list[Any]:
    """The messages, if they are any: a list that arrived may hold anything else as well."""
    if isinstance(raw, list):
        return raw
    if absent(raw):
        return []
    if isinstance(raw, str):
        return _lines(raw)
    odd.add("transcript")
    return []


def _item(item: Any, odd: Odd) -> list[wire.Message]:
    if isinstance(item, wire.Message):
        if not isinstance(item.role, str | None):
            item.role = _NO_ROLE
        return [item]
    if isinstance(item, str):
        return _lines(item)
    if item is not None:
        odd.add("transcript")
    return []


def _has_words(message: wire.Message | wire.UserTurn) -> bool:
    said = wire.says(message.content)
    if said is None:
        said = wire.says(message.message)
    if said is None:
        said = wire.says(message.text)
    return bool(said)


def _lines(written: str) -> list[wire.Message]:
    messages: list[wire.Message] = []
    for line in written.splitlines():
        begun = _LINE.match(line)
        if begun:
            messages.append(wire.Message(role=begun[1], content=wire.written(begun[2])))
        elif messages and not wire.says(messages[-1].content):
            messages[-1].content = wire.written(line)
    return messages
