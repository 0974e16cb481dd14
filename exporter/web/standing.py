"""How an agent, and all of them together, do: the one word, its colour and its sign that a person sees first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from exporter.web.pages import AgentStatus, Status
from exporter.web.words import count, span

_LATE: Final = 3
"""Numbers are late once they are older than so many intervals, and than a minute."""


_UNTROUBLED: Final = ("good", "busy")


class Standing(msgspec.Struct, frozen=True):
    """How something does."""

    level: str
    """``bad``, ``warn``, ``busy`` or ``good``: a colour and a sign."""
    words: str


STANDINGS: Final[Mapping[str, Standing]] = MappingProxyType(
    {
        "failing": Standing("bad", "failing"),
        "stale": Standing("warn", "too old"),
        "late": Standing("warn", "late"),
        "unreadable": Standing("warn", "incomplete"),
        "reading": Standing("busy", "first reading"),
        "waiting": Standing("busy", "waiting"),
        "fine": Standing("good", "fine"),
    }
)
"""How an agent can do, the worst first."""
RANKS: Final[Mapping[str, int]] = MappingProxyType({word: rank for rank, word in enumerate(STANDINGS)})


def standing(agent: AgentStatus, now: float) -> str:
    """A word of ``STANDINGS``."""
    if agent.up is None:
        return "reading" if (agent.history_ratio or 0.0) < 1.0 and agent.poll_began is not None else "waiting"
    if not agent.up:
        return "failing"
    if agent.fresh_until is not None and now > agent.fresh_until:
        return "stale"
    if agent.last_success is not None and now - agent.last_success > max(60.0, _LATE * agent.interval):
        return "late"
    return "unreadable" if agent.unreadable else "fine"


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """How all agents do, in a sentence, and how old their numbers are."""

    level: str
    words: str
    lead: str = ""
    """The notice of the status is not in it."""


def headline(status: Status, standings: Mapping[str, str], troubles: Sequence[tuple[str, str]] = ()) -> Headline:
    """The sentence on top. ``standings`` are those of the agents, by handle; ``troubles`` those of the exporter itself,
    each with its level and a few words that can follow "but", the worst first."""
    top = _of_agents(status, standings)
    if not troubles or top.level == "bad":
        return top
    level, words = troubles[0]
    # Where both are amiss, the agents come first: the others have their cards.
    told = f"{top.words}, but {words}" if level == "bad" or top.level in _UNTROUBLED else top.words
    return msgspec.structs.replace(top, level=level if level == "bad" else "warn", words=told)


def _of_agents(status: Status, standings: Mapping[str, str]) -> Headline:
    if not status.agents:
        return _without_agents(status)
    level, words = _worst(status, Counter(standings.values()))
    return Headline(level=level, words=words, lead=_ages(status, standings))


def _without_agents(status: Status) -> Headline:
    if status.notice:
        return Headline(level="bad", words="No agent is polled", lead="The exporter has found none that it may poll.")
    return Headline(level="busy", words="Looking for agents", lead="The list of agents has not been read yet.")


def _worst(status: Status, counts: Mapping[str, int]) -> tuple[str, str]:
    total = len(status.agents)
    if failing := counts.get("failing", 0):
        return "bad", f"{_of(failing, total)} failing"
    if stale := counts.get("stale", 0):
        return "warn", f"{_of(stale, total)} without fresh numbers"
    if late := counts.get("late", 0):
        return "warn", f"{_of(late, total)} polled too late"
    if status.notice and status.discovers:
        return "warn", f"{_of(total, total)} fine, but new ones are not found"
    if status.requests and status.requests.paused >= 1:
        return "warn", "The platform asks to wait"
    if counts.get("unreadable", 0):
        lost = sum(agent.unreadable for agent in status.agents)
        return "warn", f"{_of(total, total)} polled, but {count(lost, 'task')} cannot be delivered"
    if reading := counts.get("reading", 0):
        return "busy", f"{_of(reading, total)} being read for the first time"
    if waiting := counts.get("waiting", 0):
        return "busy", f"{_of(waiting, total)} waiting for the first poll"
    return "good", f"{_of(total, total)} fine"


def _of(some: int, total: int) -> str:
    """``All 12 agents are``, ``2 of 12 agents are``, ``1 of 12 agents is``, ``The agent is``."""
    if some == total:
        return "The agent is" if total == 1 else f"All {total:,} agents are"
    return f"{some:,} of {total:,} agents {'is' if some == 1 else 'are'}"


def _ages(status: Status, standings: Mapping[str, str]) -> str:
    read = {agent.handle: status.now - agent.last_success for agent in status.agents if agent.last_success is not None}
    if not read:
        return "No numbers have been read yet."
    good = [age for handle, age in read.items() if standings[handle] != "failing"]
    if not good:
        return f"The newest numbers are {span(min(read.values()))} old."
    fresh = f"from the last {span(max(*good, 1.0))}"
    if len(good) == len(status.agents):
        return f"All numbers are {fresh}."
    others = "other agent" if len(good) == 1 else f"other {len(good):,} agents"
    return f"The numbers of the {others} are {fresh}."
