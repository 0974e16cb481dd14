"""Other settings while the exporter runs: on SIGHUP, on request, or when the file changes; all of them or none."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from exporter.config import Config, ConfigError
from exporter.config.model import Level
from exporter.config.shown import differences, dump
from exporter.service.assembly import Exporter
from exporter.service.entrance import Entrance
from exporter.systemd import Notifier
from exporter.tracking.log import Log, whereabouts
from exporter.unpod.errors import UnpodError


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the settings come from."""

    read: Callable[[], Config]
    """Reads them anew. Raises ConfigError."""
    file: Path | None = None
    """None: from no file."""
    look_every: float | None = None
    """Seconds between two looks at whether the file has changed; None: nobody looks."""
    relevel: Callable[[Level], None] = lambda level: None
    """Told the level of the log where that has changed."""


class Answer(msgspec.Struct, frozen=True):
    """What became of a reload, for whoever asked for it."""

    ok: bool
    text: str


class Reloader:
    """Reads the settings anew, one reload after the other. A bad one changes nothing.

    ``read`` is told what is wrong with the settings; nothing: they are good.
    """

    def __init__(
        self,
        exporter: Exporter,
        entrance: Entrance,
        source: Source,
        log: Log,
        notifier: Notifier,
        *,
        read: Callable[[str], None],
    ) -> None:
        self._exporter = exporter
        self._entrance = entrance
        self._source = source
        self._log = log
        self._notifier = notifier
        self._read = read
        self._one_by_one = asyncio.Lock()
        self._next: asyncio.Task[Answer] | None = None
        self._problem = ""
        """Of the last reload; empty: it was good."""

    def config(self) -> str:
        """The settings in force as YAML, without secrets."""
        return dump(self._exporter.config)

    async def reload(self, why: str) -> Answer:
        """Reads the settings, and obeys them from now on. Those who ask while one waits for its turn share it."""
        if self._next is None:
            self._next = asyncio.create_task(self._reload(why), name="reload")
        # Whoever asked may hang up: what has begun is done to its end.
        return await asyncio.shield(self._next)

    async def watch(self, hangup: asyncio.Event, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Reloads when ``hangup`` is set, and when the file changes, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._on_hangup(hangup), name="SIGHUP")
            if self._source.look_every is not None and self._source.file is not None:
                group.create_task(
                    self._on_change(self._source.file, self._source.look_every, sleep), name="auto-reload"
                )

    async def _on_hangup(self, hangup: asyncio.Event) -> None:
        while True:
            await hangup.wait()
            hangup.clear()
            await self.reload("SIGHUP")

    async def _on_change(self, file: Path, interval: float, sleep: Callable[[float], Awaitable[None]]) -> None:
        seen = _digest(file)
        while True:
            await sleep(interval)
            found = _digest(file)
            # What made it bad may lie elsewhere: a certificate or a token file that is not there yet.
            if found != seen or self._problem:
                seen = found
                await self.reload("the file has changed")

    async def _reload(self, why: str) -> Answer:
        async with self._one_by_one:
            # Whoever asks from here on may know of a change that this one does not see.
            self._next = None
            self._notifier.reloading()
            try:
                return self._good(*await self._obeyed(), why)
            except (ConfigError, UnpodError, ValueError, OSError) as error:
                return self._bad(str(error), why)
            except Exception as error:
                return self._broken(whereabouts(error), why)
            finally:
                self._notifier.ready()

    async def _obeyed(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What has changed, and what of that needs a restart."""
        before, asked = self._exporter.config, self._source.read()
        admit = self._entrance.read()
        possible = msgspec.structs.replace(asked, state=before.state)
        await self._exporter.obey(possible)
        admit()
        if possible.log != before.log:
            self._source.relevel(possible.log.level)
        return differences(before, possible), differences(possible, asked)

    def _good(self, changed: tuple[str, ...], restart: tuple[str, ...], why: str) -> Answer:
        self._problem = ""
        self._read("")
        self._log.info("reloaded", why=why, changed=", ".join(changed) or "nothing")
        lines = [f"reloaded; changed: {', '.join(changed) or 'nothing'}"]
        if restart:
            self._log.warning("some changes need a restart", keys=", ".join(restart))
            lines.append(f"not changed, since it needs a restart: {', '.join(restart)}")
        return Answer(True, "\n".join(lines))

    def _bad(self, problem: str, why: str) -> Answer:
        say = self._log.debug if problem == self._problem else self._log.error
        say("not reloaded, the settings before stay in force", why=why, error=problem)
        self._problem = problem
        self._read(problem)
        return Answer(False, problem)

    def _broken(self, where: str, why: str) -> Answer:
        self._problem = f"a defect of the exporter ended the reload, and some of the settings may hold already: {where}"
        self._log.error("reload ended by a defect", why=why, error=where)
        self._read(self._problem)
        return Answer(False, self._problem)


def _digest(file: Path) -> bytes | None:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None
