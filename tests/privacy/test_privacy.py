"""Nothing of a person leaves the answers of the platform, whether they succeed or fail, and wherever one looks."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from exporter import logs
from exporter.config import load
from exporter.exposition.lines import Format
from exporter.service import Clock, Exporter, assembled
from exporter.unpod.errors import REASONS
from tests.privacy.secrets import (
    AGENTS,
    API_TOKEN,
    EMAIL,
    FAILURES,
    HINDI_NAME,
    IDS,
    NAME,
    ODDITIES,
    OWN_NUMBER,
    PHONE,
    SECRETS,
    TASKS,
    TOO_MUCH,
    Reply,
    envelope,
    found,
    said,
)
from tests.service.running import counts_of, exporting, fetched, json_line, ran, samples, written

ORGANISATION = "made-up-org"


SOMEHOW = {"too much": TOO_MUCH}


class Gossip:
    """A platform that tells everything about everybody."""

    def __init__(self) -> None:
        self.url = ""
        self.tasks: dict[str, Reply] = {"sales": ODDITIES["as it should be"], "broken": FAILURES["206 with errors"]}
        self.list = said(envelope(AGENTS))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        handle = request.match_info.get("handle")
        return await (self.list if handle is None else self.tasks[handle])(request)

    def settings(self, **metrics: int) -> dict[str, Any]:
        return {
            "api": {
                "base_url": self.url,
                "token": API_TOKEN,
                "org_handle": ORGANISATION,
                "timeout": "500ms",
                "max_response_bytes": "1MiB",
                "requests_per_minute": 100_000,
            },
            "polling": {"interval": "100ms", "settling_time": "0s"},
            "metrics": {"end_codes_limit": 1000, **metrics},
        }


@asynccontextmanager
async def gossiping() -> AsyncIterator[Gossip]:
    made = Gossip()
    app = web.Application()
    app.router.add_get("/api/v2/platform/agents/", made.answer)
    app.router.add_get("/api/v2/platform/agents/{handle}/tasks/", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


@contextmanager
def logging_to(stream: io.StringIO, form: logs.Format) -> Iterator[Any]:
    """A log at debug level, as the exporter writes it; afterwards logging is what it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    chatty = {name: logging.getLogger(name).level for name in ("aiohttp.access", "asyncio")}
    try:
        yield logs.configure("debug", form, stream)()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in chatty.items():
            logging.getLogger(name).setLevel(before)


def shown_by(exporter: Exporter) -> dict[str, str | bytes]:
    """All that the exporter would show now."""
    scrape = exporter.scrape
    return {
        "text": scrape.text(Format.TEXT),
        "openmetrics": scrape.text(Format.OPENMETRICS),
        "status": repr(exporter.overview.status()),
        "repr": repr(vars(exporter)),
    }


def state_files(folder: Path) -> dict[str, str | bytes]:
    """The bytes of the state and of what lies beside it."""
    return {path.name: path.read_bytes() for path in folder.glob("state.db*")}


def test_the_search_finds_what_it_looks_for_in_any_disguise() -> None:
    for secret in (NAME, EMAIL, PHONE, HINDI_NAME, API_TOKEN, IDS[0]):
        disguises = {
            "plain": f"x {secret} y",
            "loud": secret.upper(),
            "slug": secret.lower().replace(" ", "-"),
            "percent": quote(secret),
            "json": json.dumps({"x": secret}),
            "base64": base64.b64encode(f'{{"x": "{secret}"}}'.encode()),
            "base64, shifted": base64.urlsafe_b64encode(f'{{"yx": "{secret}"}}'.encode()),
            "base64, shifted again": base64.b64encode(f'{{"zyx": "{secret}"}}'.encode()),
            "hex": secret.encode().hex(),
            "bytes": b"\0\1" + secret.encode() + b"\2",
        }
        assert {place for one, place in found(disguises) if one == secret} == disguises.keys(), secret
    assert found({"nothing": "unpod_calls_total 3"}) == []


@pytest.mark.parametrize("form", logs.FORMATS)
async def test_through_every_success_and_failure_nothing_private_is_shown_logged_or_kept(
    tmp_path: Path, form: logs.Format
) -> None:
    stream, told = io.StringIO(), dict[str, str | bytes]()
    config = written(tmp_path, {})
    async with gossiping() as platform:
        written(tmp_path, platform.settings())
        settings = load(config, os.environ, state_path=str(tmp_path / "state.db"))
        with logging_to(stream, form) as log:
            passed = 0.0
            # Time passes between two failures: a token that was refused just now would not be tried again.
            clock = Clock(elapsed=lambda: time.monotonic() + passed)
            async with assembled(settings, log, clock) as exporter:
                seen = set()
                for name, reply in {**ODDITIES, **FAILURES, **SOMEHOW, "at last": ODDITIES["as it should be"]}.items():
                    platform.tasks["sales"] = reply
                    passed += 3600.0
                    outcome = (await exporter.fleet.once())["sales"]
                    assert name in SOMEHOW or (outcome.error is None) is (name not in FAILURES), (name, outcome.error)
                    seen.add(outcome.reason)
                    told |= {f"{name}: {place}": content for place, content in shown_by(exporter).items()}
                    told[f"{name}: error"] = f"{outcome.error} {outcome.error!r} {outcome.error_in_words}"
                told |= {f"{file}, open": content for file, content in state_files(tmp_path).items()}
                told |= await list_failures(platform, exporter)
        told |= state_files(tmp_path)
    told["log"] = stream.getvalue()
    assert seen >= set(REASONS) - {"internal", "too_large"}
    assert {"state.db", "state.db-wal, open", "state.db-shm, open", "state.db.lock"} <= told.keys()
    assert found(told) == []
    shown = samples(told["at last: text"].decode())
    assert shown['unpod_tasks_reported{agent="sales"}'] == len(TASKS)
    assert sum(counts_of(shown, "unpod_exporter_unknown_values_total").values()) > 50, "every field was full of it"
    assert stream.getvalue().count("poll failed") > 20


