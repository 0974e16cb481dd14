"""The truth agrees with what the documents show, and tells every story that the platform is known for."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from exporter.simulator import truth, words
from exporter.simulator.profiles import DEFAULT_PROFILES
from exporter.simulator.world import World

NOW = 1_770_000_000.0
TERMINAL = ("completed", "failed")
DISPATCHED = "Provider call dispatched successfully"
STUB = "call completed evaluated data will be available soon"
State = truth.Created | truth.Changed


def calm_world(**options: Any) -> World:
    calm = [msgspec.structs.replace(profile, live_tasks_per_hour=None) for profile in DEFAULT_PROFILES]
    return World(seed=11, now=NOW, agents=calm, **options)


@pytest.fixture(scope="module")
def day() -> World:
    """A day whose loose ends have all been tied up: nothing new arrives after it."""
    return calm_world(history=24.0)


@pytest.fixture(scope="module")
def stories(day: World) -> dict[str, list[truth.Event]]:
    """Everything that happened, by task."""
    found: defaultdict[str, list[truth.Event]] = defaultdict(list)
    for event in day.truth:
        found[event.task].append(event)
    return dict(found)


def states(events: Iterable[truth.Event]) -> list[State]:
    return [event for event in events if isinstance(event, truth.Created | truth.Changed)]


def entries(events: Iterable[truth.Event]) -> list[str]:
    """The statuses that a task went through."""
    found: list[str] = []
    for event in states(events):
        if not found or found[-1] != event.status:
            found.append(event.status)
    return found


def runs_through(*wanted: str) -> Callable[[list[truth.Event]], bool]:
    def holds(events: list[truth.Event]) -> bool:
        went = entries(events)
        return any(tuple(went[at : at + len(wanted)]) == wanted for at in range(len(went)))

    return holds


def resets(events: list[truth.Event]) -> bool:
    pairs = zip(states(events), states(events)[1:], strict=False)
    return any(a.status == "failed" and b.status == "pending" and b.retry_attempt < a.retry_attempt for a, b in pairs)


def shown(events: Iterable[truth.Event]) -> list[truth.Shown]:
    return [event for event in events if isinstance(event, truth.Shown)]


def later_in_same_call(holds: Callable[[truth.Shown, truth.Shown], bool]) -> Callable[[list[truth.Event]], bool]:
    def found(events: list[truth.Event]) -> bool:
        pairs = zip(shown(events), shown(events)[1:], strict=False)
        return any(a.call == b.call and holds(a, b) for a, b in pairs)

    return found


def waits_with_old_output(events: list[truth.Event]) -> bool:
    """The retry is in progress, and the output still tells of the attempt before."""
    told: truth.Shown | None = None
    for event in events:
        if isinstance(event, truth.Attempted) and told is not None and told.call != event.call:
            at_start = [e for e in shown(events) if e.at == event.at]
            if not at_start:
                return True
        if isinstance(event, truth.Shown):
            told = event
    return False


STORIES: dict[str, Callable[[list[truth.Event]], bool]] = {
    "pending to completed by processing and in_progress": runs_through(
        "pending", "processing", "in_progress", "completed"
    ),
    "straight from pending to in_progress": runs_through("pending", "in_progress"),
    "scheduled, then called": runs_through("scheduled", "processing", "in_progress"),
    "held and released": runs_through("pending", "hold", "pending"),
    "retried as scheduled": runs_through("in_progress", "scheduled", "processing"),
    "retried as pending": runs_through("in_progress", "pending", "processing"),
    "restarted from failed": runs_through("failed", "pending"),
    "restarted with retry_attempt back to zero": resets,
    "failed, then completed": runs_through("failed", "completed"),
    "redialled": runs_through("completed", "scheduled"),
    "failed before any call": runs_through("pending", "failed"),
    "created completed": lambda events: entries(events) == ["completed"],
    "three attempts": lambda events: sum(isinstance(event, truth.Attempted) for event in events) >= 3,
    "stub, then enriched": later_in_same_call(lambda a, b: a.over and not a.enriched and b.enriched),
    "enriched, then judged": later_in_same_call(
        lambda a, b: a.enriched and a.outcome is None and b.outcome is not None
    ),
    "cost that arrives late": later_in_same_call(lambda a, b: a.enriched and a.cost == 0 and b.cost > 0),
    "dispatched, then over": later_in_same_call(lambda a, b: not a.over and b.over),
    "the old output stays during the retry": waits_with_old_output,
    "the output is taken away": lambda events: any(isinstance(event, truth.Hidden) for event in events),
    "a stub for ever": lambda events: (
        bool(shown(events))
        and shown(events)[-1].over
        and not shown(events)[-1].enriched
        and shown(events)[-1].at < NOW - 3600.0
    ),
    "stuck in progress": lambda events: entries(events)[-1] == "in_progress" and events[-1].at < NOW - 7200.0,
    "stuck in processing": lambda events: entries(events)[-1] == "processing" and events[-1].at < NOW - 7200.0,
    "a call that was never shown": lambda events: bool(
        {event.call for event in events if isinstance(event, truth.Ended)} - {event.call for event in shown(events)}
    ),
    "dispatched an hour after it was due": lambda events: any(
        b.status in ("processing", "in_progress") and a.scheduled is not None and b.at - a.scheduled > 1800.0
        for a, b in zip(states(events), states(events)[1:], strict=False)
    ),
    "scheduled for a time to come": lambda events: any(
        event.scheduled is not None and event.scheduled > event.at + 600.0 for event in states(events)
    ),
    "a change that last_status_change does not tell": lambda events: any(
        a.status != b.status and a.changed == b.changed
        for a, b in zip(states(events), states(events)[1:], strict=False)
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_day_tells_the_story(story: str, stories: dict[str, list[truth.Event]]) -> None:
    assert any(STORIES[story](events) for events in stories.values())


def test_a_stub_may_take_longer_than_ten_minutes(stories: dict[str, list[truth.Event]]) -> None:
    waits = [
        b.at - a.at
        for events in stories.values()
        for a, b in zip(shown(events), shown(events)[1:], strict=False)
        if a.call == b.call and not a.enriched and b.enriched
    ]
    assert max(waits) > 600.0
    assert sorted(waits)[len(waits) // 2] < 180.0


@pytest.mark.parametrize(("handle", "reset"), [("support-agent-v2", True), ("sales-agent-v1", False)])
def test_success_resets_retry_attempt_for_some_agents(
    handle: str, reset: bool, stories: dict[str, list[truth.Event]]
) -> None:
    falls = Counter(
        b.retry_attempt == 0
        for events in stories.values()
        if events[0].agent == handle
        for a, b in zip(states(events), states(events)[1:], strict=False)
        if a.status == "in_progress" and b.status == "completed" and a.retry_attempt > 0
    )
    assert set(falls) == {reset}


def test_failure_count_rises_only_in_older_data(day: World) -> None:
    rising = {event.agent for event in states(day.truth) if event.failure_count}
    assert rising == {profile.handle for profile in DEFAULT_PROFILES if profile.older}


def test_a_restart_takes_all_failed_tasks_of_its_run(stories: dict[str, list[truth.Event]]) -> None:
    created = [event for events in stories.values() for event in events if isinstance(event, truth.Created)]
    runs = {event.task: event.run for event in created}
    restarts: defaultdict[tuple[str, float], set[str]] = defaultdict(set)
    for task, events in stories.items():
        for a, b in zip(states(events), states(events)[1:], strict=False):
            if a.status == "failed" and b.status == "pending":
                restarts[runs[task], b.at].add(task)
    assert max(len(tasks) for tasks in restarts.values()) > 5
    for (run, at), tasks in restarts.items():
        for task, events in stories.items():
            if runs[task] == run and task not in tasks:
                before = [event for event in states(events) if event.at < at]
                assert not before or before[-1].status != "failed"


# The truth and the documents


def last_of(world: World) -> tuple[dict[str, State], dict[str, truth.Shown | None], dict[str, truth.Created]]:
    state: dict[str, State] = {}
    sight: dict[str, truth.Shown | None] = {}
    created: dict[str, truth.Created] = {}
    for event in world.truth:
        if isinstance(event, truth.Created):
            created[event.task] = event
        if isinstance(event, truth.Created | truth.Changed):
            state[event.task] = event
        elif isinstance(event, truth.Shown):
            sight[event.task] = event
        elif isinstance(event, truth.Hidden):
            sight[event.task] = None
    return state, sight, created


def documents(world: World) -> list[dict[str, Any]]:
    return [json.loads(body) for handle in world.handles for body in world.tasks(handle, page_size=0).documents]


@pytest.mark.parametrize("hours", [0.0, 0.3, 3.0, 9.0])
def test_documents_show_the_state_that_the_truth_tells(hours: float) -> None:
    world = calm_world(history=3.0)
    world.advance(NOW + hours * 3600.0)
    state, sight, created = last_of(world)
    found = documents(world)
    assert {task["task_id"] for task in found} == set(state)
    for task in found:
        meant, told = state[task["task_id"]], sight.get(task["task_id"])
        assert task["status"] == meant.status
        assert int(task.get("retry_attempt", 0)) == meant.retry_attempt
        assert int(task.get("failure_count", 0)) == meant.failure_count
        assert (task.get("scheduled_timestamp") is None) == (meant.scheduled is None)
        assert (task.get("last_status_change") is None) == (meant.changed is None)
        made = created[task["task_id"]].created
        assert made == (unix(task["created"]) if "created" in task else int(task["_id"][:8], 16))
        if isinstance(task.get("last_status_change"), str):
            assert unix(task["last_status_change"]) == meant.changed
        if isinstance(task.get("scheduled_timestamp"), int):
            assert task["scheduled_timestamp"] == meant.scheduled
        assert task["run_id"] == created[task["task_id"]].run
        output = task.get("output") or {}
        tells = bool(set(output) & {"call_id", "call_status", "startedAt", "start_time"})
        assert tells == (told is not None)
        if told is not None:
            check_call(task, output, told)


def unix(text: str | None) -> float | None:
    """A written time, read without the help of anything that is tested; None where none is written."""
    if text in (None, "NULL", "None"):
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_call(task: dict[str, Any], output: dict[str, Any], told: truth.Shown) -> None:
    """What an output says plainly is what the truth says."""
    assert told.over or task["status"] not in TERMINAL
    whole = {"call_id", "transcript"} & set(output)
    if output.get("call_end_reason") == DISPATCHED:
        assert (told.over, told.end, told.end_reason) == (False, None, "unknown")
    elif output.get("data") == STUB or set(output) == {"call_status"}:
        assert (told.enriched, told.start, told.cost, told.messages) == (False, None, 0.0, None)
    elif whole:
        assert told.start == unix(output.get("start_time", output.get("startedAt")))
        assert told.end == unix(output.get("end_time", output.get("endedAt")))
        raw = output.get("duration", "NULL")
        if raw in ("NULL", None):
            assert told.duration == (None if told.start is None else told.end - told.start)
        else:
            assert told.duration == float(raw)
        assert told.recorded == bool(output.get("recording_url") or output.get("recordingUrl"))
        total = output.get(
            "cost", output.get("metadata", {}).get("cost", output.get("costBreakdown", {}).get("total", 0))
        )
        assert told.cost == total
        if isinstance(output.get("transcript"), list) and output["transcript"]:
            roles = Counter(message["role"] for message in output["transcript"])
            agent, user = roles["assistant"] + roles["agent"], roles["user"] + roles["customer"]
            assert told.messages == (agent, user, roles.total() - agent - user)


def test_every_call_has_an_identity_of_its_own() -> None:
    """A call_id, else a start time within its task; and what has neither is a stub or the last there is."""
    world = calm_world(history=1.0)
    calls: dict[tuple[str, str], int] = {}
    bare: dict[str, dict[str, Any]] = {}
    for half_hour in range(20):
        world.advance(NOW + half_hour * 1800.0)
        _, sight, _ = last_of(world)
        for task in documents(world):
            output = task.get("output") or {}
            if task["task_id"] in bare:
                assert output == bare[task["task_id"]]
            if set(output) == {"call_status"}:
                bare[task["task_id"]] = output
            start = output.get("start_time", output.get("startedAt"))
            identity = output.get("call_id") or start
            if identity and output.get("call_end_reason") != DISPATCHED:
                told = sight[task["task_id"]]
                assert told is not None
                key = ("", identity) if output["call_id"] else (task["task_id"], identity)
                assert calls.setdefault(key, told.call) == told.call
    assert len(set(calls.values())) == len(calls) > 500
    assert bare


def test_calls_are_attempted_before_they_end_and_end_before_they_are_shown_as_over(day: World) -> None:
    begun: set[int] = set()
    ended: set[int] = set()
    for event in day.truth:
        if isinstance(event, truth.Attempted):
            assert event.call not in begun
            begun.add(event.call)
        elif isinstance(event, truth.Ended):
            assert event.call in begun - ended
            assert event.end <= event.at + 1e-6
            assert event.duration > 0
            ended.add(event.call)
        elif isinstance(event, truth.Shown):
            assert event.call in begun
            assert not event.over or event.call in ended


def test_documents_never_tell_the_future(day: World) -> None:
    for event in shown(day.truth):
        assert event.start is None or event.start <= event.at
        assert event.end is None or (event.start is not None and event.start < event.end <= event.at)


def test_values_are_short_decimals_that_parse_exactly(day: World) -> None:
    for event in shown(day.truth):
        assert event.duration is None or event.duration == round(event.duration, 3)
        assert event.cost == round(event.cost, 4)
        for time in (event.start, event.end):
            assert time is None or time == round(time, 6)


def test_a_later_stage_takes_nothing_back(stories: dict[str, list[truth.Event]]) -> None:
    late = ("duration", "end", "messages", "outcome", "sentiment")
    for events in stories.values():
        for a, b in zip(shown(events), shown(events)[1:], strict=False):
            if a.call == b.call and a.enriched and a.over:
                assert all(getattr(a, name) in (None, getattr(b, name)) for name in late)
                assert a.cost in (0.0, b.cost)


def test_every_word_of_the_vocabulary_occurs(day: World) -> None:
    told = shown(day.truth)
    assert {event.call_status for event in told} == {
        *("completed", "connected", "not_connected", "busy", "voicemail"),
        *("failed", "cancelled", "dropped", "other", "unknown"),
    }
    assert {event.end_reason for event in told} == {
        *("customer_ended", "no_answer", "busy", "rejected", "voicemail", "assistant_ended", "transferred"),
        *("silence_timeout", "max_duration", "start_error", "llm_error", "tts_error", "stt_error", "pipeline_error"),
        *("transport_error", "rate_limited", "cancelled", "other", "unknown"),
    }
    assert {event.direction for event in told} == {"outbound", "inbound", "other", "unknown"}
    assert {event.outcome for event in told} == {
        *("interested", "not_interested", "call_back", "send_details"),
        *("not_connected", "abandoned", "dropped", "other", None),
    }
    assert {event.sentiment for event in told} == {"positive", "neutral", "negative", "other", None}
    assert {event.execution_type for event in day.truth if isinstance(event, truth.Created)} == {
        *("call", "email", "answer", "sdk_call", "space_call", "email_classification", "dealer", "other", "unknown"),
    }
    reasons = {event.failure_reason for event in day.truth if isinstance(event, truth.Changed)} - {None}
    assert reasons == {failure.group for failure in words.UNSTARTED.rows} | {"max_retries", "no_answer"}


def test_silence_and_money_and_machines_are_told(day: World) -> None:
    told = shown(day.truth)
    assert {event.silent for event in told} == {True, False, None}
    assert any(event.messages and event.messages[2] for event in told)
    for name in (
        "cost",
        "prompt_tokens",
        "completion_tokens",
        "tts_characters",
        "stt_seconds",
        "latency_sum",
        "recorded",
    ):
        assert any(getattr(event, name) for event in told)
        assert any(not getattr(event, name) for event in told)
