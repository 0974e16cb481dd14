"""What the server shows, as plain data: the walls of this room. Whoever starts the server fills them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class MetricsAnswer(Protocol):
    """The body of an answer to a scrape, and what its headers say about it."""

    @property
    def body(self) -> bytes: ...

    @property
    def content_type(self) -> str: ...

    @property
    def content_encoding(self) -> str | None: ...

    @property
    def status(self) -> int:
        """The HTTP status: 200, or 404 with a text for people."""


class Metrics(Protocol):
    """Answers a scrape."""

    def __call__(self, accept: str | None, accept_encoding: str | None, agents: Sequence[str], /) -> MetricsAnswer:
        """The metrics, of these agents alone if any are named, as the request headers ask for them."""


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one agent does. Times are Unix seconds; None is not known (yet)."""

    handle: str
    name: str = ""
    state: str
    """In a few words for people: ``up``, ``reading its history``, ``waiting for its first poll`` ..."""
    up: bool | None = None
    """Whether the last poll succeeded; None before the first has ended."""
    last_poll: float | None = None
    last_success: float | None = None
    tasks: int | None = None
    calls: int | None = None
    """Ended calls that have been counted."""
    history_ratio: float | None = None
    """How much of the history has been read, from 0 to 1."""
    last_error: str | None = None
    """In words, with nothing private; None if the last poll succeeded."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the exporter and its agents do at the moment ``now``. Times are Unix seconds."""

    version: str
    started: float
    now: float
    agents: tuple[AgentStatus, ...] = ()
    notice: str = ""
    """What a person should know beside the agents, such as why there are none; with nothing private."""


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Where what is shown comes from."""

    metrics: Metrics
    ready: Callable[[], str | None]
    """None if the exporter is ready, else why it is not, for people."""
    status: Callable[[], Status]
    telemetry_path: str = "/metrics"
    """Where the metrics are; ``/`` takes the place of the status page."""
