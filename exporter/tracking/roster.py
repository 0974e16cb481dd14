"""Which agents are polled: those that are named, and those that are discovered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from exporter.unpod.facts import Agent


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the listed agents are wanted."""

    include: tuple[str, ...] = ("*",)
    """Globs on handles."""
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Words of ``vocabulary.AGENT_TYPES``; empty: all."""

    def wants(self, agent: Agent) -> bool:
        """Whether a listed agent is to be polled."""
        return (
            _matches(agent.handle, self.include)
            and not _matches(agent.handle, self.exclude)
            and (not self.types or agent.type in self.types)
        )


def _matches(handle: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(handle, glob) for glob in globs)


def chosen(named: Sequence[str], listed: Iterable[Agent], choice: Choice | None) -> tuple[str, ...]:
    """The handles to poll: the named ones first, then those of the list that are wanted; None: no discovery."""
    found = [agent.handle for agent in listed if choice is not None and choice.wants(agent)]
    return tuple(dict.fromkeys((*named, *found)))
