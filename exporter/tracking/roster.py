"""Which agents are polled: those that are named, and those that are discovered, as far as they fall to this shard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

import msgspec

from exporter.unpod.facts import Agent

_MULTIPLIER: Final = 2862933555777941757
_MODULUS: Final = 2**64


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One of several exporters that share the agents without talking to each other."""

    index: int = 0
    """From 0."""
    count: int = 1

    def owns(self, handle: str) -> bool:
        """Whether an agent falls to this shard. Every agent falls to exactly one."""
        return _bucket(handle, self.count) == self.index


def _bucket(handle: str, count: int) -> int:
    """The jump consistent hash of Lamping and Veach: with one shard more, an agent stays where it is or moves to the
    new one, as one in ``count`` does."""
    key = int.from_bytes(blake2b(handle.encode("utf-8", "surrogatepass"), digest_size=8, person=b"shard").digest())
    bucket, jump = 0, 0
    while jump < count:
        bucket = jump
        key = (key * _MULTIPLIER + 1) % _MODULUS
        jump = int((bucket + 1) * (2**31 / ((key >> 33) + 1)))
    return bucket


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the listed agents are wanted."""

    include: tuple[str, ...] = ("*",)
    """Globs on handles."""
    exclude: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Words of ``vocabulary.AGENT_TYPES``; empty: all."""
    shard: Shard = Shard()

    def wants(self, agent: Agent) -> bool:
        """Whether a listed agent is to be polled."""
        return (
            _matches(agent.handle, self.include)
            and not _matches(agent.handle, self.exclude)
            and (not self.types or agent.type in self.types)
            and self.shard.owns(agent.handle)
        )


def _matches(handle: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(handle, glob) for glob in globs)


def chosen(named: Sequence[str], listed: Iterable[Agent], choice: Choice | None) -> tuple[str, ...]:
    """The handles to poll: the named ones first, then those of the list that are wanted; None: no discovery."""
    found = [agent.handle for agent in listed if choice is not None and choice.wants(agent)]
    return tuple(dict.fromkeys((*named, *found)))


def digest_of(named: Iterable[str], choice: Choice | None) -> str:
    """Stands for which agents are wanted: the same text for the same ones, in whichever order they are named."""
    wanted = msgspec.json.encode((sorted(named), choice))
    return blake2b(wanted, digest_size=8, person=b"choice").hexdigest()
