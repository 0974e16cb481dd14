"""A platform of one agent and a few tasks, to which happens exactly what it is told, over real HTTP.

Each change of a task is written to the truth in the simulator's words. Tasks with equal ``created`` swap places from
one request to the next, as the platform's do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from exporter.simulator import truth

AGENT = "sales"
NAMES = ("ann", "ben", "cleo")
WAITING = ("pending", "scheduled", "hold")
RUNNING = ("processing", "in_progress")
TERMINAL = ("completed", "failed")


@dataclass(frozen=True)
class Call:
    """A real call, as it happened. Times are Unix seconds."""

    number: int
    told: str
    """How its records tell which call it is: ``id and start``, ``start`` or ``id``."""
    start: float
    answered: bool = True
    end: float | None = None

    @property
    def id(self) -> str:
        return f"CALL-{self.number}" if "id" in self.told else ""

    @property
    def shown_start(self) -> float | None:
        return self.start if "start" in self.told else None

    @property
    def shown_end(self) -> float | None:
        return self.end if "start" in self.told else None

    @property
    def seconds(self) -> float:
        """As told by a full record: a call without times was not answered."""
        return (self.end or self.start) - self.start if "start" in self.told else 0.0


@dataclass
class Task:
    """A task as the platform has it."""

    name: str
    created: float
    status: str
    kind: str = "call"
    retry_attempt: int = 0
    failure_count: int = 0
    failure: str | None = None
    scheduled: float | None = None
    changed: float | None = None
    call: Call | None = None
    """The one that is under way, or was last."""
    output: tuple[Call, str] | None = None
    """Which call it shows, and which stage of its record."""
    told: list[truth.Event] = field(default_factory=list)

    def show(self, stage: str) -> None:
        if stage == "live" and self.call and not self.call.answered:
            stage = "dispatched"
        self.output = (self.call, stage) if self.call else None


FAILURES = {None: "other", "No answer": "no_answer", "Task exceeded maximum retries (2)": "max_retries"}
"""Texts of ``last_failure_reason`` and their groups."""


def iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def document(task: Task) -> dict[str, Any]:
    """The task as the platform writes it."""
    return {
        "task_id": task.name,
        "run_id": f"run of {task.name}",
        "created": datetime.fromtimestamp(task.created, UTC).isoformat().removesuffix("+00:00"),
        "status": task.status,
        "execution_type": task.kind,
        "retry_attempt": task.retry_attempt,
        "failure_count": task.failure_count,
        "last_failure_reason": task.failure,
        "scheduled_timestamp": None if task.scheduled is None else int(task.scheduled),
        "last_status_change": iso(task.changed),
        "output": _output(*task.output) if task.output else {},
    }


def _output(call: Call, stage: str) -> dict[str, Any]:
    names = {"call_id": call.id, "start_time": iso(call.shown_start) or "NULL", "call_type": "outbound"}
    if stage == "dispatched":
        reason = "Provider call dispatched successfully"
        return {"call_id": "", "call_status": "incall", "call_end_reason": reason, "duration": 0} | {
            "call_type": "outbound"
        }
    if stage == "live":
        return names | {"call_status": "incall", "end_time": None, "duration": None}
    status = "completed" if call.answered else "notConnected"
    if stage == "stub":
        return {"call_status": status, "data": "call completed evaluated data will be available soon"}
    ended = names | {
        "call_status": status,
        "call_end_reason": "customer-ended-call" if call.answered else "customer-did-not-answer",
        "end_time": iso(call.shown_end) or "None",
        "duration": call.seconds,
    }
    if stage == "left":
        return ended
    full = ended | {"cost": 0.25, "recording_url": "https://cdn.example/1.mp3"}
    return full if stage == "full" else full | {"cost": 0.5, "post_call_data": {"outcome": "interested"}}


def _shown(at: float, task: Task, call: Call, stage: str) -> truth.Shown:
    ended, rich = stage in ("left", "full", "judged"), stage in ("full", "judged")
    told_start = ended or stage == "live"
    known = "completed" if call.answered else "not_connected"
    codes = ("customer_ended", "customer-ended-call") if call.answered else ("no_answer", "customer-did-not-answer")
    reason, code = codes if ended else ("unknown", "unknown")
    duration = call.seconds if ended else 0.0 if stage == "dispatched" else None
    return truth.Shown(
        at=at,
        agent=AGENT,
        task=task.name,
        call=call.number,
        over=ended or stage == "stub" or task.status in TERMINAL,
        enriched=duration is not None,
        direction="unknown" if stage == "stub" else "outbound",
        call_status=known if ended or stage == "stub" else "unknown",
        end_reason=reason,
        code=code,
        start=call.shown_start if told_start else None,
        end=call.shown_end if ended else None,
        duration=duration,
        recorded=rich,
        messages=None,
        silent=None,
        outcome="interested" if stage == "judged" else None,
        sentiment=None,
        cost={"full": 0.25, "judged": 0.5}.get(stage, 0.0),
        prompt_tokens=0,
        completion_tokens=0,
        tts_characters=0,
        stt_seconds=0.0,
        latency_count=0,
        latency_sum=0.0,
        number="",
    )


class Platform:
    """The tasks, the truth about them, and what becomes of requests."""

    handles = (AGENT,)

    def __init__(self, clock: Callable[[], float]) -> None:
        self.tasks: dict[str, Task] = {}
        self.truth: list[truth.Event] = []
        self.fault: str | None = None
        """What becomes of the next request; one of ``FAULTS``."""
        self._clock = clock
        self._requests = 0

    def add(self, task: Task) -> None:
        """A task has come to be."""
        self.tasks[task.name] = task
        self._tell(
            truth.Created(
                at=self._clock(),
                agent=AGENT,
                task=task.name,
                created=task.created,
                execution_type=task.kind,
                status=task.status,
                retry_attempt=task.retry_attempt,
                failure_count=task.failure_count,
                scheduled=task.scheduled,
                changed=task.changed,
                run=f"run of {task.name}",
            )
        )
        if task.output:
            self.changed(task)

    def changed(self, task: Task) -> None:
        """Something has happened to a task."""
        at = self._clock()
        self._tell(
            truth.Changed(
                at=at,
                agent=AGENT,
                task=task.name,
                status=task.status,
                retry_attempt=task.retry_attempt,
                failure_count=task.failure_count,
                scheduled=task.scheduled,
                changed=task.changed,
                failure_reason=FAILURES[task.failure],
            )
        )
        self._tell(_shown(at, task, *task.output) if task.output else truth.Hidden(at=at, agent=AGENT, task=task.name))

    def _tell(self, event: truth.Event) -> None:
        self.truth.append(event)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """A page of the tasks, newest first."""
        self._requests += 1
        page, size = int(request.query["page"]), int(request.query["page_size"])
        fault, self.fault = self.fault, None
        chance = Random(self._requests)
        shelf = sorted(self.tasks.values(), key=lambda task: (-task.created, chance.random()))
        data = [document(task) for task in shelf[(page - 1) * size : page * size]]
        body = msgspec.json.encode({"count": len(shelf), "status_code": 200, "message": "Success", "data": data})
        return await FAULTS[fault](request, body) if fault else _json(200, body)


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


async def _refused(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return _json(206, b'{"status_code":206,"message":"Tasks Fetch Failed","errors":"list index out of range"}')


async def _down(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return web.Response(status=502, text="<h1>Bad Gateway</h1>", content_type="text/html")


async def _truncated(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return _json(200, body[: len(body) // 2])


FAULTS = {"206": _refused, "502": _down, "truncated": _truncated}


@asynccontextmanager
async def serve(platform: Platform) -> AsyncIterator[str]:
    """Serves a platform; gives the base URL."""
    async with RawTestServer(platform.answer) as server:
        yield str(server.make_url("")).rstrip("/")
