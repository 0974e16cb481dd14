"""Who said how many messages, and whether the user said anything at all. The words themselves are not kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from exporter.unpod import wire
from exporter.unpod.facts import Messages
from exporter.unpod.values import Odd, absent, label
from exporter.unpod.vocabulary import ROLE_WORDS

_LINE: Final = re.compile(rf"\s*({'|'.join(ROLE_WORDS)})\s*:(.*)", re.IGNORECASE)
"""A line that begins a message. Any other line goes on with the message before it: a colon alone is no role."""

Said = tuple[str, bool]
"""Role of a message, and whether it has any words."""


def transcript(raw: object, odd: Odd) -> tuple[Messages | None, bool | None]:
    """Messages of each side, and whether the user said nothing; (None, None) where no roles are told.

    Understood are a list of messages with a role, and text with lines ``Role: words``.
    """
    said = list(_said(raw, odd))
    if not said:
        return None, None
    counts = Counter(role for role, _ in said)
    silent = not any(words for role, words in said if role == "user")
    return Messages(agent=counts["agent"], user=counts["user"], other=counts["other"]), silent


def _said(raw: object, odd: Odd) -> Iterable[Said]:
    if absent(raw):
        return
    if isinstance(raw, str):
        yield from _lines(raw)
    elif isinstance(raw, list):
        for item in raw:
            yield from _item(item, odd)
    else:
        odd.add("transcript")


def _item(item: Any, odd: Odd) -> Iterable[Said]:
    if isinstance(item, wire.Message):
        yield _message(item, odd)
    elif isinstance(item, str):
        yield from _lines(item)
    elif item is not None:
        odd.add("transcript")


def _message(item: wire.Message, odd: Odd) -> Said:
    told = item.content if item.content is not None else item.message if item.message is not None else item.text
    role = ROLE_WORDS.get(item.role) if isinstance(item.role, str) else None
    words = bool(told.strip()) if isinstance(told, str) else bool(told)
    return role or label(item.role, ROLE_WORDS, "transcript", odd, missing="other"), words


def _lines(written: str) -> Iterable[Said]:
    role = ""
    words = False
    for line in written.splitlines():
        begun = _LINE.match(line)
        if begun and role:
            yield role, words
        if begun:
            role, words = ROLE_WORDS[begun[1].lower()], bool(begun[2].strip())
        else:
            words = words or bool(line.strip())
    if role:
        yield role, words
