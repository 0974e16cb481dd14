"""What is known of the agents and of the exporter, as the plain data that its pages show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from exporter.tracking.fleet import Fleet
from exporter.tracking.polls import Outcome, Poll
from exporter.tracking.report import Counter, Family, Gauge, Histogram, Labels
from exporter.tracking.schedule import NEEDS_A_PERSON
from exporter.tracking.tracker import Tracker
from exporter.unpod.client import Usage
from exporter.unpod.errors import Unauthorized
from exporter.web.pages import (
    AgentDetail,
    AgentStatus,
    BadFile,
    Certificate,
    Figure,
    Figures,
    PollStatus,
    Requests,
    State,
    Status,
)

_STATE: Final = "state"
"""The problem of a poll whose state could not be read or written: not one of the platform's."""
_TOKEN: Final = "token"  # noqa: S105 - a word
"""The problem of a poll that had no token to ask with."""
_END_REASONS: Final = 8
"""How many reasons why calls ended are shown, the most frequent ones."""


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Looks at the parts, and changes nothing."""

    version: str
    platform: Callable[[], str]
    started: float
    """Unix seconds."""
    now: Callable[[], float]
    fleet: Fleet
    usage: Callable[[], Usage]
    state: Callable[[], State]
    interval: Callable[[], float]
    """Seconds that the settings have between two polls."""
    bad_files: Callable[[], tuple[BadFile, ...]]
    certificate: Callable[[], Certificate | None]
    others: Callable[[], str] = lambda: ""
    """What others who share the agents do with the rest of them, for people; empty where there is nobody else."""

    def status(self) -> Status:
        """All agents."""
        return Status(
            version=self.version,
            started=self.started,
            now=self.now(),
            agents=tuple(self._agent(handle, tracker) for handle, tracker in self.fleet.trackers.items()),
            notice=" ".join(filter(None, (self.fleet.notice, self.others()))),
            discovers=self.fleet.discovers,
            platform=self.platform(),
            requests=self._requests(),
            state=self.state(),
            interval=self.interval(),
            lag=self.fleet.polling.stretched_by,
            late=self.fleet.polling.late_by,
            bad_files=self.bad_files(),
            certificate=self.certificate(),
        )

    def agent(self, handle: str) -> AgentDetail | None:
        """One agent with its last polls and its numbers; None: it is not polled."""
        tracker = self.fleet.trackers.get(handle)
        if tracker is None:
            return None
        return AgentDetail(
            now=self.now(),
            version=self.version,
            agent=self._agent(handle, tracker),
            polls=tuple(map(_poll, tracker.recent.polls)),
            numbers=tuple(_numbers(tracker.report({}).families)),
            paused=self._requests().paused,
        )

    def in_words(self) -> str:
        """How the agents do, in a line."""
        up = [tracker.up for tracker in self.fleet.trackers.values()]
        return f"{up.count(True)} of {len(up)} agents are up"

    def _requests(self) -> Requests:
        usage = self.usage()
        return Requests(begun=usage.begun, per_minute=usage.per_minute, paused=usage.paused)

    def _agent(self, handle: str, tracker: Tracker) -> AgentStatus:
        last = tracker.last
        return AgentStatus(
            handle=handle,
            name=tracker.identity.name,
            state=_state_in_words(tracker),
            up=tracker.up,
            last_poll=tracker.last_poll,
            last_success=tracker.last_success,
            fresh_until=tracker.fresh_until,
            interval=self.fleet.polling.interval(handle),
            tasks=tracker.tracked,
            calls=tracker.calls,
            unreadable=tracker.unreadable,
            history_ratio=tracker.history_ratio,
            history_left=tracker.history_left,
            last_error=None if last is None else last.error_in_words,
            problem=None if last is None else _problem_of(last),
            failures=tracker.recent.failures,
            failing_since=tracker.recent.failing_since,
            poll_began=tracker.begun,
            next_poll=self.fleet.polling.due(handle),
            next_step=_next_step(tracker, last),
        )


def _problem_of(last: Outcome) -> str | None:
    if isinstance(last.error, Unauthorized) and last.error.status is None:
        return _TOKEN
    return _problem(last.reason, of_storage=last.is_of_storage)


def _problem(reason: str | None, *, of_storage: bool) -> str | None:
    return _STATE if of_storage else reason


def _state_in_words(tracker: Tracker) -> str:
    if tracker.last is not None and tracker.last.error is not None:
        return "failing"
    if tracker.history_ratio < 1.0:
        return "reading its history"
    return "waiting for its first poll" if tracker.up is None else "up"


def _next_step(tracker: Tracker, last: Outcome | None) -> str:
    if last is not None and last.reason is not None:
        return "heartbeat" if last.reason in NEEDS_A_PERSON else "retry"
    if tracker.history_ratio < 1.0:
        return "history"
    return "sweep" if tracker.is_sweeping else "read"


def _poll(poll: Poll) -> PollStatus:
    return PollStatus(
        at=poll.at,
        seconds=poll.seconds,
        pages=poll.pages,
        tasks=poll.tasks,
        news=poll.news,
        first=poll.first,
        problem=_problem(poll.reason, of_storage=poll.storage),
        error=poll.error,
    )


def _numbers(families: Mapping[str, Family]) -> Iterator[Figures]:
    """The numbers of a report that a person looks for first; none of what it does not hold."""
    yield from _group("Tasks now", _by(families, "tasks", 1), whole=True)
    yield from _group("To watch", _watched(families))
    yield from _group("Calls", _by(families, "calls", 1), whole=True)
    yield from _group("Why calls ended", _by(families, "call_end_reasons", 0)[:_END_REASONS], whole=True)
    yield from _group("In all", _totals(families))


def _group(title: str, figures: Iterable[Figure], *, whole: bool = False) -> Iterator[Figures]:
    found = tuple(figures)
    if found:
        yield Figures(title, found, whole)


def _by(families: Mapping[str, Family], name: str, label: int) -> list[Figure]:
    """The sums of a family by one of its labels, the largest first."""
    sums: dict[str, float] = {}
    for labels, value in _values(families, name).items():
        sums[labels[label]] = sums.get(labels[label], 0) + value
    largest = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return [Figure(word.replace("_", " "), value) for word, value in largest if value]


def _watched(families: Mapping[str, Family]) -> Iterator[Figure]:
    names = {
        "overdue tasks": "tasks_overdue",
        "unreadable tasks": "tasks_unreadable",
        "open runs": "open_runs",
    }
    for word, name in names.items():
        if name in families:
            yield Figure(word, sum(_values(families, name).values()))


def _totals(families: Mapping[str, Family]) -> Iterator[Figure]:
    names = {
        "tasks created": ("tasks_created", ""),
        "retries": ("task_retries", ""),
        "failures of tasks": ("task_failures", ""),
        "calls recorded": ("calls_recorded", ""),
        "cost of calls": ("call_cost_dollars", "dollars"),
    }
    for word, (name, unit) in names.items():
        if name in families:
            yield Figure(word, sum(_values(families, name).values()), unit)
    durations = families.get("call_duration_seconds")
    if isinstance(durations, Histogram):
        counted = sum(sum(one.counts) for one in durations.values.values())
        if counted:
            total = sum(one.sum for one in durations.values.values())
            yield Figure("mean duration of a call", total / counted, "seconds")


def _values(families: Mapping[str, Family], name: str) -> Mapping[Labels, float]:
    family = families.get(name)
    return family.values if isinstance(family, Counter | Gauge) else {}
