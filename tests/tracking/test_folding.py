"""Many agents with the same trouble: few lines, none of the trouble lost."""

from __future__ import annotations

import pytest

from exporter.tracking.folding import NAMED, WINDOW, Folding
from exporter.unpod.errors import ConnectionFailed, Timeout
from tests.tracking.crew import Log, crew, named
from tests.tracking.platform import Time

MORE = "poll failed: the same of more agents"


def warnings(log: Log) -> list[tuple[str, object]]:
    return [
        (event, fields.get("agents", fields.get("agent"))) for level, event, fields in log.lines if level == "warning"
    ]


def test_few_are_told_by_name_and_nothing_more() -> None:
    log, time = Log(), Time()
    folding = Folding(log, time)
    for agent in "abcde"[:NAMED]:
        folding.tell(log.warning, "poll failed", agent=agent, reason="timeout", failures=1)
    time.now += 2 * WINDOW
    folding.unfold()
    assert warnings(log) == [("poll failed", agent) for agent in "abcde"]
    assert log.lines[0] == ("warning", "poll failed", {"agent": "a", "reason": "timeout", "failures": 1})


def test_of_many_the_others_are_told_as_a_number_once_the_window_has_ended() -> None:
    log, time = Log(), Time()
    folding = Folding(log, time)
    for number in range(1000):
        folding.tell(log.warning, "poll failed", agent=f"agent-{number}", reason="connection")
    time.now += WINDOW - 1
    folding.unfold()
    assert len(warnings(log)) == NAMED
    time.now += 1
    folding.unfold()
    folding.unfold()
    assert warnings(log)[NAMED:] == [(MORE, 1000 - NAMED)]
    assert log.lines[-1][2]["reason"] == "connection"
    assert log.events("debug").count("poll failed") == 1000 - NAMED, "who looks closely sees each"


def test_another_reason_and_a_later_window_are_told_anew() -> None:
    log, time = Log(), Time()
    folding = Folding(log, time)
    for number in range(NAMED + 2):
        folding.tell(log.warning, "poll failed", agent=f"{number}", reason="timeout")
    folding.tell(log.warning, "poll failed", agent="x", reason="connection")
    assert warnings(log)[-1] == ("poll failed", "x")
    time.now += WINDOW
    folding.tell(log.warning, "poll failed", agent="y", reason="timeout")
    assert warnings(log)[-2:] == [(MORE, 2), ("poll failed", "y")]


def test_an_agent_that_is_told_again_and_again_is_one_agent() -> None:
    log, time = Log(), Time()
    folding = Folding(log, time)
    for _ in range(100):
        folding.tell(log.error, "poll failed by a defect", agent="bad", reason="internal")
    folding.unfold(now=True)
    assert log.events("error") == ["poll failed by a defect"] * NAMED + [
        "poll failed by a defect: the same of more agents"
    ]
    assert log.lines[-1][2]["agents"] == 1


def test_a_clock_that_is_set_back_keeps_no_window_open() -> None:
    log, time = Log(), Time()
    folding = Folding(log, time)
    for number in range(NAMED + 1):
        folding.tell(log.warning, "poll failed", agent=f"{number}", reason="timeout")
    time.now -= 3600
    folding.unfold()
    assert warnings(log)[-1] == (MORE, 1)


@pytest.mark.parametrize("error", [ConnectionFailed("cannot connect"), Timeout("40 s")])
async def test_a_thousand_agents_that_fail_together_are_a_few_lines_and_so_is_their_recovery(error: Exception) -> None:
    handles = [f"agent-{number}" for number in range(1000)]
    async with crew(named(*handles), *handles) as made:
        await made.fleet.resume([])
        await made.fleet.once()
        made.log.lines.clear()
        made.platform.breaks = dict.fromkeys(handles, error)
        for _ in range(3):
            await made.fleet.once()
        assert [event for event, _ in warnings(made.log)] == ["poll failed"] * NAMED + [MORE]
        assert warnings(made.log)[-1] == (MORE, 1000 - NAMED)
        made.platform.breaks.clear()
        made.log.lines.clear()
        await made.fleet.once()
        assert made.log.events("info") == ["agent works again"] * NAMED + ["agent works again: the same of more agents"]


async def test_polls_that_go_on_tell_the_number_and_so_does_the_end() -> None:
    handles = [f"agent-{number}" for number in range(NAMED + 3)]
    async with crew(named(*handles), *handles) as made:
        made.platform.breaks = dict.fromkeys(handles, Timeout("40 s"))
        await made.fleet.resume([])
        loops = [f"poll {handle}" for handle in handles]
        async with made.running(*loops):
            assert len(warnings(made.log)) == NAMED
            made.time.now += WINDOW
            await made.alarm.wake("poll agent-0")
            assert warnings(made.log)[-1] == (MORE, 3)
            made.platform.breaks = dict.fromkeys(handles, ConnectionFailed("gone"))
            await made.alarm.wake(*loops)
        assert warnings(made.log)[-1] == (MORE, 3)
