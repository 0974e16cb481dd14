"""Reads the history of all agents once, and writes their past.

Where there is no state yet, what is read becomes the state: the exporter starts from the very numbers with which the
past ends. Where there is one, its first numbers are where the past leads to, and the history is read beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from exporter.config import Config
from exporter.exposition import catalog
from exporter.exposition.chunks import LABEL_NAME
from exporter.past.annals import Annals
from exporter.past.output import Files, Standard, writing
from exporter.past.reading import Books, Historian
from exporter.past.seam import Seam
from exporter.past.writer import Span, Writer, Written
from exporter.progress import Display
from exporter.service import parts
from exporter.service.assembly import connected, opened
from exporter.service.clock import REAL, Clock
from exporter.tracking import files, sqlite
from exporter.tracking.log import Log
from exporter.tracking.roster import chosen
from exporter.tracking.sqlite import SqliteStorage
from exporter.tracking.storage import StorageError
from exporter.unpod.client import Client
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Agent

_OURS: Final = {"agent", "le"}.union(
    label.name for family in catalog.families(catalog.Settings()) for label in family.labels
)


class PastError(Exception):
    """The past cannot be written; the message says why and what may be done."""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written, and where to."""

    span: Span
    labels: tuple[tuple[str, str], ...] = ()
    """Besides ``agent``: those that Prometheus adds to what it scrapes."""
    file: Path | None = None
    """None: standard output."""

    def __post_init__(self) -> None:
        """Raises ValueError where the labels cannot be those that Prometheus adds, or the output is not one file."""
        names = [name for name, _ in self.labels]
        if missing := {"job", "instance"}.difference(names):
            raise ValueError(
                f"--label {sorted(missing)[0]}=... is missing: without it these would be other series than those that "
                "Prometheus scrapes; its page of targets tells which labels it adds"
            )
        for name in names:
            if not LABEL_NAME.fullmatch(name) or name in _OURS or names.count(name) > 1:
                raise ValueError(f"--label {name}=...: not a name that Prometheus can add, or given before")
        if self.file is not None:
            _check(self.file)
        if self.file is None and self.span.block is not None:
            raise ValueError("--block-duration writes several files, for which --output must name one")


def _check(file: Path) -> None:
    """Raises ValueError where no text can be put there."""
    try:
        # Renaming a text to a device would destroy it.
        is_other = file.exists() and not file.is_file()
    except OSError as error:
        raise ValueError(f"--output: {error.strerror}") from error
    if is_other:
        raise ValueError(f"--output {file} is no regular file; name one, or write - for standard output")
    if not file.parent.is_dir():
        raise ValueError(f"--output {file}: there is no folder {file.parent}")