async def list_failures(platform: Gossip, exporter: Exporter) -> Mapping[str, str]:
    """What is told of a list of agents that cannot be read."""
    told = {}
    for name, reply in FAILURES.items():
        platform.list = reply
        await exporter.fleet.once()
        if exporter.fleet.lacks_agents:
            told[f"list, {name}"] = exporter.overview.status().notice
    assert len(told) > 20
    return told


@pytest.mark.parametrize("form", logs.FORMATS)
async def test_a_process_shows_nothing_private_on_any_page_or_stream(tmp_path: Path, form: logs.Format) -> None:
    async with gossiping() as platform:
        flags = ("--log.level", "debug", "--log.format", form)
        async with exporting(tmp_path, platform.settings(), *flags) as process:
            # Its log may be JSON: the address is in there somewhere.
            await process.until(lambda: "listening" in process.err)
            address = await listening(process.err, form)
            pages = await asyncio.gather(
                *(
                    page(f"http://{address}{path}")
                    for path in ("/metrics", "/", "/api/agents", "/-/ready", "/-/healthy")
                )
            )
            await process.until(lambda: process.err.count("history read") == 1 and "poll failed" in process.err)
            pages += await asyncio.gather(
                *(
                    page(f"http://{address}{path}", **headers)
                    for path in ("/metrics", "/", "/api/agents")
                    for headers in ({}, {"Accept": "application/openmetrics-text"})
                )
            )
            told: dict[str, str | bytes] = {f"page {number}": content for number, content in enumerate(pages)}
            told |= {f"{file}, open": content for file, content in state_files(tmp_path).items()}
            assert (await process.stop()).code == 0
        told |= {"out": process.out, "err": process.err, **state_files(tmp_path)}
        assert found(told) == []
        assert "206" in process.err


async def listening(err: str, form: logs.Format) -> str:
    """The address in the log."""
    line = next(line for line in err.splitlines() if "listening" in line)
    told: str = json_line(line)["addresses"] if form == "json" else line.partition("addresses=")[2].split()[0]
    return told


async def page(url: str, **headers: str) -> bytes:
    answer = await fetched(url, headers=headers)
    return f"{answer.headers}".encode() + answer.body


@pytest.mark.parametrize("form", logs.FORMATS)
async def test_once_and_agents_print_nothing_private(tmp_path: Path, form: logs.Format) -> None:
    async with gossiping() as platform:
        written(tmp_path, platform.settings())
        once = await ran(tmp_path, "once", "--state.path", "state.db", "--log.level", "debug", "--log.format", form)
        moved = await ran(tmp_path, "state", "export", "--state.path", "state.db", "state.db.jsonl")
        agents = await ran(tmp_path, "agents")
        platform.list = FAILURES["HTTP 401"]
        refused = [await ran(tmp_path, command) for command in ("agents", "once")]
    assert (once.code, moved.code, agents.code) == (1, 0, 0)
    assert "unpod_calls_total" in once.out
    assert "broken" in agents.out
    assert [one.code for one in refused] == [1, 1]
    told = {f"{number}": f"{one.out}{one.err}" for number, one in enumerate((once, moved, agents, *refused))}
    assert found(told | state_files(tmp_path)) == []


async def test_with_numbers_asked_for_only_the_organisations_own_appear(tmp_path: Path) -> None:
    async with gossiping() as platform:
        config = written(tmp_path, platform.settings(numbers_limit=10))
        settings = load(config, os.environ, state_path=str(tmp_path / "state.db"))
        stream = io.StringIO()
        with logging_to(stream, "json") as log:
            async with assembled(settings, log) as exporter:
                assert (await exporter.fleet.once())["sales"].error is None
                told = shown_by(exporter)
        told |= {"log": stream.getvalue(), **state_files(tmp_path)}
    shown = samples(told["text"].decode())
    numbers = {key.partition('number="')[2].partition('"')[0] for key in counts_of(shown, "unpod_number_calls_total")}
    assert OWN_NUMBER in numbers
    assert numbers - {OWN_NUMBER, PHONE} <= {"other", "unknown"}
    # In one of the tasks every field is the person's number, the organisation's own included: it is told as such.
    assert found(told, but=(PHONE, PHONE[1:], PHONE[3:])) == []
    assert all(OWN_NUMBER not in content for content in (told["log"], told["status"]))
    assert set(SECRETS) >= {PHONE, PHONE[1:], PHONE[3:]}
