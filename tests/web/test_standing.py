"""How an agent, and all of them together, do: what a person sees first."""

from __future__ import annotations

import pytest

from exporter.web.pages import AgentStatus, Requests, Status
from exporter.web.standing import STANDINGS, headline, standing
from tests.web.made import NOW, failing, fine, reading, status, waiting


@pytest.mark.parametrize(
    ("agent", "word"),
    [
        (fine(), "fine"),
        (fine(unreadable=3), "unreadable"),
        (fine(last_success=NOW - 181), "late"),
        (fine(last_success=NOW - 179), "fine"),
        (fine(interval=1.0, last_success=NOW - 59), "fine"),
        (fine(interval=600.0, last_success=NOW - 1700, fresh_until=NOW + 1), "fine"),
        (fine(last_success=NOW - 901, fresh_until=NOW - 1), "stale"),
        (failing(), "failing"),
        (failing(last_success=None, fresh_until=None, unreadable=3), "failing"),
        (reading(), "reading"),
        (reading(ratio=0.0), "reading"),
        (reading(poll_began=None), "waiting"),
        (waiting(), "waiting"),
    ],
)
def test_each_agent_stands_somewhere(agent: AgentStatus, word: str) -> None:
    assert standing(agent, NOW) == word


REFUSED = "The list of agents could not be read: HTTP 403"
PAUSED = Requests(begun=60, per_minute=60, paused=40.0)


@pytest.mark.parametrize(
    ("shown", "level", "words"),
    [
        (status(fine()), "good", "The agent is fine"),
        (status(fine("a"), fine("b")), "good", "All 2 agents are fine"),
        (status(failing()), "bad", "The agent is failing"),
        (status(failing("a"), failing("b")), "bad", "All 2 agents are failing"),
        (status(failing("a"), fine("b"), fine("c")), "bad", "1 of 3 agents is failing"),
        (status(failing("a"), failing("b"), reading("c")), "bad", "2 of 3 agents are failing"),
        (status(fine("a", fresh_until=NOW - 1), fine("b")), "warn", "1 of 2 agents is without fresh numbers"),
        (status(fine("a", last_success=NOW - 200)), "warn", "The agent is polled too late"),
        (status(fine(), notice=REFUSED), "warn", "The agent is fine, but new ones are not found"),
        (status(fine(), notice=REFUSED, discovers=False), "good", "The agent is fine"),
        (status(fine(), requests=PAUSED), "warn", "The platform asks to wait"),
        (
            status(fine("a", unreadable=1200), fine("b")),
            "warn",
            "All 2 agents are polled, but 1,200 tasks cannot be delivered",
        ),
        (status(fine(unreadable=1)), "warn", "The agent is polled, but 1 task cannot be delivered"),
        (status(reading("a"), fine("b")), "busy", "1 of 2 agents is being read for the first time"),
        (status(waiting("a"), waiting("b")), "busy", "All 2 agents are waiting for the first poll"),
        (status(), "busy", "Looking for agents"),
        (status(notice=REFUSED), "bad", "No agent is polled"),
    ],
)
def test_one_sentence_tells_whether_it_works(shown: Status, level: str, words: str) -> None:
    top = headline(shown, {agent.handle: standing(agent, NOW) for agent in shown.agents})
    assert (top.level, top.words) == (level, words)


@pytest.mark.parametrize(
    ("shown", "lead"),
    [
        (status(fine("a"), fine("b", last_success=NOW - 44)), "All numbers are from the last 44 s."),
        (status(fine(last_success=NOW)), "All numbers are from the last 1 s."),
        (status(failing(), fine("a"), fine("b")), "The numbers of the other 2 agents are from the last 12 s."),
        (status(failing(), fine("a")), "The numbers of the other agent are from the last 12 s."),
        (status(failing("a"), failing("b", last_success=NOW - 3700)), "The newest numbers are 13 min old."),
        (status(failing(last_success=None)), "No numbers have been read yet."),
        (status(reading("a"), fine("b")), "The numbers of the other agent are from the last 12 s."),
    ],
)
def test_it_tells_how_old_the_numbers_are(shown: Status, lead: str) -> None:
    assert headline(shown, {agent.handle: standing(agent, NOW) for agent in shown.agents}).lead == lead


@pytest.mark.parametrize(
    ("shown", "troubles", "level", "words"),
    [
        (status(fine()), [("warn", "x is amiss")], "warn", "The agent is fine, but x is amiss"),
        (status(fine()), [("bad", "x is bad"), ("warn", "y")], "bad", "The agent is fine, but x is bad"),
        (status(waiting()), [("warn", "x")], "warn", "The agent is waiting for the first poll, but x"),
        (status(fine(unreadable=1)), [("warn", "x")], "warn", "The agent is polled, but 1 task cannot be delivered"),
        (status(failing()), [("bad", "x")], "bad", "The agent is failing"),
    ],
)
def test_a_trouble_of_the_exporter_itself_is_never_passed_over(
    shown: Status, troubles: list[tuple[str, str]], level: str, words: str
) -> None:
    top = headline(shown, {agent.handle: standing(agent, NOW) for agent in shown.agents}, troubles)
    assert (top.level, top.words) == (level, words)


def test_the_sentence_does_not_change_as_time_passes() -> None:
    """It is read aloud whenever it changes."""
    shown = status(failing("a"), fine("b"), requests=PAUSED)
    later = status(failing("a"), fine("b"), requests=Requests(begun=60, per_minute=60, paused=31.0), now=NOW + 9)
    words = [headline(one, {"a": "failing", "b": "fine"}).words for one in (shown, later)]
    assert words[0] == words[1]


def test_what_fails_is_ranked_first_and_what_is_fine_last() -> None:
    assert next(iter(STANDINGS)) == "failing"
    assert list(STANDINGS)[-1] == "fine"
