"""Who said how many messages, and whether the user said anything at all. The words themselves are not kept."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from exporter.unpod import wire
from exporter.unpod.facts import Messages
from exporter.unpod.values import Odd, absent, label
from exporter.unpod.vocabulary import ROLE_WORDS, ROLES

_LINE: Final = re.compile(rf"\s*({'|'.join(ROLE_WORDS)})\s*:(.*)", re.IGNORECASE)
"""A line that begins a message. Any other line goes on with the message before it: a colon alone is no role."""

_NO_ROLE: Final = "?"
"""Stands for a role that is no word at all."""


def transcript(raw: object, odd: Odd) -> tuple[Messages | None, bool | None]:
    """Messages of each side, and whether the user said nothing; (None, None) where no roles are told.

    Understood are a list of messages with a role, and text with lines ``Role: words``.
    """
    messages = _messages(raw, odd)
    try:
        told = Counter([message.role for message in messages])
    except (AttributeError, TypeError):
        # An item is no message, or a role no word: too seldom to be looked for in every message.
        messages = [message for item in messages for message in _item(item, odd)]
        told = Counter([message.role for message in messages])
    if not told:
        return None, None
    sides = {role: label(role, ROLE_WORDS, "transcript", odd, missing="other") for role in told}
    counts = dict.fromkeys(ROLES, 0)
    for role, number in told.items():
        counts[sides[role]] += number
    users = [role for role, side in sides.items() if side == "user"]
    silent = not any(_has_words(message) for message in messages if message.role in users)
    return Messages(**counts), silent


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


def _has_words(message: wire.Message) -> bool:
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
