"""One connection to a PostgreSQL server, which is made anew when it is lost and never waits for long.

All work with it is done in one thread, so the event loop never waits for the network, and for so many seconds at most:
then the socket is shut down beneath whoever waits for an answer. (The server's own time limits end what it has begun,
but not the wait for a server that is no longer there.)
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
import psycopg
from psycopg import conninfo, errors

from exporter.tracking.storage import StateDamaged, StateUnwritable, StorageError

T = TypeVar("T")
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

APPLICATION: Final = "unpod-exporter"
"""What the connections are called, unless the URL or PGAPPNAME calls them otherwise."""
_UNWRITABLE: Final = ("08", "25", "28", "3D", "40", "42501", "53", "55", "57", "58", "72")
"""How the codes (SQLSTATE) begin of what the server, its disk, its network or whoever operates it is the reason for,
and not the data: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_DAMAGED: Final = "XX00"
"""Its codes but for XX000, which is a defect of the server."""
_ELSEWHERE: Final = (errors.ReadOnlySqlTransaction,)
"""Errors after which another connection may do better: the server is a standby now."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where the database is. What is not said here libpq takes from the environment (PGPASSWORD, PGSSLMODE ...)."""

    url: str
    """``postgresql://user@host/database``, without a password, so that it may be shown."""
    password_file: Path | None = None
    """Read anew for every connection."""

    def __str__(self) -> str:
        return f"state in {self.url}"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect: float = 5.0
    """For a connection to be made; the URL's own ``connect_timeout`` comes before it."""
    work: float = 10.0
    """For one piece of work, from its first statement to its last."""
    rest: float = 5.0
    """Between two attempts to connect, when the first has failed: nobody waits for the same server again and again."""
    patience: float = 2.0
    """For another exporter that may just be ending to let go of the state."""
    vanished: int = 30
    """Until the server gives up a client that has vanished, and lets go of what that has locked."""


class Link:
    """Does work with the connection to ``target``; makes it when there is none. ``greet`` is called with each new one
    before anything else is done with it; what it raises is raised to whoever wanted to work."""

    def __init__(
        self,
        target: Target,
        *,
        greet: Callable[[Connection], None] = lambda connection: None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self._greet = greet
        self._limits = limits
        self._elapsed = elapsed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._turn = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._connection: Connection | None = None
        self._holding = threading.Lock()
        self._socket: socket.socket | None = None
        self._failed: tuple[float, StorageError] | None = None
        """When no connection could be made, and why."""

    async def run(self, work: Callable[[Connection], T], *, within: float | None = None, repeat: bool = True) -> T:
        """What ``work`` returns; it runs in the thread, outside a transaction, and ends ``within`` so many seconds.

        Where the connection turns out to be lost, it is done again from its beginning with a new one, once, unless it
        is not to ``repeat``: whether the first time had any effect cannot be known, so ``work`` has to bear that.

        Raises ``StateUnwritable`` where the server cannot do it now, ``StateDamaged`` where it says that its data are,
        ``StorageError`` for anything else. Whoever is cancelled meanwhile leaves the work to be done to its end.
        """
        task = asyncio.create_task(self._in_turn(work, within or self._limits.work, repeat))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is under way, and the connection."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # Whoever waited was told; where nobody did any more, it is nobody's error.
            task.exception()

    async def _in_turn(self, work: Callable[[Connection], T], within: float, repeat: bool) -> T:
        async with self._turn:
            expired = threading.Event()
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._done, work, expired, repeat)
            done, _ = await asyncio.wait([future], timeout=self._limits.connect + within)
            if not done:
                expired.set()
                self._cut()
                await asyncio.wait([future])
                if future.exception() is not None:
                    raise StateUnwritable(f"{self.target}: no answer within {within:g} s") from future.exception()
            return future.result()

    def _done(self, work: Callable[[Connection], T], expired: threading.Event, repeat: bool) -> T:
        once_more = repeat and self._connection is not None
        while True:
            try:
                return self._tried(work, expired)
            except _Lost as lost:
                if not once_more or expired.is_set():
                    raise lost.error from lost.error.__cause__
                once_more = False

    def _tried(self, work: Callable[[Connection], T], expired: threading.Event) -> T:
        """Raises ``_Lost`` where the connection is lost with it."""
        with self._told():
            connection = self._connected()
            if expired.is_set():
                raise StateUnwritable(f"{self.target}: no connection in time")
            return work(connection)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong, in our own errors; a connection that is of no use any more is dropped."""
        try:
            yield
        except (psycopg.Error, OverflowError, UnicodeError, msgspec.MsgspecError) as error:
            told = self._in_words(error)
            connection = self._connection
            if connection is None or connection.closed or isinstance(error, _ELSEWHERE):
                self._drop()
                if not isinstance(error, _ELSEWHERE):
                    raise _Lost(told) from error
            else:
                self._reset(connection)
            raise told from error
        except BaseException:
            if self._connection is not None:
                self._reset(self._connection)
            raise

    def _reset(self, connection: Connection) -> None:
        """Leaves no transaction behind."""
        try:
            connection.rollback()
        except psycopg.Error:
            self._drop()

    def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        if self._failed is not None and self._elapsed() - self._failed[0] < self._limits.rest:
            raise type(self._failed[1])(str(self._failed[1]))
        try:
            connection = self._connect()
            _set_up(connection, self._limits)
            self._greet(connection)
        except BaseException as error:
            self._drop()
            told = self._in_words(error) if isinstance(error, psycopg.Error | OSError | UnicodeError) else error
            if isinstance(told, StorageError):
                self._failed = (self._elapsed(), told)
            if told is error:
                raise
            raise told from error
        self._failed = None
        return connection

    def _connect(self) -> Connection:
        given = conninfo.conninfo_to_dict(self.target.url)
        ours: dict[str, Any] = {"fallback_application_name": APPLICATION, "connect_timeout": int(self._limits.connect)}
        if self.target.password_file is not None:
            ours["password"] = self.target.password_file.read_text(encoding="utf-8").strip()
        connection = psycopg.connect(**{**ours, **given}, autocommit=True)
        with self._holding:
            self._connection = connection
            # A descriptor of its own, which cannot be somebody else's by the time it is shut down.
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        return connection

    def _cut(self) -> None:
        """Shuts the connection down beneath the thread that works with it."""
        with self._holding, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        with self._holding:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _in_words(self, error: Exception) -> StorageError:
        code = getattr(error, "sqlstate", None) or ""
        # The details of an error may quote a row.
        primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        told = f"{self.target}: {primary or ' '.join(str(error).split())}"
        if code.startswith(_DAMAGED) and code != "XX000":
            return StateDamaged(told)
        unwritable = code.startswith(_UNWRITABLE) or (not code and isinstance(error, errors.OperationalError | OSError))
        return (StateUnwritable if unwritable else StorageError)(told)


def _set_up(connection: Connection, limits: Limits) -> None:
    """The settings of the session. What is locked in it is let go by the server alone, so that has to notice when
    nobody is there any more."""
    session = {
        "client_encoding": "UTF8",
        "statement_timeout": f"{limits.work:g}s",
        "lock_timeout": f"{limits.connect:g}s",
        "idle_in_transaction_session_timeout": f"{limits.work:g}s",
        "tcp_keepalives_idle": str(limits.vanished // 2),
        "tcp_keepalives_interval": str(max(1, limits.vanished // 6)),
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": str(limits.vanished * 1000),
    }
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS asked (name, value)",
        [list(session), list(session.values())],
    )
    # A number that Prometheus has scraped is never taken back.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


class _Lost(Exception):
    """The connection was lost with the work."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error
