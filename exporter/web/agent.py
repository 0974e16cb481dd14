"""The page of one agent: its last polls, its numbers now, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from exporter.web import advice, cards, templating
from exporter.web.pages import AgentDetail, AgentStatus, PollStatus
from exporter.web.standing import STANDINGS, standing
from exporter.web.words import STEPS

_SENTENCES: Final = {
    "failing": "This agent is failing",
    "stale": "This agent's numbers are too old to be shown",
    "late": "This agent is polled too late",
    "unreadable": "This agent is fine, but some of its tasks cannot be delivered",
    "reading": "This agent is being read for the first time",
    "waiting": "This agent is waiting for its first poll",
    "fine": "This agent is fine",
}


def render(detail: AgentDetail, links: Mapping[str, str]) -> str:
    """The page. Its links are relative to the folder ``agents/``."""
    agent = detail.agent
    word = standing(agent, detail.now)
    return templating.page(
        "agent.html",
        root="../",
        links=links,
        now=detail.now,
        level=STANDINGS[word].level,
        words=_SENTENCES[word],
        agent=agent,
        card=cards.of_one(agent, detail.now),
        polls=[(poll, _result(poll)) for poll in detail.polls],
        numbers=[(group, max((figure.value for figure in group.figures), default=0.0)) for group in detail.numbers],
        next_step=_next_step(agent),
        paused=detail.paused,
    )


def missing(handle: str, links: Mapping[str, str]) -> str:
    """The page in place of that of an agent that is not polled."""
    return templating.page("missing.html", root="../", links=links, level="warn", handle=handle)


def _next_step(agent: AgentStatus) -> str:
    return STEPS[agent.next_step]


def _result(poll: PollStatus) -> str:
    if poll.problem is not None:
        return advice.of(poll.problem).title
    return "history read" if poll.first else "succeeded"
