"""What the commands print for people."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.cells import cell_len

from exporter.config import Config
from exporter.config.access import WebConfig
from exporter.survey import Finding, Readable
from exporter.tracking.moving import Moved


def of_config(config: Config) -> str:
    """That the settings are good, and what they come to."""
    named = ", ".join(agent.handle for agent in config.agents) or "none named"
    found = ", and those that are discovered" if config.discovery.enabled else ""
    lacks_organisation = config.discovery.enabled and config.api.org_handle is None
    return (
        f"{config.source}: good\n"
        f"  platform  {config.api.base_url}\n"
        f"  agents    {named}{found}\n"
        f"  state     {config.state.words}{_NEEDS_ORGANISATION if lacks_organisation else ''}"
    )


_NEEDS_ORGANISATION = "\n  note      discovery needs api.org_handle: the platform tells nobody its agents without it"


def of_web_config(path: Path, config: WebConfig) -> str:
    """That a web config is good, and what it comes to."""
    limit, tls = config.rate_limit, config.tls
    clients = {ssl.CERT_NONE: "", ssl.CERT_OPTIONAL: ", client certificates verified if given"}
    encrypted = "off" if tls is None else "on" + clients.get(tls.context.verify_mode, ", client certificates required")
    return (
        f"{path}: good\n"
        f"  TLS       {encrypted}\n"
        f"  users     {', '.join(map(_shown, config.users)) or 'everybody is let in'}\n"
        f"  limit     {f'{limit.burst} requests at once, one each {limit.interval:g} s' if limit else 'none'}"
    )


def of_agents(found: Sequence[Readable]) -> str:
    """A table of the agents that the token can see."""
    header = ("HANDLE", "NAME", "TYPE", "TASKS", "READABLE")
    rows = [header, *(_row(one) for one in sorted(found, key=lambda one: one.agent.handle))]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_padded, row, widths)).rstrip() for row in rows)


def of_agents_for_machines(found: Sequence[Readable]) -> str:
    """The same as JSON: a list with an object for each agent."""
    listed = [_told(one) for one in sorted(found, key=lambda one: one.agent.handle)]
    return msgspec.json.format(msgspec.json.encode(listed), indent=2).decode()


def of_finding(finding: Finding) -> str:
    """What came of asking the platform one thing."""
    return f"  {'ok' if finding.well else 'wrong':<5}  {_shown(finding.what)}: {_shown(finding.words)}"


def of_moved(moved: Moved) -> str:
    """How much of a state was moved."""
    counts = ((moved.agents, "agent"), (moved.numbers, "number"), (moved.tasks, "task"))
    words = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
    return f"{words}, digest {moved.digest}"


def of_defect(error: Exception) -> str:
    """Where a defect of the exporter showed, without messages: those may hold a piece of an answer."""
    places = (
        "".join([*traceback.format_tb(one.__traceback__), f"{type(one).__module__}.{type(one).__qualname__}"])
        for one in _leaves(error)
    )
    return "\n".join(("a defect of unpod-exporter stopped it; a report of it is welcome:", *places))


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _told(one: Readable) -> dict[str, str | int | bool | None]:
    return {
        "handle": one.agent.handle,
        "name": one.agent.name,
        "type": one.agent.type,
        "readable": one.error is None,
        "tasks": one.tasks,
        "reason": None if one.error is None else one.error.reason,
        "error": None if one.error is None else str(one.error),
    }


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _row(one: Readable) -> tuple[str, ...]:
    readable = "yes" if one.error is None else f"no: {one.error}"
    tasks = "-" if one.tasks is None else str(one.tasks)
    return tuple(map(_shown, (one.agent.handle, one.agent.name, one.agent.type, tasks, readable)))


def _shown(text: str) -> str:
    """A word of the platform as a terminal may have it: on one line, and without commands to the terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
