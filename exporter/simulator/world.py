"""The simulated platform: agents, their tasks, and the log of what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec

from exporter.simulator import truth
from exporter.simulator.agenda import Agenda
from exporter.simulator.archive import Archive
from exporter.simulator.life import Life
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile
from exporter.simulator.tables import dice

HOUR = 3600.0


class Poisoned(Exception):
    """The page holds a document that the server cannot write as JSON."""


class TaskPage(msgspec.Struct, frozen=True):
    """One page of tasks, as bytes of each document."""

    count: int
    ids: tuple[str, ...]
    documents: tuple[bytes, ...]


class World:
    """Everything that the simulated platform knows. The same arguments make the same world, however it is advanced."""

    def __init__(
        self,
        *,
        seed: int = 0,
        now: float,
        agents: Sequence[Profile] = DEFAULT_PROFILES,
        history: float = 24.0,
        restless_ties: float = 0.25,
        odd_listing: bool = True,
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        """Makes up ``history`` hours of traffic before ``now`` (Unix seconds).

        ``restless_ties`` is the share of requests that see tasks of equal ``created`` in another order;
        ``odd_listing`` adds an empty and a duplicate handle to the agents list.
        """
        start = now - history * HOUR
        self._seed = seed
        self._agenda = Agenda(start)
        self._truth: list[truth.Event] = []
        self._poison: dict[str, set[str]] = {}
        self._requests = count(1)
        self._restless_ties = restless_ties
        self._odd_listing = odd_listing
        self.archive = Archive(cache_bytes)
        numbers = count(1)
        self._lives = {
            profile.handle: Life(
                profile,
                self._agenda,
                self._truth.append,
                numbers,
                random=dice(seed, profile.handle),
                live_from=now,
                undated_until=start + history * HOUR * 0.3,
            )
            for profile in agents
        }
        for life in self._lives.values():
            life.begin()
        self.advance(now)

    @property
    def now(self) -> float:
        """Unix seconds up to which everything has happened."""
        return self._agenda.now

    @property
    def truth(self) -> Sequence[truth.Event]:
        """What really happened so far, oldest first; it only grows."""
        return self._truth

    @property
    def handles(self) -> tuple[str, ...]:
        """All agents, those without access and the unpublished included."""
        return tuple(self._lives)

    def profile(self, handle: str) -> Profile:
        """How an agent behaves. Raises KeyError for an unknown one."""
        return self._lives[handle].profile

    def behave(self, profile: Profile) -> None:
        """Give an agent other habits from now on. Raises KeyError for an unknown one."""
        self._lives[profile.handle].behave(profile)

    def advance(self, now: float) -> None:
        """Let everything happen up to ``now``; an earlier time than before changes nothing."""
        self._agenda.run(now)

    def poison(self, handle: str, task_id: str) -> None:
        """Make every page that holds this task a crash, until ``cure``. Raises KeyError if there is none such."""
        self._poison.setdefault(handle, set()).add(self._lives[handle].shelf[task_id].id)

    def cure(self, handle: str, task_id: str) -> None:
        """Undo ``poison``."""
        self._poison.get(handle, set()).discard(task_id)

    def tasks(self, handle: str, *, page: int = 1, page_size: int = 20) -> TaskPage:
        """A page of an agent's tasks; ``page_size`` 0 is everything. Raises KeyError, Poisoned."""
        life = self._lives[handle]
        order = self._tie_order(next(self._requests))
        total = len(life.shelf)
        first, last = (0, total) if page_size == 0 else ((page - 1) * page_size, page * page_size)
        found = life.shelf.newest(first, min(last, total), order)
        ids = tuple(task.id for task in found)
        if not self._poison.get(handle, set()).isdisjoint(ids):
            raise Poisoned
        return TaskPage(total, ids, tuple(self.archive.encoded(task, life.profile) for task in found))

    def agents(self) -> list[dict[str, Any]]:
        """The published agents, in no particular order."""
        random = dice(self._seed, "agents", next(self._requests))
        listed = [_entry(life.profile) for life in self._lives.values() if life.profile.state == "published"]
        if self._odd_listing and listed:
            nameless = {"handle": "", "name": "Untitled", "type": "Pilot", "state": "published", "purpose": ""}
            listed += [nameless, dict(listed[0])]
        random.shuffle(listed)
        return listed

    def _tie_order(self, request: int) -> int:
        random = dice(self._seed, "ties", request)
        return random.getrandbits(32) | 1 if random.random() < self._restless_ties else 0


def _entry(profile: Profile) -> dict[str, Any]:
    entry = {
        "handle": profile.handle,
        "name": profile.name or profile.handle,
        "type": profile.kind,
        "state": profile.state,
        "purpose": profile.purpose,
    }
    return entry | ({"description": "An older field."} if profile.older else {})
