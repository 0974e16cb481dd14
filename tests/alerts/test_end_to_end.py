"""From a fault of the simulated platform to somebody who is told, and told when it is over: every part is real.

The shipped rules and routes, with all their times shorter by ``FACTOR``; the platform, the exporter, Prometheus and
Alertmanager run in real time. The troubles go on side by side, each at an agent of its own, and one agent has none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import yaml

from exporter.simulator.faults import Faults
from exporter.simulator.profiles import Profile
from exporter.simulator.runner import serve
from exporter.simulator.world import World
from tests.alerts import scaling
from tests.alerts.promtool import RULES
from tests.alerts.running import Alertmanager, Inbox, alertmanager, inbox
from tests.prometheus.running import Prometheus, prometheus
from tests.service.running import ORGANISATION, TOKEN, Process, exporting, until

FACTOR = 240.0
"""An hour passes in 15 seconds."""
TICK = "400ms"
"""Between two scrapes, and between two evaluations: three of them in the shortest range, 5 minutes."""
BUSY = Profile(
    handle="well",
    tasks_per_hour=60.0,
    live_tasks_per_hour=4 * 3600.0,
    styles=((1, "vapi"),),
    connected=0.8,
    broken=0.0,
    talk=(0.2, 0.6),
    ring=(0.1, 0.2),
    queue=0.1,
    ahead=0.0,
    neglected=0.0,
    held=0.0,
    stuck=0.0,
    unstarted=0.0,
    max_retries=2,
    retry_unanswered=0.2,
    retry_delay=(0.1, 0.3),
    unanswered_completes=1.0,
    recovered=0.0,
    restarted=0.0,
    redialled=0.0,
    stub=0.0,
    judged_later=0.0,
    silent=0.0,
)


class Trouble(NamedTuple):
    """What goes wrong at an agent, and the alert that must tell of it."""

    alert: str
    agent: str
    habits: Mapping[str, Any] = {}
    fault: Mapping[str, Any] | None = None
    labels: Mapping[str, str] = {}
    """Of the alert, beside the agent."""
    receiver: str = "team"


AT_AN_AGENT = (
    Trouble("UnpodFailuresBurnFast", "failing", {"unstarted": 1.0}, receiver="on-call"),
    # Most are called again: where the tasks failed, too, something critical would mute it.
    Trouble("UnpodPipelineErrors", "broken", {"broken": 0.6, "max_retries": 20}, labels={"end_reason": "llm_error"}),
    Trouble("UnpodSilentCalls", "silent", {"silent": 1.0}),
    Trouble("UnpodNoCallsEnded", "dead", {"queue": 1e9}, receiver="on-call"),
    Trouble("UnpodRetryStorm", "storm", {"connected": 0.0, "retry_unanswered": 1.0, "max_retries": 1000}),
)
AT_THE_PLATFORM = (
    Trouble(
        "UnpodTokenRejected",
        "",
        fault={"kind": "unauthorized", "endpoint": "agents"},
        labels={"job": "unpod"},
        receiver="on-call",
    ),
    Trouble("UnpodAgentDown", "down", fault={"kind": "server_error"}),
)
"""One after the other: the first mutes the second, and the end of what is muted is never told."""
HANDLES = ("well", *(trouble.agent for trouble in (*AT_AN_AGENT, *AT_THE_PLATFORM) if trouble.agent))


class Parts(NamedTuple):
    """What is running."""

    platform: str
    exporter: Process
    prometheus: Prometheus
    manager: Alertmanager
    inbox: Inbox

    async def send(self, method: str, path: str, body: Any = None) -> None:
        """To one of the platform's own doors."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.platform + path, data=msgspec.json.encode(body)) as answer,
        ):
            assert answer.status == 200, await answer.text()

    async def begin(self, trouble: Trouble) -> None:
        """From now on it goes wrong."""
        if trouble.fault:
            await self.send("POST", "/_faults", [{**trouble.fault, "agent": trouble.agent or None}])
        if trouble.habits:
            await self.send("POST", "/_habits", {trouble.agent: trouble.habits})

    async def end(self, trouble: Trouble) -> None:
        """From now on it goes well again."""
        if trouble.fault:
            await self.send("DELETE", "/_faults")
        if trouble.habits:
            await self.send("POST", "/_habits", {trouble.agent: {name: getattr(BUSY, name) for name in trouble.habits}})


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Parts]:
    """All parts, with an agent for each trouble and one that is well."""
    profiles = [msgspec.structs.replace(BUSY, handle=handle) for handle in HANDLES]
    world = World(seed=7, now=time.time(), agents=profiles, history=0.2, odd_listing=False)
    async with (
        inbox() as found,
        serve(world, clock=time.time, token=TOKEN, org=ORGANISATION, faults=Faults()) as platform,
        alertmanager(folder, found.url, factor=FACTOR) as manager,
        exporting(folder, _settings(platform)) as exporter,
    ):
        target = (await exporter.url()).removeprefix("http://")
        async with prometheus(folder, _scraping(folder, target, manager.url)) as scraping:
            yield Parts(platform, exporter, scraping, manager, found)


