"""What is wrong, a card for each problem: with all the agents that have it, or with the exporter itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from exporter.web import advice
from exporter.web.advice import Problem
from exporter.web.pages import AgentStatus, BadFile, Certificate, State, Status
from exporter.web.standing import standing
from exporter.web.words import STEPS, count, every, span

NAMED: Final = 12
"""Agents that a card names."""
_ERRORS: Final = 3
"""Different errors that a card shows, if there are many."""
_STRETCHED: Final = 60.0
"""Seconds by which polls come later than they should that are worth a card, as the alert UnpodScheduleLag has it."""
_SOON: Final = 14 * 86_400.0
"""Seconds to the end of a certificate that are worth a card, as the alert UnpodCertificateExpires has it ..."""
_LAST: Final = 0.25
"""... unless that is more than this share of its time: some certificates are meant to live for a day."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong."""

    level: str
    problem: Problem
    brief: str = ""
    """In a few words that can follow "but"; of the exporter itself only."""
    agents: tuple[AgentStatus, ...] = ()
    """The first of those that have it."""
    more: int = 0
    """How many more there are."""
    show: str = ""
    """The word by which the table shows them."""
    since: float | None = None
    """When it began, for the first of them, in Unix seconds."""
    so: str = "Failing"
    """What it has been since then."""
    next_poll: float | None = None
    """When the first of them is polled next."""
    next_step: str = ""
    errors: tuple[str, ...] = ()


def of_one(agent: AgentStatus, now: float) -> Card | None:
    """What is wrong with one agent; None: nothing is."""
    return next(of_agents([agent], {agent.handle: standing(agent, now)}), None)


def of_all(status: Status, ranked: Sequence[AgentStatus], standings: Mapping[str, str]) -> list[Card]:
    """What is wrong with the agents and with the exporter, the bad before what is only amiss."""
    cards = [*of_agents(ranked, standings), *of_list(status), *of_itself(status)]
    return sorted(cards, key=lambda card: card.level != "bad")


def of_agents(ranked: Sequence[AgentStatus], standings: Mapping[str, str]) -> Iterator[Card]:
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
        told = advice.REFUSED_FOR_SOME if _refused_for_some(problem, agents, ranked) else advice.of(problem)
        yield _grouped("bad", told, agents, "failing")
    for word, agents in amiss.items():
        yield _grouped("warn", _AMISS[word], agents, word)


def _refused_for_some(problem: str, refused: Sequence[AgentStatus], ranked: Sequence[AgentStatus]) -> bool:
    """Whether the token has been accepted for other agents since it was refused for these."""
    began = min((agent.failing_since for agent in refused if agent.failing_since is not None), default=None)
    return (
        problem == "unauthorized"
        and began is not None
        and any(agent.up and (agent.last_success or 0.0) > began for agent in ranked)
    )


_AMISS: Final = {"stale": advice.STALE, "late": advice.LATE, "unreadable": advice.UNREADABLE}


def _grouped(level: str, problem: Problem, agents: Sequence[AgentStatus], show: str) -> Card:
    due = min((agent for agent in agents if agent.next_poll), key=lambda agent: agent.next_poll or 0.0, default=None)
    return Card(
        level=level,
        problem=problem,
        agents=tuple(agents[:NAMED]),
        more=max(0, len(agents) - NAMED),
        show=show,
        since=min((agent.failing_since for agent in agents if agent.failing_since is not None), default=None),
        next_poll=due.next_poll if due else None,
        next_step=STEPS[due.next_step] if due else "",
        errors=_first(tuple(dict.fromkeys(agent.last_error for agent in agents if agent.last_error))),
    )


def _first(errors: Sequence[str]) -> tuple[str, ...]:
    """A few of them, and how many more there are. One more takes no more room than to say so."""
    more = len(errors) - _ERRORS
    return tuple(errors) if more < 2 else (*errors[:_ERRORS], f"and {more} more")


def of_list(status: Status) -> Iterator[Card]:
    """That the list of agents cannot be read. Where no agent can be read either, that need not be said twice."""
    if status.notice and not (status.agents and all(agent.up is False for agent in status.agents)):
        problem = advice.NO_LIST if status.discovers else advice.NO_NAMES
        yield Card(level="warn" if status.agents else "bad", problem=problem, errors=(status.notice,))


def of_itself(status: Status) -> Iterator[Card]:
    """What is wrong with the exporter, whatever the agents do."""
    if status.state is not None and not any(agent.problem == "state" for agent in status.agents):
        yield from _of_state(status.state)
    yield from _of_files(status.bad_files)
    if status.certificate is not None:
        yield from _of_certificate(status.certificate, status.now)
    if status.state is not None and status.state.set_aside:
        told = f"{count(status.state.set_aside, 'damaged state')} beside {status.state.path}"
        yield Card(level="warn", problem=advice.SET_ASIDE, brief="a damaged state was set aside", errors=(told,))
    yield from _of_lateness(status)


def _of_lateness(status: Status) -> Iterator[Card]:
    """Why polls are too far apart: each cause that makes up half of what is worth a card, so one at least is told."""
    if status.lag + status.late < _STRETCHED:
        return
    if status.lag >= _STRETCHED / 2:
        brief = f"polled less often than {'it' if len(status.agents) == 1 else 'they'} should be"
        yield Card(level="warn", problem=advice.STRETCHED, brief=brief, errors=(_stretched(status),))
    if status.late >= _STRETCHED / 2:
        told = f"an agent is polled {every(status.late)} later than its interval has it, each time"
        yield Card(level="warn", problem=advice.TOO_LONG, brief="polls take too long", errors=(told,))


def _of_state(state: State) -> Iterator[Card]:
    if state.unwritable_since is not None:
        kept = f"{count(state.uncommitted, 'task')} known in memory only"
        yield Card(
            level="bad",
            problem=advice.UNWRITABLE,
            brief="the state cannot be written",
            since=state.unwritable_since,
            so="Not written",
            errors=(state.unwritable, kept),
        )


def _of_files(files: Sequence[BadFile]) -> Iterator[Card]:
    # Settings that are read together with a bad web config fail for the same reason.
    told = {file.problem: file for file in files}
    for file in told.values():
        yield Card(
            level="warn",
            problem=advice.BAD_FILES[file.file],
            brief=f"the {file.file} could not be reloaded",
            since=file.since,
            so="Bad",
            errors=_first(file.problem.splitlines()),
        )


def _of_certificate(certificate: Certificate, now: float) -> Iterator[Card]:
    left = certificate.ends - now
    if left <= 0:
        brief = "the exporter's certificate has expired"
        yield Card(level="bad", problem=advice.EXPIRED, brief=brief, since=certificate.ends, so="Expired")
    elif left < min(_SOON, _LAST * (certificate.ends - certificate.begins)):
        brief = "the exporter's certificate expires soon"
        yield Card(level="warn", problem=advice.EXPIRES, brief=brief, errors=(f"it expires in {span(left)}",))


def _stretched(status: Status) -> str:
    return f"polled every {every(status.interval + status.lag)} instead of every {every(status.interval)}"
