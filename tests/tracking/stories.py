"""Tasks told as short stories: each step is what the platform shows at one look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from exporter.exposition.catalog import Settings, buckets
from exporter.tracking.ledger import Look, observe
from exporter.tracking.records import Record, pack, unpack
from exporter.tracking.tallies import Draft, Key, Limits, plus
from exporter.unpod.facts import Call, Task

BUCKETS = dict(buckets(Settings()))
START = 1_764_000_000.0
SETTLING = 600.0


def call(**told: Any) -> Call:
    shown = Call(**told)
    return msgspec.structs.replace(shown, digest=hash(msgspec.json.encode(shown)) & (2**63 - 1))


def live(call_id: str = "", **told: Any) -> Call:
    return call(id=call_id, **told)


def ended(call_id: str = "", *, start: float | None = START, seconds: float = 30.0, **told: Any) -> Call:
    end = None if start is None else start + seconds
    told = {"direction": "outbound", "status": "completed", "end_reason": "customer_ended"} | told
    return call(id=call_id, start=start, end=end, duration=seconds, over=True, **told)


def stub(status: str = "not_connected") -> Call:
    return call(status=status, over=status not in ("connected", "unknown"))


def task(status: str, shown: Call | None = None, **told: Any) -> Task:
    told = {"id": "T1", "created": START - 60, "execution_type": "call"} | told
    return Task(status=status, call=shown, **told)


@dataclass
class Story:
    """Follows one task; every record goes through its bytes, as it would through a restart."""

    limits: Limits = field(default_factory=lambda: Limits(buckets=BUCKETS, numbers=10))
    history: bool = False
    now: float = START
    record: Record | None = None
    numbers: dict[Key, int] = field(default_factory=dict)

    def look(self, shown: Task, *, after: float = 60.0) -> Story:
        self.now += after
        draft = Draft(self.limits, self.numbers)
        look = Look(now=self.now, settling=SETTLING, history=self.history, keep_numbers=True)
        record = observe(self.record, shown, look, draft)
        assert observe(record, shown, look, again := Draft(self.limits, self.numbers)) == record
        assert not any(again.added.values()), "the same look twice counts nothing"
        self.record = unpack(pack(record), record.created)
        assert self.record == record
        self.numbers = plus(self.numbers, draft.added)
        return self

    def tell(self, *steps: Task) -> Story:
        for step in steps:
            self.look(step)
        return self

    def count(self, family: str, *labels: str) -> int:
        """The sum of a family, or of those of its numbers that begin with these labels."""
        key = (family, *labels)
        return sum(value for name, value in self.numbers.items() if name[: len(key)] == key and name[-1] != "sum")
