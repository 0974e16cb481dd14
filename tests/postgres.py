"""A real PostgreSQL server of the tests' own: made when it is first asked for, gone when they end."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

_DEBIAN: Final = "/usr/lib/postgresql"
_SETTINGS: Final = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
max_connections = 50
shared_buffers = 32MB
fsync = {fsync}
full_page_writes = {fsync}
autovacuum_naptime = 10s
logging_collector = off
"""
SECRETIVE: Final = "secretive"
"""A user who is asked for a password, over TCP."""
PASSWORD: Final = "opens the tests' own database"
_ACCESS: Final = f"""
local all all trust
host all {SECRETIVE} 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""


def _programs() -> Path:
    """Where the server's programs are: those of the newest version."""
    versions = Path(_DEBIAN).glob("*/bin/initdb")
    found = sorted(versions, key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("initdb")
    if not found and elsewhere is None:
        raise FileNotFoundError("no PostgreSQL server; on Debian and Ubuntu: apt-get install postgresql")
    return found[-1].parent if found else Path(str(elsewhere)).parent


class Server:
    """A server that listens on a TCP port of 127.0.0.1 and on a socket, and trusts whoever comes, but for
    ``SECRETIVE``. It runs as an ordinary user, since it refuses to run as root."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = _free_port()
        self._programs = _programs()
        self._user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        self._named = "nobody" if self._user else getpass.getuser()
        if self._user:
            self._user["group"] = pwd.getpwnam("nobody").pw_gid
            shutil.chown(folder, "nobody")
        self._empty: list[str] = []
        self._names = (f"test_{number}" for number in count(1))
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        (self.data / "pg_hba.conf").write_text(_ACCESS)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(_SETTINGS.format(folder=folder, fsync="on" if durable else "off"))

    def start(self) -> None:
        """Returns when it takes connections."""
        self._control("start", "-l", self.folder / "log", "-o", f"-p {self.port}")

    def stop(self, mode: str = "fast") -> None:
        """``fast`` ends all sessions first, ``immediate`` is as good as a crash."""
        self._control("stop", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def reload(self) -> None:
        """Makes changed settings hold."""
        self._control("reload")

    def encrypt(self, cert: Path, key: Path) -> None:
        """Takes TLS as well from now on."""
        for name, file in (("server.crt", cert), ("server.key", key)):
            shutil.copy(file, self.data / name)
            if self._user:
                shutil.chown(self.data / name, "nobody", self._user["group"])
            (self.data / name).chmod(0o600)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")
        self.reload()

    def database(self, *, template: str = "template1") -> str:
        """The URL of a new database, over TCP."""
        name = next(self._names)
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self.admin() as admin:
            admin.execute(made)
        return self.url(name)

    def drop(self, url: str) -> None:
        """Away with a database."""
        dropped = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(url.rpartition("/")[2]))
        with self.admin() as admin:
            admin.execute(dropped)

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of an empty database. Since to make one takes long, it is emptied and lent again afterwards."""
        url = self._empty.pop() if self._empty else self.database()
        yield url
        with self.admin(url.rpartition("/")[2]) as admin:
            cut_others(admin)
            admin.execute("DROP SCHEMA IF EXISTS unpod_exporter CASCADE")
        self._empty.append(url)

    def url(self, database: str, *, user: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def local_url(self, database: str) -> str:
        """Over the socket."""
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    @contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection of a superuser, outside a transaction."""
        with psycopg.connect(self.local_url(database), autocommit=True) as connection:
            yield connection

    def cut(self, url: str) -> int:
        """Ends all sessions of a database, as a failover does; returns how many."""
        with self.admin(url.rpartition("/")[2]) as admin:
            return cut_others(admin)

    def _control(self, what: str, *options: object) -> None:
        self._run("pg_ctl", what, "-D", self.data, "-w", "-s", *options)

    def _run(self, program: str, *options: object) -> None:
        command = [str(self._programs / program), *map(str, options)]
        # Not captured by a pipe: the server would hold it open.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, cwd="/", check=False, **self._user
            )
            if done.returncode:
                said.seek(0)
                log = self.folder / "log"
                raise RuntimeError(f"{program} failed: {said.read()}\n{log.read_text() if log.exists() else ''}")


def cut_others(admin: psycopg.Connection[Any]) -> int:
    """Ends all sessions of the database that this one is of, but for this one; returns how many."""
    return admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).rowcount


@contextmanager
def running(*, durable: bool = False) -> Iterator[Server]:
    """A server of its own; ``durable``: what is committed survives a power cut."""
    # Not below pytest's folder, which nobody but its owner can enter, and whose path is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="unpod-pg-"))
    try:
        server = Server(folder, durable=durable)
        server.start()
        try:
            with server.admin() as admin:
                password = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                admin.execute(password.format(sql.Identifier(SECRETIVE), sql.Literal(PASSWORD)))
            yield server
        finally:
            if (server.data / "postmaster.pid").exists():
                server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
