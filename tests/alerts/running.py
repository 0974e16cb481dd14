"""A real Alertmanager in a process of its own, and the webhook to which it sends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import yaml
from aiohttp import web

from tests.alerts import scaling
from tests.service.running import PATIENCE, fetched, until

SHIPPED = Path(__file__).parents[2] / "alertmanager" / "alertmanager.yml"


class Told(NamedTuple):
    """An alert as a webhook was told of it."""

    receiver: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def is_of(self, alert: str, **labels: str) -> bool:
        return {**labels, "alertname": alert}.items() <= self.labels.items()


class Inbox:
    """What has arrived at the webhook, in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        notification = await request.json()
        self.told += [
            Told(request.path.strip("/"), alert["status"], alert["labels"], alert["annotations"])
            for alert in notification["alerts"]
        ]
        return web.Response()

    def last(self, alert: str, **labels: str) -> Told | None:
        """What was last told of an alert."""
        return next((told for told in reversed(self.told) if told.is_of(alert, **labels)), None)

    def names(self, **labels: str) -> set[str]:
        """The alerts with these labels that have ever fired."""
        found = [told for told in self.told if told.status == "firing" and labels.items() <= told.labels.items()]
        return {told.labels["alertname"] for told in found}

    async def until(self, status: str, alert: str, **labels: str) -> Told:
        """Waits until an alert was last told to be firing or resolved."""

        async def asked() -> Told | None:
            told = self.last(alert, **labels)
            return told if told is not None and told.status == status else None

        try:
            found = await until(asked)
        except AssertionError:
            raise AssertionError(f"{alert} {labels} is not {status}; there were {self.names()}") from None
        assert found is not None
        return found


@asynccontextmanager
async def inbox() -> AsyncIterator[Inbox]:
    """A webhook on a free port."""
    found = Inbox()
    app = web.Application()
    app.router.add_post("/{receiver}", found.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def post(self, alerts: Sequence[Mapping[str, str]]) -> None:
        """Alerts that fire, by their labels."""
        body = [{"labels": dict(labels), "annotations": {}} for labels in alerts]
        async with aiohttp.ClientSession() as session, session.post(f"{self.url}/api/v2/alerts", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def alerts(self) -> list[dict[str, Any]]:
        """Those that it knows, each with its status."""
        answer = await fetched(f"{self.url}/api/v2/alerts")
        found: list[dict[str, Any]] = json.loads(answer.text)
        return found

    async def ready(self) -> bool:
        return (await fetched(f"{self.url}/-/ready")).status == 200


@asynccontextmanager
async def alertmanager(folder: Path, webhook: str, *, factor: float = 1.0) -> AsyncIterator[Alertmanager]:
    """The shipped Alertmanager, which tells ``webhook`` instead, its waits shorter by ``factor``."""
    config = yaml.safe_load(SHIPPED.read_text().replace("http://webhook:9099", webhook))
    config["route"] = scaling.routes(config["route"], factor)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    log = folder / "alertmanager.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            "prometheus-alertmanager",
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
            stdout=file,
            stderr=file,
        )
    try:

        async def listening() -> str | None:
            assert process.returncode is None, log.read_text()
            found = re.search(r'"Listening on" address=(\S+)', log.read_text())
            return found and found[1]

        running = Alertmanager(f"http://{await until(listening)}")
        await until(running.ready)
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()
