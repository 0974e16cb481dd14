"""A simulated platform on a real port, a plain client for it, and a day of its documents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from exporter.simulator.faults import Fault, Faults
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile
from exporter.simulator.runner import serve
from exporter.simulator.world import World

NOW = 1_770_000_000.0
HEADERS = {"Authorization": "Token demo-token", "Org-Handle": "demo-org"}
SMALL = Profile(handle="small", tasks_per_hour=60.0)


class Answered(msgspec.Struct):
    """An answer as it arrived."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        return [task["task_id"] for task in self.json["data"]]


class Visitor:
    """A client without any cleverness: one request, one answer, no redirects."""

    def __init__(self, url: str, session: aiohttp.ClientSession, world: World, faults: Faults) -> None:
        self.url, self._session, self.world, self.faults = url, session, world, faults
        self.now = NOW
        self.served: list[tuple[str, Sequence[str], float]] = []

    async def ask(self, path: str, *, method: str = "GET", **options: Any) -> Answered:
        options.setdefault("headers", HEADERS)
        async with self._session.request(method, self.url + path, allow_redirects=False, **options) as answer:
            return Answered(answer.status, dict(answer.headers), await answer.read())

    async def tasks(self, query: str = "", handle: str = "small") -> Answered:
        return await self.ask(f"/api/v2/platform/agents/{handle}/tasks/{query}")

    async def under(self, kind: str, query: str = "?page_size=10", **options: Any) -> Answered:
        self.faults.clear()
        self.faults.add(Fault(kind=kind, **options))
        return await self.tasks(query)


@asynccontextmanager
async def visiting(world: World, **options: Any) -> AsyncIterator[Visitor]:
    faults = Faults()
    visitor: Visitor

    def clock() -> float:
        return visitor.now

    def served(handle: str, ids: Sequence[str], now: float) -> None:
        visitor.served.append((handle, ids, now))

    timeout = aiohttp.ClientTimeout(total=5)
    async with (
        serve(world, clock=clock, faults=faults, on_served=served, **options) as url,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        visitor = Visitor(url, session, world, faults)
        yield visitor


@pytest.fixture
def open_platform() -> Any:
    """Starts a platform for a world, with the options of ``serve``."""
    return visiting


@pytest.fixture
def make_world() -> Any:
    """A small world, unless told otherwise."""

    def make(*agents: Profile, seed: int = 7, history: float = 1.0, **options: Any) -> World:
        return World(seed=seed, now=NOW, agents=agents or (SMALL,), history=history, **options)

    return make


@pytest.fixture
async def visitor(make_world: Any) -> AsyncIterator[Visitor]:
    """A client of a small world: one agent, about sixty tasks."""
    async with visiting(make_world()) as found:
        yield found


@pytest.fixture(scope="session")
def day_of_documents() -> list[tuple[bytes, dict[str, Any]]]:
    """Every document that was seen during a day of the default agents, looked at every quarter of an hour."""
    calm = [msgspec.structs.replace(profile, live_tasks_per_hour=None) for profile in DEFAULT_PROFILES]
    world = World(seed=7, now=NOW, agents=calm, history=6.0)
    seen: dict[bytes, dict[str, Any]] = {}
    for quarter in range(72):
        world.advance(NOW + quarter * 900.0)
        for handle in world.handles:
            for document in world.tasks(handle, page_size=0).documents:
                if document not in seen:
                    seen[document] = json.loads(document)
    return list(seen.items())
