"""Agents and exporters as the pages are shown them."""

from __future__ import annotations

from typing import Any

import msgspec

from exporter.web.pages import AgentDetail, AgentStatus, Figure, Figures, PollStatus, Requests, State, Status

NOW = 1_763_733_000.0
UNAUTHORIZED = "unpod.example/agents/*/tasks/ answered HTTP 401: the API token is missing, wrong or revoked"
LINKS = {"Metrics": "metrics", "Help": "#help"}


def fine(handle: str = "sales", **changes: Any) -> AgentStatus:
    """An agent that is well, with changes."""
    usual: dict[str, Any] = {
        "handle": handle,
        "state": "up",
        "up": True,
        "last_poll": NOW - 12,
        "last_success": NOW - 12,
        "fresh_until": NOW + 888,
        "tasks": 1_234_567,
        "calls": 890,
        "history_ratio": 1.0,
        "next_poll": NOW + 48,
    }
    return AgentStatus(**usual | changes)


def failing(handle: str = "support", problem: str = "unauthorized", **changes: Any) -> AgentStatus:
    """An agent whose polls have failed for twelve minutes, with changes."""
    usual: dict[str, Any] = {
        "state": "failing",
        "up": False,
        "last_success": NOW - 780,
        "last_error": UNAUTHORIZED,
        "problem": problem,
        "failures": 3,
        "failing_since": NOW - 720,
        "next_poll": NOW + 240,
        "next_step": "heartbeat",
    }
    return fine(handle, **usual | changes)


def reading(handle: str = "new", ratio: float = 0.386, **changes: Any) -> AgentStatus:
    """An agent whose history is being read for the first time."""
    usual: dict[str, Any] = {"poll_began": NOW - 60, "history_left": 95.0}
    return AgentStatus(handle=handle, state="reading its history", history_ratio=ratio, **usual | changes)


def waiting(handle: str = "idle") -> AgentStatus:
    """An agent that has not been polled since the start."""
    return AgentStatus(handle=handle, state="waiting for its first poll", history_ratio=1.0, last_success=NOW - 300)


def status(*agents: AgentStatus, **changes: Any) -> Status:
    """An exporter that polls these agents."""
    usual: dict[str, Any] = {
        "version": "1.2.3",
        "started": NOW - 7200,
        "now": NOW,
        "agents": agents,
        "platform": "https://unpod.example",
        "requests": Requests(begun=12, per_minute=60),
        "state": State(path="unpod-exporter.db", size=4_404_019, created=NOW - 3 * 86_400),
    }
    return Status(**usual | changes)


def detail(agent: AgentStatus, **changes: Any) -> AgentDetail:
    """All that there is to see of an agent."""
    polls = (
        PollStatus(at=NOW - 12, seconds=0.25, pages=2, tasks=40, news={"new": 1, "calls": 3, "retries": 1}),
        PollStatus(at=NOW - 72, seconds=40.0, problem="timeout", error="no complete answer within 40 s"),
        PollStatus(at=NOW - 132, seconds=75.0, pages=90, tasks=17_900, news={"new": 17_900}, first=True),
        PollStatus(at=NOW - 192, seconds=0.1, pages=1, tasks=20),
    )
    numbers = (
        Figures("Tasks now", (Figure("completed", 943.0), Figure("failed", 112.0)), whole=True),
        Figures("In all", (Figure("cost of calls", 31.704, "dollars"), Figure("mean duration", 83.0, "seconds"))),
    )
    usual = AgentDetail(now=NOW, version="1.2.3", agent=agent, polls=polls, numbers=numbers)
    return msgspec.structs.replace(usual, **changes)
