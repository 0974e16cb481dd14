"""A task and a run as the simulator keeps them: what is meant, not how it is written."""

from __future__ import annotations

import msgspec

from exporter.simulator import truth
from exporter.simulator.calls import Call, telling
from exporter.simulator.words import Failure

TERMINAL = frozenset(("completed", "failed"))
State = tuple[str, int, int, float | None, float | None, str | None]
Sight = tuple[int, str, bool]
"""Which call is shown, at which stage, and whether it shows as over: decides all that ``output`` tells."""


class Task(msgspec.Struct, kw_only=True):
    """One task; only ``life`` changes it. Times are Unix seconds."""

    id: str
    object_id: str
    run: Run
    created: float
    dated: bool
    """Whether ``created`` is in the document."""
    kind: str
    """The execution type in the bounded vocabulary."""
    raw_kind: object
    seed: int
    """What the document's own choices and texts are drawn from."""
    status: str = "pending"
    retry_attempt: int = 0
    retried: bool = False
    """Whether ``retry_attempt`` was ever above 0: what is set back is a 0 that is told."""
    failure_count: int = 0
    scheduled: int | None = None
    changed: float | None = None
    reason: Failure | None = None
    """``last_failure_reason``."""
    error: Failure | None = None
    """``output.error``."""
    note: str | None = None
    """``output.message`` of work without a call."""
    call: Call | None = None
    stage: str = ""
    revision: int = 0
    seen_state: State | None = None
    seen_call: Sight | None = None

    @property
    def shown_created(self) -> float:
        """``created`` as the document tells it."""
        return self.created if self.dated else float(int(self.created))

    def state(self) -> State:
        """What ``truth.Changed`` tells."""
        failure = self.reason or self.error
        group = (failure.group if failure else "other") if self.status == "failed" else None
        scheduled = None if self.scheduled is None else float(self.scheduled)
        return (self.status, self.retry_attempt, self.failure_count, scheduled, self.changed, group)

    def sight(self) -> Sight | None:
        """What ``output`` shows of a call; None: nothing."""
        if self.call is None:
            return None
        return self.call.number, self.stage, telling(self.call, self.stage).over or self.status in TERMINAL


class Run(msgspec.Struct):
    """A batch of tasks."""

    id: str
    tasks: list[Task]
    decided: bool = False
    """Whether it has been decided if its failed tasks will be restarted."""


def created_event(task: Task, at: float, agent: str) -> truth.Created:
    """The task as it came to be."""
    status, retry, failures, scheduled, changed, _ = task.state()
    return truth.Created(
        at=at,
        agent=agent,
        task=task.id,
        created=task.shown_created,
        execution_type=task.kind,
        status=status,
        retry_attempt=retry,
        failure_count=failures,
        scheduled=scheduled,
        changed=changed,
        run=task.run.id,
    )


def changed_event(task: Task, at: float, agent: str) -> truth.Changed:
    """The task's state after a change."""
    status, retry, failures, scheduled, changed, group = task.state()
    return truth.Changed(
        at=at,
        agent=agent,
        task=task.id,
        status=status,
        retry_attempt=retry,
        failure_count=failures,
        scheduled=scheduled,
        changed=changed,
        failure_reason=group,
    )


def shown_event(task: Task, call: Call, over: bool, at: float, agent: str) -> truth.Shown:
    """What the output tells of a call from now on."""
    told = telling(call, task.stage)
    return truth.Shown(
        at=at,
        agent=agent,
        task=task.id,
        call=call.number,
        over=over,
        enriched=told.enriched,
        **msgspec.structs.asdict(told),
    )
