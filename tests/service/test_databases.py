"""The exporter with its state in PostgreSQL, and the commands that move a state there and back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from tests.postgres import PASSWORD, SECRETIVE, Server
from tests.proxy import Fate, proxied
from tests.service.running import SALES, Ran, counts_of, exporting, kept, platform, ran, samples, started, written

COUNTED = (
    "unpod_tasks_created_total",
    "unpod_calls_total",
    "unpod_task_transitions_total",
    "unpod_call_cost_dollars_total",
)


async def command(folder: Path, *words: str, environ: dict[str, str] | None = None) -> Ran:
    return await ran(folder, *words, environ=environ)


def counted(told: Ran) -> dict[str, dict[str, float]]:
    assert told.code == 0, told.err
    shown = samples(told.out)
    return {family: counts_of(shown, family) for family in COUNTED}


async def test_a_state_moves_into_postgresql_and_back_and_counts_on(tmp_path: Path, database: str) -> None:
    async with platform(SALES, history=1.0) as made:
        written(tmp_path, made.settings())
        file, there, back = (tmp_path / name for name in ("first.db", "moved.jsonl", "again.jsonl"))
        before = counted(await command(tmp_path, "once", "--state.path", str(file)))
        # Nothing is asked of the platform, so neither settings nor a token are needed.
        (tmp_path / "config.yaml").rename(tmp_path / "away")
        told = await command(tmp_path, "state", "export", "--state.path", str(file), str(there))
        assert (told.code, told.out) == (0, ""), told.err
        assert "exported from" in told.err
        assert there.stat().st_mode & 0o077 == 0
        told = await command(tmp_path, "state", "import", "--state.url", database, str(there))
        assert told.code == 0, told.err
        (tmp_path / "away").rename(tmp_path / "config.yaml")
        assert counted(await command(tmp_path, "once", "--state.url", database)) == before
        piped = await command(tmp_path, "state", "export", "--state.url", database, "-")
        assert piped.code == 0
        back.write_text(piped.out, encoding="utf-8")
        told = await command(tmp_path, "state", "import", "--state.path", str(tmp_path / "last.db"), str(back))
        assert told.code == 0, told.err
        assert counted(await command(tmp_path, "once", "--state.path", str(tmp_path / "last.db"))) == before


IMPOSSIBLE = (
    (("export", "--state.path", "none.db", "out"), "there is no state to export: state.path is none.db"),
    (("export", "--state.path", "memory", "out"), "there is no state to export: state.path is memory"),
    (("import", "--state.path", "memory", "config.yaml"), "state.path is memory, which keeps nothing"),
    (("import", "--state.path", "new.db", "config.yaml"), "config.yaml is no state that was exported (line 1)"),
    (("import", "--state.path", "new.db", "none"), "none: No such file or directory"),
    (("export", "--state.path", "full.db", "config.yaml"), "it exists already; name another file"),
    (("export", "--state.path", "full.db", "no/such/folder"), "No such file or directory"),
)


async def test_what_cannot_be_moved_is_told_in_one_line_and_changes_nothing(tmp_path: Path) -> None:
    async with platform(SALES, history=1.0) as made:
        config = written(tmp_path, made.settings())
        before = config.read_text(encoding="utf-8")
        await command(tmp_path, "once", "--state.path", "full.db")
        for words, said in IMPOSSIBLE:
            told = await command(tmp_path, "state", *words)
            assert told.code == 1
            assert said in told.complaint
        assert not (tmp_path / "out.part").exists()
        assert not (tmp_path / "new.db").exists()
        assert config.read_text(encoding="utf-8") == before


async def test_a_state_in_use_is_neither_exported_nor_filled(tmp_path: Path, database: str) -> None:
    async with platform(SALES, history=1.0) as made:
        settings = made.settings(state={"url": database})
        async with exporting(tmp_path, settings, state=None) as process:
            shown = await process.ready()
            assert shown["unpod_exporter_state_size_bytes"] > 0
            assert shown["unpod_exporter_state_created_timestamp_seconds"] > 0
            assert shown["unpod_exporter_state_commit_duration_seconds_count"] > 0
            page = (await process.get("/")).text
            assert database.partition("@")[2] in page
            await command(tmp_path, "once", "--state.path", "file.db")
            await command(tmp_path, "state", "export", "--state.path", "file.db", "moved.jsonl")
            for words in (("export", "out.jsonl"), ("import", "moved.jsonl")):
                told = await command(tmp_path, "state", words[0], "--state.url", database, words[1])
                assert told.code == 1
                assert "in use by another exporter (unpod-exporter from 127.0.0.1)" in told.complaint
            probed = await command(tmp_path, "check", "--probe")
            assert "PostgreSQL" in probed.out
            assert "the state is in use by unpod-exporter from 127.0.0.1" in probed.out


async def test_the_password_is_shown_nowhere(tmp_path: Path, postgres_server: Server, database: str) -> None:
    name = database.rpartition("/")[2]
    with postgres_server.admin(name) as admin:
        admin.execute(f"GRANT CREATE ON DATABASE {name} TO {SECRETIVE}".encode())
    (tmp_path / "password").write_text(PASSWORD)
    async with platform(SALES, history=1.0) as made:
        state = {"url": postgres_server.url(name, user=SECRETIVE), "password_file": "password"}
        async with exporting(tmp_path, made.settings(state=state), state=None) as process:
            await process.ready()
            for path in ("/", "/config", "/metrics"):
                assert PASSWORD not in (await process.get(path)).text
            assert "password_file: " in (await process.get("/config")).text
            postgres_server.cut(database)
            await process.polled(2)
            assert PASSWORD not in process.err + process.out
        (tmp_path / "password").write_text("of somebody else")
        told = await command(tmp_path, "check", "--probe")
        assert told.code == 1
        assert "wrong  state: " in told.out
        assert "password authentication failed" in told.out
        assert "of somebody else" not in told.out + told.err
        told = await command(tmp_path, "once", environ={"PGPASSWORD": PASSWORD})
        assert told.code == 1, "the file comes before the environment"


def test_who_needs_no_database_does_not_wait_for_its_library() -> None:
    loaded = "import sys, exporter.cli, exporter.service; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


async def test_whoever_lacks_the_library_is_told_how_to_get_it(tmp_path: Path) -> None:
    script = tmp_path / "without.py"
    script.write_text(
        "import sys\nsys.modules['psycopg'] = None\nfrom exporter.cli import main\nmain()\n", encoding="utf-8"
    )
    async with platform(SALES, history=1.0) as made:
        written(tmp_path, made.settings(state={"url": "postgresql://db/unpod"}))
        async with started(tmp_path, "once", module=str(script)) as process:
            told = await process.end()
    assert told.code == 1
    assert "state.url needs psycopg" in told.complaint
    assert "pip install 'unpod-exporter[postgresql]'" in told.complaint


async def test_scrapes_wait_for_no_database(tmp_path: Path, postgres_server: Server, database: str) -> None:
    held = asyncio.Event()

    def hold(direction: str, data: bytes) -> Fate:
        held.set()
        return Fate.HELD

    async with proxied(postgres_server.port) as proxy, platform(SALES, history=1.0) as made:
        settings = made.settings(state={"url": proxy.url(database)}, polling={"interval": "100ms"})
        async with exporting(tmp_path, settings, state=None) as process:
            before = await process.ready()
            proxy.rule = hold
            async with asyncio.timeout(60):
                await held.wait()
            for path in ("/metrics", "/", "/-/healthy"):
                assert (await process.get(path)).status == 200
            assert kept(await process.numbers()) == kept(before)
            await process.stop(signal.SIGKILL)
