"""The status page: is it working, which agents are not, why, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from exporter.web import advice, templating
from exporter.web.advice import Problem
from exporter.web.pages import AgentStatus, Status
from exporter.web.standing import RANKS, STANDINGS, Standing, headline, standing
from exporter.web.words import STEPS

_ROWS: Final = 100
"""Agents on one page."""
_SEARCHED: Final = 20
"""From more agents than these on there is a field to find some by."""
_NAMED: Final = 12
"""Agents that a card names, and first readings that are shown."""
_ERRORS: Final = 3
"""Different errors that a card shows."""


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


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, with all agents that have it."""

    level: str
    problem: Problem
    agents: tuple[AgentStatus, ...] = ()
    """The first of them."""
    more: int = 0
    """How many more there are."""
    show: str = ""
    """The word by which the table shows them."""
    since: float | None = None
    """When it began for the first of them, in Unix seconds."""
    next_poll: float | None = None
    """When the first of them is polled next."""
    next_step: str = ""
    errors: tuple[str, ...] = ()


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
    top = headline(status, standings)
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
        cards=tuple(_cards(status, ranked, standings)),
        reading=reading[:_NAMED],
        reading_more=max(0, len(reading) - _NAMED),
        rows=[Row(agent, STANDINGS[standings[agent.handle]], _why(agent)) for agent in shown],
        look=look,
        found=len(wanted),
        pages=pages,
        searched=len(status.agents) > _SEARCHED,
        counts=_counts(standings),
        next_poll=_next(status),
        steps=STEPS,
    )


def card(agent: AgentStatus, now: float) -> Card | None:
    """What is wrong with one agent; None: nothing is."""
    return next(_cards_of([agent], {agent.handle: standing(agent, now)}), None)


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


def _cards(status: Status, ranked: Sequence[AgentStatus], standings: Mapping[str, str]) -> Iterator[Card]:
    cards = list(_cards_of(ranked, standings))
    # Where no agent can be read, the list cannot be either: that need not be said twice.
    if status.notice and not (status.agents and all(agent.up is False for agent in status.agents)):
        problem = advice.NO_LIST if status.discovers else advice.NO_NAMES
        cards.append(Card(level="warn" if status.agents else "bad", problem=problem, errors=(status.notice,)))
    yield from sorted(cards, key=lambda one: one.level != "bad")


def _cards_of(ranked: Sequence[AgentStatus], standings: Mapping[str, str]) -> Iterator[Card]:
    """One for each problem: first what fails, by how many agents it hits, then what is only amiss."""
    failing: dict[str, list[AgentStatus]] = {}
    amiss: dict[str, list[AgentStatus]] = {}
    for agent in ranked:
        word = standings[agent.handle]
        if word == "failing":
            failing.setdefault(agent.problem or "", []).append(agent)
        elif word in _AMISS:
            amiss.setdefault(word, []).append(agent)
    for problem, agents in sorted(failing.items(), key=lambda item: -len(item[1])):
        yield _grouped("bad", advice.of(problem), agents, "failing")
    for word, agents in amiss.items():
        yield _grouped("warn", _AMISS[word], agents, word)


_AMISS: Final = {"stale": advice.STALE, "late": advice.LATE, "unreadable": advice.UNREADABLE}


def _grouped(level: str, problem: Problem, agents: Sequence[AgentStatus], show: str) -> Card:
    due = min((agent for agent in agents if agent.next_poll), key=lambda agent: agent.next_poll or 0.0, default=None)
    return Card(
        level=level,
        problem=problem,
        agents=tuple(agents[:_NAMED]),
        more=max(0, len(agents) - _NAMED),
        show=show,
        since=min((agent.failing_since for agent in agents if agent.failing_since is not None), default=None),
        next_poll=due.next_poll if due else None,
        next_step=STEPS[due.next_step] if due else "",
        errors=tuple(dict.fromkeys(agent.last_error for agent in agents if agent.last_error))[:_ERRORS],
    )
