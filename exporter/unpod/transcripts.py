"""Who said how many messages, and whether the user said anything at all. The words themselves are not kept."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from exporter.unpod import wire
from exporter.unpod.facts import Messages
from exporter.unpod.values import Odd, absent, label
from exporter.unpod.vocabulary import ROLE_WORDS

_LINE: Final = re.compile(rf"\s*({'|'.join(ROLE_WORDS)})\s*:(.*)", re.IGNORECASE)
"""A line that begins a message. Any other line goes on with the message before it: a colon alone is no role."""

_NO_ROLE: Final = "?"
"""Stands for a role that is no word at all."""


def transcript(raw: object, odd: Odd) -> tuple[Messages | None, bool | None]:
    """Messages of each side, and whether the user said nothing; (None, None) where no roles are told.

    Understood are a list of messages with a role, and text with lines ``Role: words``.
    """
    messages = _messages(raw, odd)
    if not messages:
        return None, None
    roles = [role if isinstance(role := message.role, str) or role is None else _NO_ROLE for message in messages]
    told = Counter(roles)
    sides = {role: label(role, ROLE_WORDS, "transcript", odd, missing="other") for role in told}
    counts: Counter[str] = Counter()
    for role, number in told.items():
        counts[sides[role]] += number
    silent = not any(
        sides[role] == "user" and _has_words(message) for role, message in zip(roles, messages, strict=True)
    )
    return Messages(agent=counts["agent"], user=counts["user"], other=counts["other"]), silent


def _messages(raw: object, odd: Odd) -> list[wire.Message]:
    if absent(raw):
        return []
    if isinstance(raw, str):
        return _lines(raw)
    if not isinstance(raw, list):
        odd.add("transcript")
        return []
    if all(isinstance(item, wire.Message) for item in raw):
        return raw
    return [message for item in raw for message in _item(item, odd)]


def _item(item: Any, odd: Odd) -> list[wire.Message]:
    if isinstance(item, wire.Message):
        return [item]
    if isinstance(item, str):
        return _lines(item)
    if item is not None:
        odd.add("transcript")
    return []


def _has_words(message: wire.Message) -> bool:
    told = next((words for words in (message.content, message.message, message.text) if words is not None), None)
    return bool(told.strip()) if isinstance(told, str) else bool(told)


def _lines(written: str) -> list[wire.Message]:
    messages: list[wire.Message] = []
    for line in written.splitlines():
        begun = _LINE.match(line)
        if begun:
            messages.append(wire.Message(role=begun[1], content=begun[2].strip()))
        elif messages:
            messages[-1].content = messages[-1].content or line.strip()
    return messages
