"""How an agent behaves: its traffic, its luck with people, and the habits of its documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Span = tuple[float, float]
"""Shortest and longest, in seconds."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One agent. Shares are probabilities from 0 to 1, times are seconds."""

    handle: str
    name: str = ""
    kind: str = "Voice"
    purpose: str = "Talks to people"
    state: str = "published"
    """Anything else is left out of the agents list; its tasks remain readable."""
    no_access: bool = False
    """Listed, but its tasks answer 206."""

    tasks_per_hour: float = 10.0
    """In the history that is made up at the start."""
    live_tasks_per_hour: float | None = None
    """From then on; None: the same."""
    bulk_every: float | None = None
    """Mean time between two bulk runs; None: never."""
    bulk_size: tuple[int, int] = (100, 300)
    run_size: int = 12
    """Tasks of one run outside of bulk runs."""

    inbound: float = 0.0
    styles: tuple[tuple[float, str], ...] = ((1, "native"),)
    """Weighted shapes of a call's record: documented, native, vapi, legacy."""
    execution_types: tuple[tuple[float, str | None], ...] = ((1, "call"),)
    """Weighted raw values; an empty string: the field is absent."""

    connected: float = 0.62
    """Share of attempts in which somebody picks up."""
    broken: float = 0.08
    """Share of attempts that end by a fault of the platform or of a provider."""
    talk: Span = (5.0, 240.0)
    ring: Span = (3.0, 30.0)
    queue: float = 20.0
    """Mean wait of a due task before it is dispatched."""
    ahead: float = 0.15
    """Share of tasks that are created as scheduled, to be called later."""
    ahead_span: Span = (60.0, 7200.0)
    neglected: float = 0.01
    """Share of due tasks that are dispatched much too late (an hour or two)."""
    held: float = 0.01
    stuck: float = 0.004
    """Share of started tasks whose worker dies: they stay processing or in_progress for ever."""
    unstarted: float = 0.03
    """Share of dispatched tasks that fail before any call begins."""

    max_retries: int = 2
    retry_unanswered: float = 0.5
    retry_delay: Span = (20.0, 900.0)
    retry_shows_dispatch: float = 0.6
    """Share of attempts whose dispatch overwrites ``output``; the others leave the old output until their end."""
    retry_reset_on_success: bool = False
    unanswered_completes: float = 0.8
    """Share of calls that nobody answered whose task ends completed rather than failed."""
    recovered: float = 0.05
    """Share of failed tasks that become completed later."""
    restarted: float = 0.15
    """Share of runs with failed tasks that are restarted."""
    restart_delay: Span = (120.0, 3600.0)
    redialled: float = 0.03
    redial_delay: Span = (30.0, 3600.0)

    stub: float = 0.7
    """Share of completions that first appear as a stub."""
    stub_delay: Span = (3.0, 180.0)
    stub_forever: float = 0.02
    slow_enrichment: float = 0.0
    """Share of stubs that are enriched only 11 to 20 minutes later."""
    judged_later: float = 0.3
    """Share of enriched calls whose evaluation, and cost for some, arrives later still."""
    silent: float = 0.06
    nameless: float = 0.0
    """Share of native calls with an empty call_id."""
    escaped: float = 0.4
    """Share of documents written in pure ASCII with escapes; the others are raw UTF-8."""
    older: bool = False
    """Holds older data: failure_count rises, and some early tasks have no ``created``."""
    ties: float = 1.0
    """Share of bulk runs whose tasks all have the same ``created``; in the others they are milliseconds apart."""
    wordiness: int = 24
    """Most turns of a conversation."""

    def with_habits(self, habits: Mapping[str, Any]) -> Profile:
        """The same agent with other habits. Raises ``msgspec.ValidationError`` with what is wrong with them."""
        if "handle" in habits:
            raise msgspec.ValidationError("an agent keeps its handle")
        return msgspec.convert(msgspec.to_builtins(self) | dict(habits), Profile)


_LIVE = 540.0

DEFAULT_PROFILES: Final[tuple[Profile, ...]] = (
    Profile(
        handle="sales-agent-v1",
        name="Tara (sales)",
        purpose="Calls leads",
        tasks_per_hour=22.0,
        live_tasks_per_hour=2 * _LIVE,
        bulk_every=14_400.0,
        styles=((8, "vapi"), (1, "legacy")),
        talk=(5.0, 60.0),
        queue=3.0,
        ahead_span=(5.0, 1800.0),
        retry_delay=(5.0, 300.0),
        slow_enrichment=0.01,
        broken=0.13,
    ),
    Profile(
        handle="support-agent-v2",
        name="Aarav (support)",
        purpose="Answers customers",
        tasks_per_hour=12.0,
        live_tasks_per_hour=_LIVE,
        inbound=0.6,
        styles=((6, "native"), (2, "documented")),
        execution_types=((70, "call"), (10, "answer"), (10, "sdk_call"), (6, "space_call"), (4, "")),
        talk=(5.0, 60.0),
        nameless=0.15,
        queue=3.0,
        retry_reset_on_success=True,
    ),
    Profile(
        handle="collections-hi",
        name="वसूली सहायक",
        purpose="Reminds of instalments",
        tasks_per_hour=16.0,
        live_tasks_per_hour=_LIVE,
        bulk_every=21_600.0,
        bulk_size=(200, 420),
        styles=((1, "native"),),
        connected=0.4,
        escaped=0.7,
        talk=(5.0, 45.0),
        queue=4.0,
        retry_delay=(10.0, 600.0),
        unanswered_completes=0.6,
        restarted=0.35,
        nameless=0.1,
        ties=0.5,
    ),
    Profile(
        handle="renewals-legacy",
        name="Renewals",
        purpose="An old agent with old data",
        tasks_per_hour=10.0,
        live_tasks_per_hour=_LIVE / 2,
        styles=((4, "legacy"), (3, "documented"), (3, "vapi")),
        execution_types=((80, "call"), (14, None), (2, ""), (2, "carrier_pigeon")),
        inbound=0.15,
        broken=0.14,
        talk=(5.0, 90.0),
        queue=5.0,
        max_retries=3,
        older=True,
        stuck=0.012,
    ),
    Profile(
        handle="back office/mail",
        name="Back office",
        kind="Tool",
        purpose="Writes and sorts mail",
        tasks_per_hour=12.0,
        live_tasks_per_hour=_LIVE / 2,
        styles=((1, "documented"),),
        execution_types=((50, "email"), (25, "email_classification"), (10, "dealer"), (15, "call")),
        queue=2.0,
        held=0.03,
    ),
)
"""Five agents of the demo: modest in the past, busy from now on, and between them every behaviour of the API."""


def profiles(agents: int, tasks: int, *, hours: float = 24.0) -> tuple[Profile, ...]:
    """So many agents with about ``tasks`` tasks each in ``hours`` of history, and the same pace afterwards."""
    return tuple(
        msgspec.structs.replace(
            DEFAULT_PROFILES[number % len(DEFAULT_PROFILES)],
            handle=f"agent-{number + 1:04d}",
            name=f"Agent {number + 1}",
            tasks_per_hour=tasks / hours,
            live_tasks_per_hour=None,
            bulk_every=None,
        )
        for number in range(agents)
    )
