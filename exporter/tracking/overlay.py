"""Goes on when the disk does not: what could not be committed is kept in memory until it can be.

For each agent that is one commit, which stands for all that have failed since its last good one. Whoever reads sees it
as if it were on disk, so polls succeed and numbers are true. The next commit of the agent takes it along in its own
transaction, and whenever one succeeds the others are tried as well.

There is a limit to what is kept, since a first reading commits page by page: beyond it commits fail. A process that is
killed meanwhile falls back to the last good commit, as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Final

import msgspec

from exporter.tracking.log import Log
from exporter.tracking.records import Record
from exporter.tracking.storage import Commit, Loaded, StateSetAside, StateTaken, StateUnwritable, Storage, StorageError

_MOST: Final = 20_000
"""How many tasks are kept."""


class Unwritable(msgspec.Struct, frozen=True):
    """The state cannot be written."""

    since: float
    """Unix seconds."""
    error: str
    """Why, as it was said last."""


class Overlay:
    """A ``Storage`` over one that may fail to write. ``clock`` gives Unix seconds; ``failed`` is told of each commit
    that has failed, and the log once when writing begins to fail and once when it works again."""

    def __init__(
        self,
        storage: Storage,
        log: Log,
        *,
        clock: Callable[[], float],
        failed: Callable[[], None] = lambda: None,
        most: int = _MOST,
    ) -> None:
        self._storage = storage
        self._log = log
        self._clock = clock
        self._failed = failed
        self._most = most
        self._writing = asyncio.Lock()
        self._kept: dict[str, Commit] = {}
        self.unwritable: Unwritable | None = None
        """None: the state can be written."""

    def uncommitted(self) -> int:
        """Of how many tasks the latest is known in memory only."""
        return sum(len(commit.records) for commit in self._kept.values())

    async def agents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*await self._storage.agents(), *self._kept)))

    async def load(self, agent: str) -> Loaded | None:
        known = await self._beneath(agent)
        loaded = await self._storage.load(agent)
        kept = self._kept.get(agent)
        return loaded if kept is None else _over(loaded, kept, known)

    async def records(self, agent: str, keys: Collection[int]) -> dict[int, Record]:
        found = await self._storage.records(agent, keys)
        return found | {key: record for key, record in self._records(agent).items() if key in keys}

    async def created_between(self, agent: str, start: float, end: float) -> AsyncIterator[dict[int, Record]]:
        # As it is now: what is written meanwhile must not be found twice.
        kept = self._records(agent)
        async for found in self._storage.created_between(agent, start, end):
            yield {key: record for key, record in found.items() if key not in kept}
        yield {
            key: record for key, record in kept.items() if record.created is not None and start <= record.created < end
        }

    async def commit(self, agent: str, commit: Commit) -> None:
        async with self._writing:
            await self._commit(agent, commit)

    async def close(self) -> None:
        async with self._writing:
            await self._flush()
        if self._kept:
            self._log.error(
                "state not written",
                agents=",".join(self._kept),
                tasks=self.uncommitted(),
                numbers="they go back to the last commit; what the platform still shows is counted at the next start",
            )
        await self._storage.close()

    async def _commit(self, agent: str, commit: Commit) -> None:
        whole = _both(self._kept[agent], commit) if agent in self._kept else commit
        try:
            await self._storage.commit(agent, whole)
        except StateUnwritable as error:
            self._keep(agent, whole, error)
        except (StateSetAside, StateTaken):
            # Whoever commits knows all of it, and brings it into the new state; or has nothing more to say of it.
            self._kept.pop(agent, None)
            raise
        except BaseException:
            if agent in self._kept:
                # It may have been made all the same, and must not be covered by what is older.
                self._kept[agent] = whole
            raise
        else:
            self._kept.pop(agent, None)
            await self._flush()

    def _records(self, agent: str) -> Mapping[int, Record]:
        return self._kept[agent].records if agent in self._kept else {}

    async def _beneath(self, agent: str) -> dict[int, Record]:
        """What the storage has of the tasks that are kept here."""
        try:
            return await self._storage.records(agent, self._records(agent).keys()) if agent in self._kept else {}
        except (StateSetAside, StateTaken):
            del self._kept[agent]
            return {}

    def _keep(self, agent: str, commit: Commit, error: StateUnwritable) -> None:
        self._failed()
        since = self.unwritable.since if self.unwritable is not None else self._clock()
        if self.unwritable is None:
            self._log.error(
                "state cannot be written",
                error=str(error),
                numbers="they are true, and kept in memory until it can be",
                todo="make room on the disk, or make it or the database writable",
            )
        self.unwritable = Unwritable(since, str(error))
        others = self.uncommitted() - len(self._records(agent))
        if others + len(commit.records) > self._most:
            raise StateUnwritable(
                f"{error}; no more than {self._most} tasks are kept in memory until it can be"
            ) from error
        self._kept[agent] = commit

    async def _flush(self) -> None:
        """Tries to write what is kept of all agents."""
        for agent, commit in list(self._kept.items()):
            try:
                await self._storage.commit(agent, commit)
            except StateUnwritable:
                self._failed()
                return
            except (StateSetAside, StateTaken):
                del self._kept[agent]
            except StorageError:
                # Its next poll will be told.
                continue
            else:
                del self._kept[agent]
        if self.unwritable is not None and not self._kept:
            self._log.info("state can be written again", seconds=round(self._clock() - self.unwritable.since))
            self.unwritable = None


def _both(before: Commit, after: Commit) -> Commit:
    """Two commits in a row as one."""
    dropped = {*before.dropped, *after.dropped} - after.numbers.keys()
    numbers = {key: value for key, value in {**before.numbers, **after.numbers}.items() if key not in dropped}
    return Commit(book=after.book, numbers=numbers, dropped=dropped, records={**before.records, **after.records})


def _over(loaded: Loaded | None, kept: Commit, beneath: Collection[int]) -> Loaded:
    """What is loaded, and what is kept on top of it; ``beneath`` are those of its tasks that were loaded as well."""
    loaded = loaded or Loaded(book=kept.book, numbers={}, watched={}, tracked=0)
    numbers = {key: value for key, value in {**loaded.numbers, **kept.numbers}.items() if key not in kept.dropped}
    watched = {key: record for key, record in loaded.watched.items() if key not in kept.records}
    return Loaded(
        book=kept.book,
        numbers=numbers,
        watched=watched | {key: record for key, record in kept.records.items() if record.watched},
        tracked=loaded.tracked + len(kept.records) - len(beneath),
    )
