"""The gauges of one agent, from what is known of it."""

from __future__ import annotations

from exporter.tracking.identity import RUNNING, WAITING
from exporter.tracking.records import Record
from exporter.tracking.report import Family, Gauge, Labels
from exporter.tracking.rules import FARTHEST
from exporter.tracking.storage import Loaded
from exporter.tracking.tallies import tasks


def gauges(state: Loaded, *, now: float, overdue_grace: float) -> dict[str, Family]:
    """What is so at this Unix time; a waiting task is overdue so many seconds after it was due."""
    book, known = state.book, [record for record in state.watched.values() if record.open]
    due = now - overdue_grace
    overdue: dict[Labels, float] = {}
    oldest: dict[Labels, float] = {}
    for record in known:
        if record.status in WAITING and record.scheduled is not None and record.scheduled < due:
            overdue[(record.execution_type,)] = overdue.get((record.execution_type,), 0) + 1
        if (waits := _waits_since(record)) is not None:
            oldest[(record.status,)] = min(waits, oldest.get((record.status,), waits))
    taken: dict[str, Family] = {
        "tasks": Gauge(tasks(state.numbers)),
        "tasks_overdue": Gauge(overdue),
        "tasks_unreadable": Gauge({(): len(book.unreadable)}),
        "oldest_open_task_timestamp_seconds": Gauge(oldest),
        "open_runs": Gauge({(): len({record.run for record in known if record.run})}),
        "exporter_tracked_tasks": Gauge({(): state.tracked}),
    }
    ended = None if (book.last_call_end or 0.0) > now + FARTHEST else book.last_call_end
    optional = {"tasks_reported": book.reported, "last_call_end_timestamp_seconds": ended}
    return taken | {name: Gauge({(): value}) for name, value in optional.items() if value is not None}


def _waits_since(record: Record) -> float | None:
    """Since when an open task waits in its status: the table of ``oldest_open_task_timestamp_seconds``."""
    if record.status in RUNNING:
        return record.entered
    if record.status == "scheduled" and record.scheduled is not None:
        return record.scheduled
    return record.created
