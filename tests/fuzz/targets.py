"""The targets: each takes bytes from a stranger, and fails where anything comes of them but what is promised."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from exporter.config import Config, ConfigError, load
from exporter.config.access import WebConfig, load_web
from exporter.exposition import catalog
from exporter.exposition.lines import Format
from exporter.exposition.negotiation import choose, wants_gzip
from exporter.exposition.render import Board
from exporter.tracking.ledger import Look, observe
from exporter.tracking.records import Record, pack, unpack
from exporter.tracking.report import Gauge, Report
from exporter.tracking.tallies import Draft, Limits, families, plus, tasks
from exporter.unpod import answers
from exporter.unpod.answers import Answer
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Page
from exporter.web.listen import Address, parse_listen_address

NOW: Final = 1_770_000_000.0
SECRET: Final = "s3cret-of-the-environment"
HASH: Final = "$2y$10$" + "s3cretOfAUser" + "." * 40
_SHOWN: Final = catalog.Settings(history=None)
_LIMITS: Final = Limits(buckets=dict(catalog.buckets(_SHOWN)), end_codes=3, numbers=3)
_LATER: Final = 86_400.0
"""Seconds after which nothing waits for more details."""


def page(body: bytes) -> None:
    """A page of tasks is a page or a typed error; its tasks are counted once, however often they are read, survive the
    state, and can be shown."""
    try:
        read = _page(Answer(where="here", status=200, body=body))
    except UnpodError:
        return
    once = Draft(_LIMITS, {})
    known = _look(read, {}, NOW, once)
    again = Draft(_LIMITS, once.added)
    known = _look(read, known, NOW, again)
    assert not any(again.added.values()), "the same page counted twice"
    later = Draft(_LIMITS, once.added)
    _look(read, known, NOW + _LATER, later)
    numbers = plus(once.added, later.added)
    assert all(number >= 0 for number in numbers.values())
    _show(numbers)


def _page(answer: Answer) -> Page:
    return asyncio.run(answers.page(answer, number=1, size=200, now=NOW))


def _look(read: Page, known: Mapping[str, Record], now: float, draft: Draft) -> dict[str, Record]:
    """Each task looked at, its record stored and taken up again."""
    seen = dict(known)
    # Of documents with the same identity on one page the last counts.
    for task in {task.id: task for task in read.tasks}.values():
        record = observe(seen.get(task.id), task, Look(now=now, settling=600.0, keep_numbers=True), draft)
        seen[task.id] = unpack(pack(record), record.created)
        assert seen[task.id] == record, "the state keeps another record"
    return seen


def _show(numbers: Mapping[tuple[str, ...], int]) -> None:
    board = Board(catalog.families(_SHOWN))
    shown = {**families(numbers, _LIMITS, {"": NOW}), "tasks": Gauge(tasks(numbers))}
    board.publish(Report(agent="agent", families=shown, fresh_until=NOW))
    for form in Format:
        board.render(form, NOW).decode()


def agents(body: bytes) -> None:
    """A list of agents is a list or a typed error; no handle is empty or stands in it twice."""
    try:
        listed = answers.agents(Answer(where="here", status=200, body=body), now=NOW)
    except UnpodError:
        return
    handles = [agent.handle for agent in listed.agents]
    assert all(handles)
    assert len(set(handles)) == len(handles)


def refusal(data: bytes) -> None:
    """An answer that is no success is a typed error whose text holds nothing of its headers but a host."""
    status = 100 + int.from_bytes(data[:2]) % 500
    header = data[2:].decode("latin-1")
    answer = Answer(where="here", status=status, retry_after=header, location=header)
    assert _refusal(lambda: _page(answer), UnpodError).isprintable()
    pause = answers.retry_after(header, NOW)
    assert pause is None or 0 <= pause <= answers.LONGEST_PAUSE
    quota = answers.quota(Answer(where="here", status=status, quota=(header, header, header)), NOW)
    assert quota is None or quota.seconds > 0


def config(text: bytes) -> None:
    """Settings are good, or refused in lines that begin with the file; no secret is in what is shown of either."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(text)
        good: list[Config] = []
        refusal = _refusal(lambda: good.append(load(path, {"UNPOD_API_TOKEN": SECRET})), ConfigError)
        assert bool(good) != bool(refusal)
        assert all(line.startswith(str(path)) for line in refusal.splitlines())
        assert SECRET not in refusal + repr(good)


def web_config(text: bytes) -> None:
    """A web config is good, or refused in lines that begin with the file; no hash is in what is shown of either."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "web.yaml"
        path.write_bytes(text)
        good: list[WebConfig] = []
        refusal = _refusal(lambda: good.append(load_web(path)), ConfigError)
        assert bool(good) != bool(refusal)
        assert all(line.startswith(str(path)) for line in refusal.splitlines())
        assert HASH not in refusal + repr(good)


def headers(data: bytes) -> None:
    """Whatever is accepted, a format is chosen."""
    accept, _, encoding = data.decode("latin-1").partition("\n")
    assert choose(accept) in Format
    assert wants_gzip(encoding) in (True, False)


def address(data: bytes) -> None:
    """An address to listen on is one, or refused with an example of a good one."""
    good: list[Address] = []
    refusal = _refusal(lambda: good.append(parse_listen_address(data.decode("latin-1"))), ValueError)
    assert all(0 <= found.port <= 65_535 for found in good)
    assert good or "for example" in refusal


def _refusal(read: Callable[[], object], kind: type[Exception]) -> str:
    """What is said where something is refused; empty where it is not."""
    try:
        read()
    except kind as error:
        return str(error)
    return ""


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (page, agents, refusal, config, web_config, headers, address)
}
