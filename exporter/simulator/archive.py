"""Encoded documents, kept until they change."""

from __future__ import annotations

from exporter.simulator.documents import encode
from exporter.simulator.profiles import Profile
from exporter.simulator.tasks import Task


class Archive:
    """A cache of documents' bytes, bounded by their sum; the oldest go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._kept: dict[str, tuple[int, bytes]] = {}
        self.encodings = 0
        """How many documents have been encoded so far."""

    def encoded(self, task: Task, profile: Profile) -> bytes:
        """The document's JSON."""
        known = self._kept.get(task.id)
        if known is not None and known[0] == task.revision:
            return known[1]
        self._drop(task.id)
        document = encode(task, profile)
        self.encodings += 1
        self._kept[task.id] = (task.revision, document)
        self._held += len(document)
        while self._held > self._limit:
            self._drop(next(iter(self._kept)))
        return document

    def _drop(self, task_id: str) -> None:
        _, document = self._kept.pop(task_id, (0, b""))
        self._held -= len(document)
