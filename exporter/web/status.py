"""The status page: is it working, which agents are not, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from exporter.web import advice, cards, templating
from exporter.web.cards import NAMED
from exporter.web.pages import AgentStatus, Status
from exporter.web.standing import RANKS, STANDINGS, Standing, headline, standing
from exporter.web.words import STEPS

_ROWS: Final = 100
"""Agents on one page."""
_SEARCHED: Final = 20
"""From more agents than these on there is a field to find some by."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the agents are asked for."""

    find: str = ""
    """Part of a handle or a name; empty: all."""
    show: str = ""
    """A word of ``STANDINGS``; empty: all."""
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Look:
        """What a query string asks for; what is nonsense in it is passed over."""
        number = query.get("page", "")
        show = query.get("show", "")
        return cls(
            find=query.get("find", "").strip(),
            show=show if show in STANDINGS else "",
            page=max(1, int(number)) if number.isascii() and number.isdecimal() and len(number) < 7 else 1,
        )


class Row(msgspec.Struct, frozen=True):
    """An agent in the table."""

    agent: AgentStatus
    standing: Standing
    why: str
    """In short."""


def render(status: Status, links: Mapping[str, str], look: Look = Look()) -> str:  # noqa: B008 -- immutable
    """The page. Its links are relative, so that it works behind a path prefix as well."""
    standings = {agent.handle: standing(agent, status.now) for agent in status.agents}
    ranked = sorted(status.agents, key=lambda agent: (RANKS[standings[agent.handle]], agent.handle))
    wanted = [agent for agent in ranked if _is_wanted(agent, standings[agent.handle], look)]
    pages = max(1, -(-len(wanted) // _ROWS))
    look = msgspec.structs.replace(look, page=min(look.page, pages))
    shown = wanted[(look.page - 1) * _ROWS : look.page * _ROWS]
    wrong = cards.of_all(status, ranked, standings)
    top = headline(status, standings, [(card.level, card.brief) for card in wrong if card.brief])
    reading = [agent for agent in ranked if standings[agent.handle] == "reading"]
    return templating.page(
        "status.html",
        root="",
        links=links,
        version=status.version,
        now=status.now,
        level=top.level,
        headline=top,
        status=status,
        cards=wrong,
        reading=reading[:NAMED],
        reading_more=max(0, len(reading) - NAMED),
        rows=[Row(agent, STANDINGS[standings[agent.handle]], _why(agent)) for agent in shown],
        look=look,
        found=len(wanted),
        pages=pages,
        searched=len(status.agents) > _SEARCHED,
        counts=_counts(standings),
        next_poll=_next(status),
        steps=STEPS,
    )


def _is_wanted(agent: AgentStatus, word: str, look: Look) -> bool:
    found = look.find.casefold()
    return (not look.show or word == look.show) and (
        not found or found in agent.handle.casefold() or found in agent.name.casefold()
    )


def _counts(standings: Mapping[str, str]) -> list[tuple[str, Standing, int]]:
    counts = Counter(standings.values())
    return [(word, one, counts[word]) for word, one in STANDINGS.items() if word in counts]


def _why(agent: AgentStatus) -> str:
    return advice.of(agent.problem).title if agent.problem else ""


def _next(status: Status) -> tuple[AgentStatus, float] | None:
    """Who is polled next, and when: not before a pause is over that the platform has asked for."""
    due = [(agent.next_poll, agent.handle, agent) for agent in status.agents if agent.next_poll is not None]
    if not due:
        return None
    moment, _, agent = min(due, key=lambda one: one[:2])
    return agent, max(moment, status.now + (status.requests.paused if status.requests else 0.0))