async def write_past(config: Config, past: Past, log: Log, display: Display, clock: Clock = REAL) -> bool:
    """Writes the past of all agents; whether that of none is missing.

    Raises ``PastError``, ``StorageError``, ``UnpodError``.
    """
    books = await _books(config, clock)
    if books is None and config.polling.backfill == 0:
        raise PastError("polling.backfill is none: counters that begin at 0 have no past; take `all`")
    try:
        with _workplace(config, past.file, is_new=books is None) as folder:
            return await _write(config, past, books, folder, log, display, clock)
    except OSError as error:
        raise PastError(f"{error.filename or past.file or 'standard output'}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise PastError(f"what is kept until the past is written: {error}") from error


async def _write(
    config: Config, past: Past, books: Books | None, folder: Path, log: Log, display: Display, clock: Clock
) -> bool:
    state = folder / "state.db"
    with closing(Annals(folder / "annals.db", catalog.families(parts.shown(config)))) as annals:
        storage = await SqliteStorage.open(state, clock=clock.now)
        try:
            async with connected(config, None, clock) as client:
                historian = Historian(
                    client,
                    storage,
                    parts.rules(config),
                    annals,
                    books=books,
                    step=past.span.step,
                    log=log,
                    now=clock.now,
                    elapsed=clock.elapsed,
                    sleep=clock.sleep,
                    progressed=display,
                )
                with display:
                    seams = await _read(historian, await _agents(config, client, log))
        finally:
            await storage.close()
        ends = {handle: seam for handle, seam in seams.items() if seam is not None}
        if not ends:
            raise PastError("there is no agent whose past could be written")
        writer = Writer(annals, ends, past.span, [(name, value) for name, value in past.labels if value])
        with _output(past) as output:
            written = writer.write(output)
            if books is None:
                _adopt(state, config, log)
    _tell(log, ends, written, output)
    return len(ends) == len(seams)


async def _books(config: Config, clock: Clock) -> Books | None:
    """What the exporter knows of its agents; None: it has no state yet."""
    path = config.state.path
    if config.state.url is not None:
        state = await opened(config, clock, committed=lambda seconds: None, told=lambda what: None)
        try:
            loaded = {agent: await state.load(agent) for agent in await state.agents()}
        finally:
            await state.close()
        return {agent: one.book for agent, one in loaded.items() if one is not None}
    if path is None:
        raise PastError("state.path is memory: each start begins anew, with no past to go on from; name a file")
    return sqlite.books(path) if path.exists() else None


@contextmanager
def _workplace(config: Config, file: Path | None, *, is_new: bool) -> Iterator[Path]:
    """A folder for what is kept meanwhile: beside the state that is to begin, which is locked, else beside ``file``."""
    path = config.state.path
    if not is_new or path is None:
        with TemporaryDirectory(prefix="unpod-past-", dir=file.parent if file else None) as folder:
            yield Path(folder)
        return
    with (
        files.locked(path, f"state file {path}"),
        TemporaryDirectory(prefix=f"{path.name}.past-", dir=path.parent) as folder,
    ):
        yield Path(folder)


async def _read(historian: Historian, agents: Iterable[Agent]) -> dict[str, Seam | None]:
    """Reads these agents all together; where the past of each ends."""
    async with asyncio.TaskGroup() as group:
        reading = {agent.handle: group.create_task(historian.read(agent)) for agent in agents}
    return {handle: task.result() for handle, task in reading.items()}


async def _agents(config: Config, client: Client, log: Log) -> list[Agent]:
    """Those that the exporter polls."""
    plan = parts.plan(config)
    listed: dict[str, Agent] = {}
    if plan.list_interval is not None:
        try:
            listed = {agent.handle: agent for agent in (await client.agents()).agents}
        except UnpodError as error:
            if plan.choice is not None:
                raise
            log.warning("list of agents not read", reason=error.reason, error=str(error))
    handles = chosen([named.handle for named in plan.named], listed.values(), plan.choice)
    return [listed.get(handle) or Agent(handle=handle) for handle in handles]


def _adopt(made: Path, config: Config, log: Log) -> None:
    """Makes what was read the state of the exporter. Raises ``StorageError`` where there is one meanwhile."""
    path = config.state.path
    if path is None or path.exists():
        raise StorageError(f"state file {path} has appeared meanwhile; run the command again")
    made.rename(path)
    log.info("state begun", state=str(path), todo="start the exporter with it: it goes on where the past ends")


@contextmanager
def _output(past: Past) -> Iterator[Files | Standard]:
    if past.file is None:
        yield Standard()
        return
    with writing(Files(past.file, several=past.span.block is not None)) as files:
        yield files


def _tell(log: Log, seams: Mapping[str, Seam], written: Written, output: Files | Standard) -> None:
    files = output.written if isinstance(output, Files) else []
    if not written.samples:
        log.warning("past is empty", todo="look at --from and --to: nothing that has a time lies between them")
    log.info(
        "past written",
        agents=len(seams),
        series=written.series,
        samples=written.samples,
        files=len(files) or None,
        file=str(files[0]) if files else None,
    )
