"""The settings, typed and frozen, with their defaults. Durations are seconds, sizes are bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

Level = Literal["debug", "info", "warn", "error"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

ALL: Final = math.inf
"""`Polling.backfill`: everything there is."""


class Secret(msgspec.Struct, frozen=True):
    """A text that must not be shown: it prints as ``<secret>``, and only `reveal` tells it."""

    _value: str

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach the platform. Exactly one of `token` and `token_file` is there."""

    base_url: str = "https://unpod.ai"
    """Without a slash at its end."""
    path_prefix: str = "/api/v2/platform"
    """Stands in front of ``/agents/``; empty, or with a slash at its start and none at its end."""
    token: Secret | None = None
    token_file: Path | None = None
    org_handle: str | None = None
    timeout: float = 40.0
    """Of one request."""
    page_size: int = 200
    max_concurrent_requests: int = 2
    requests_per_minute: int = 60
    max_response_bytes: int = 64 * 2**20
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    proxy_url: Secret | None = None
    """Secret because it may hold a password."""


class Polling(msgspec.Struct, frozen=True, kw_only=True):
    interval: float = 60.0
    """Of each agent that has none of its own."""
    max_staleness: float = 900.0
    """How long gauges outlive the last successful poll."""
    settling_time: float = 600.0
    """How long an ended call may stay without its details before it is counted as it is."""
    reconcile_interval: float = 86400.0
    """The whole history is read again, spread over this time; 0 is never."""
    overdue_grace: float = 300.0
    history: float | None = None
    """How far back tasks are read; None is all of it."""
    backfill: float = ALL
    """How far back a new ledger counts: `ALL`, or 0 for nothing of the past."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    handle: str
    interval: float | None = None
    """None: `Polling.interval`."""
    labels: tuple[tuple[str, str], ...] = ()
    """Go onto ``unpod_agent_info``, in the order in which they were written."""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool = True
    interval: float = 600.0
    include: tuple[str, ...] = ("*",)
    """Globs on handles."""
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Words of ``unpod.vocabulary.AGENT_TYPES``; empty is all."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    call_duration_buckets: tuple[float, ...] = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    """Upper bounds in seconds, rising, without +Inf."""
    end_codes_limit: int = 50
    """Raw end codes of an agent that are shown; 0 is none."""
    numbers_limit: int = 0
    """The organisation's own numbers of an agent that are shown; 0 is none."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """In a file, or in a PostgreSQL database."""

    path: Path | None = Path("unpod-exporter.db")
    """None: in memory alone. Without meaning where there is a `url`."""
    url: str | None = None
    """``postgresql://user@host/database``, without a password."""
    password_file: Path | None = None
    replicas: bool = False
    """Whether others share the agents, and the database at `url`."""
    lease: float = 30.0
    """How long a replica holds its agents without a word of it."""

    @property
    def words(self) -> str:
        """Where it is."""
        return self.url or str(self.path or "memory")


class Log(msgspec.Struct, frozen=True, kw_only=True):
    level: Level = "info"
    """Unless a flag says another."""


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Which of several exporters that share the agents this one is. It comes from flags alone."""

    index: int = 0
    """From 0."""
    count: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError where there can be no such shard."""
        if not 0 <= self.index < self.count:
            raise ValueError(f"there is no shard {self.index} of {self.count}: shards count from 0")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    api: Api
    polling: Polling = Polling()
    agents: tuple[AgentConfig, ...] = ()
    discovery: Discovery = Discovery()
    metrics: Metrics = Metrics()
    state: State = State()
    log: Log = Log()
    shard: Shard = Shard()
    source: str = ""
    """Where the settings come from, in words for a log line."""
