"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.config import Config
from exporter.service import Readable


def of_config(config: Config) -> str:
    """That the settings are good, and what they come to."""
    named = ", ".join(agent.handle for agent in config.agents) or "none named"
    found = ", and those that are discovered" if config.discovery.enabled else ""
    return (
        f"{config.source}: good\n"
        f"  platform  {config.api.base_url}\n"
        f"  agents    {named}{found}\n"
        f"  state     {config.state.path or 'memory'}"
    )


def of_agents(found: Sequence[Readable]) -> str:
    """A table of the agents that the token can see."""
    header = ("HANDLE", "NAME", "TYPE", "TASKS", "READABLE")
    rows = [header, *(_row(one) for one in sorted(found, key=lambda one: one.agent.handle))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(one: Readable) -> tuple[str, ...]:
    readable = "yes" if one.error is None else f"no: {one.error}"
    return (one.agent.handle, one.agent.name, one.agent.type, "-" if one.tasks is None else str(one.tasks), readable)