def _settings(platform: str) -> dict[str, Any]:
    return {
        "api": {"base_url": platform, "token": TOKEN, "org_handle": ORGANISATION, "requests_per_minute": 100_000},
        "polling": {"interval": "500ms", "max_staleness": "3s", "settling_time": "1s", "overdue_grace": "1s"},
        "discovery": {"enabled": True, "interval": "500ms"},
        # Calls of these agents last less than a second: without a bucket of 10 s they are not judged by that.
        "metrics": {"call_duration_buckets": [1, 60]},
    }


def _scraping(folder: Path, target: str, manager: str) -> dict[str, Any]:
    files = []
    for path in RULES:
        files.append(folder / path.name)
        files[-1].write_text(yaml.safe_dump(scaling.rules(yaml.safe_load(path.read_text()), FACTOR)))
    return {
        "global": {"scrape_interval": TICK, "scrape_timeout": TICK, "evaluation_interval": TICK},
        "scrape_configs": [{"job_name": "unpod", "static_configs": [{"targets": [target]}]}],
        "rule_files": [str(file) for file in files],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager.removeprefix("http://")]}]}]},
    }


async def test_what_goes_wrong_is_told_to_a_person_and_so_is_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.prometheus.until("count(agent:unpod_calls:increase1h > 20)", len(HANDLES))
        assert parts.inbox.names() == set(), "nothing goes wrong yet"
        await asyncio.gather(
            one_after_the_other(parts, AT_THE_PLATFORM), *(comes_and_goes(parts, trouble) for trouble in AT_AN_AGENT)
        )
        for area in ("work", "calls", "money"):
            assert parts.inbox.names(agent="well", area=area) == set(), "one agent among many was well all the time"
        await the_exporter_goes_and_comes_back(tmp_path, parts)


async def one_after_the_other(parts: Parts, troubles: Sequence[Trouble]) -> None:
    for trouble in troubles:
        await comes_and_goes(parts, trouble)


async def comes_and_goes(parts: Parts, trouble: Trouble) -> None:
    """A trouble begins and is told, then ends, and that is told: at once, since what fails for long is asked rarely."""
    labels = {**({"agent": trouble.agent} if trouble.agent else {}), **trouble.labels}
    await parts.begin(trouble)
    told = await parts.inbox.until("firing", trouble.alert, **labels)
    assert told.receiver == trouble.receiver
    assert trouble.agent in told.annotations["description"]
    assert told.annotations["runbook_url"].endswith(f"/{trouble.alert}.md")
    await parts.end(trouble)
    await parts.inbox.until("resolved", trouble.alert, **labels)


async def the_exporter_goes_and_comes_back(folder: Path, parts: Parts) -> None:
    address = (await parts.exporter.url()).removeprefix("http://")
    await parts.exporter.stop()
    before = len(parts.inbox.told)
    told = await parts.inbox.until("firing", "UnpodExporterDown", job="unpod")
    assert told.receiver == "on-call"
    await parts.prometheus.until('count(ALERTS{alertname="UnpodAgentUnseen",alertstate="firing"})', len(HANDLES))
    await until_all_are_muted(parts.manager, "UnpodAgentUnseen")
    meanwhile = {one.labels["alertname"] for one in parts.inbox.told[before:] if one.status == "firing"}
    assert "UnpodAgentUnseen" not in meanwhile, "that nobody shows the agents is the same news"
    async with exporting(folder, _settings(parts.platform), listen=address):
        await parts.inbox.until("resolved", "UnpodExporterDown", job="unpod")


async def until_all_are_muted(manager: Alertmanager, alert: str) -> None:
    async def asked() -> bool:
        known = [one for one in await manager.alerts() if one["labels"]["alertname"] == alert]
        return len(known) == len(HANDLES) and all(one["status"]["inhibitedBy"] for one in known)

    await until(asked)
