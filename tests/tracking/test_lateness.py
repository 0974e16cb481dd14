"""Polls that take too long for their interval: by how much others come later, and what the log says of it."""

from __future__ import annotations

from exporter.tracking.lateness import Lateness
from exporter.tracking.polls import Outcome
from exporter.tracking.telling import Teller
from tests.tracking.crew import Log
from tests.tracking.platform import Time
from tests.tracking.stories import START

LONG, FITS = "polls take too long for their interval", "polls fit into their interval again"


def test_a_poll_that_fits_into_its_interval_is_not_late() -> None:
    made = Lateness(Time())
    assert made.learns("one", 60.0, took=45.0, wait=80.0) == 0.0, "it moves to its slot"
    assert made.worst == 0.0


def test_the_agent_that_has_it_worst_is_told_until_its_polls_fit_again() -> None:
    made = Lateness(Time())
    assert made.learns("one", 60.0, took=50.0, wait=70.0) == 60.0
    assert made.learns("two", 60.0, took=170.0, wait=70.0) == 180.0
    assert made.worst == 180.0
    made.learns("two", 60.0, took=1.0, wait=59.0)
    assert made.worst == 60.0
    made.forget("one")
    assert made.worst == 0.0


def test_a_poll_under_way_is_late_from_the_moment_when_the_next_one_should_have_begun() -> None:
    time = Time()
    made = Lateness(time)
    with made.watched("one", 60.0):
        time.now += 60.0
        assert made.worst == 0.0
        time.now += 25.0
        assert made.worst == 25.0
    assert made.worst == 0.0, "it was abandoned"


def told(polls: list[float], *, is_spent: bool = False) -> list[tuple[str, dict[str, object]]]:
    """What the log says of polls that make the next one so many seconds late."""
    log = Log()
    teller = Teller(log, lambda: START)
    for late in polls:
        teller.paced("one", Outcome(seconds=100.0, requests=7), 60.0, late, is_spent=is_spent)
    return [(event, fields) for _, event, fields in log.lines]


def test_one_poll_that_takes_long_is_no_news() -> None:
    assert told([60.0, 60.0, 0.0, 60.0, 0.0, 60.0, 0.0, 0.0]) == []


def test_what_persists_is_told_once_with_its_reason_and_what_to_do_and_so_is_its_end() -> None:
    (long, about), *others = told([60.0] * 10 + [0.0, 60.0] + [0.0] * 5)
    assert (long, about["reason"], about["seconds"], about["instead_of"]) == (LONG, "slow_platform", 120.0, 60.0)
    assert (about["poll"], about["requests"]) == (100.0, 7)
    assert "raise api.requests_per_minute" not in str(about["advice"])
    assert [event for event, _ in others] == [FITS]


def test_requests_that_are_used_up_are_another_reason_than_a_slow_platform() -> None:
    ((_, about),) = told([60.0] * 3, is_spent=True)
    assert about["reason"] == "requests_spent"
    assert "raise api.requests_per_minute" in str(about["advice"])
