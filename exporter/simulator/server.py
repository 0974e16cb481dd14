"""The simulated platform over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from exporter.simulator import answers, sending
from exporter.simulator.answers import Answer, Envelope
from exporter.simulator.distortions import BODIES, ENVELOPES, STILL_DATA
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.profiles import Profile
from exporter.simulator.world import Poisoned, World

OnServed = Callable[[str, Sequence[str], float], None]
"""Told of each tasks answer that a client can read: handle, ids of its tasks, time (Unix seconds)."""
Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


def create_app(
    world: World,
    *,
    clock: Callable[[], float],
    token: str = "demo-token",  # noqa: S107 - a made-up token of a made-up platform
    org: str | None = "demo-org",
    faults: Faults | None = None,
    on_served: OnServed | None = None,
    gzip: bool = False,
) -> web.Application:
    """The platform as an aiohttp application.

    ``clock`` gives Unix seconds; each request first lets the world advance to it. ``org`` None accepts any
    ``Org-Handle``. ``gzip`` compresses like a proxy in front would.
    """
    platform = Platform(world, clock, token, org, faults or Faults(), on_served, gzip)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", platform.answer)
    app.on_shutdown.append(platform.close)
    return app


class Platform:
    """Routes and refusals of the API."""

    def __init__(
        self,
        world: World,
        clock: Callable[[], float],
        token: str,
        org: str | None,
        faults: Faults,
        on_served: OnServed | None,
        gzip: bool,
    ) -> None:
        self._world = world
        self._clock = clock
        self._token = token
        self._org = org
        self._faults = faults
        self._on_served = on_served
        self._gzip = gzip
        self._closing = asyncio.Event()
        self._at_first: dict[str, Profile] = {}
        """Agents as they were before they were given other habits."""
        self._routes: Mapping[str, tuple[re.Pattern[str], Handler]] = {
            "agents": (_AGENTS, self._agents),
            "tasks": (_TASKS, self._tasks),
        }

    async def close(self, app: web.Application) -> None:
        """Let go of the requests that would never end."""
        self._closing.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request."""
        self._world.advance(self._clock())
        # The raw path: a handle may hold an encoded slash.
        path = request.raw_path.partition("?")[0]
        if path in _DOORS:
            return await _DOORS[path](self, request)
        for pattern, handler in self._routes.values():
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if not path.endswith("/"):
                query = f"?{request.query_string}" if request.query_string else ""
                return sending.whole(Answer(status=301, headers={"Location": f"{path}/{query}"}))
            if request.method not in ("GET", "HEAD"):
                return sending.whole(answers.method_not_allowed(request.method))
            return await handler(request, unquote(match["handle"]) if "handle" in match.groupdict() else "")
        return sending.whole(answers.page_of_html(404, "Not Found"))

    # The API

    async def _agents(self, request: web.Request, handle: str) -> web.StreamResponse:
        fault = self._faults.strike("agents")
        refusal = self._refused(request, fault) or self._refused_organisation(request)
        if refusal is not None:
            return sending.whole(refusal)
        listed = self._world.agents()
        items = tuple(msgspec.json.encode(entry) for entry in listed)
        envelope = Envelope(message="Agents fetched successfully", count=len(listed), items=items)
        return await self._send(request, envelope, fault)

    async def _tasks(self, request: web.Request, handle: str) -> web.StreamResponse:
        page = _integer(request.query.get("page", "1"))
        fault = self._faults.strike("tasks", handle, page)
        refusal = self._refused(request, fault) or self._refused_agent(handle)
        if refusal is not None:
            return sending.whole(refusal)
        size = _integer(request.query.get("page_size", "20"))
        if page is None or page < 1 or size is None or size < 0:
            return sending.whole(answers.crash())
        if fault is not None and fault.kind == "ignore_paging":
            size = 0
        try:
            found = self._world.tasks(handle, page=page, page_size=size)
        except Poisoned:
            return sending.whole(answers.crash())
        envelope = Envelope(
            message="Tasks fetched successfully", count=found.count, items=found.documents, ids=found.ids
        )
        return await self._send(request, envelope, fault, handle)

    def _refused(self, request: web.Request, fault: Fault | None) -> Answer | None:
        if fault is not None and fault.kind in answers.REFUSALS:
            return answers.REFUSALS[fault.kind](fault, self._clock())
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token":
            return answers.no_token()
        return None if token == self._token else answers.bad_token()

    def _refused_organisation(self, request: web.Request) -> Answer | None:
        named = request.headers.get("Org-Handle")
        if not named:
            return answers.organisation_missing()
        return None if self._org in (None, named) else answers.organisation_not_found()

    def _refused_agent(self, handle: str) -> Answer | None:
        if handle not in self._world.handles:
            return answers.agent_not_found()
        return answers.no_access() if self._world.profile(handle).no_access else None

    async def _send(
        self, request: web.Request, envelope: Envelope, fault: Fault | None, handle: str | None = None
    ) -> web.StreamResponse:
        kind = fault.kind if fault is not None else ""
        if fault is not None and kind in ENVELOPES:
            envelope = ENVELOPES[kind](envelope, fault)
        body = BODIES[kind](envelope) if kind in BODIES else envelope.body()
        if handle is not None and self._on_served is not None and (not kind or kind in STILL_DATA):
            self._on_served(handle, envelope.ids, self._world.now)
        if fault is not None and kind in sending.BREAKINGS:
            return await sending.broken(request, body, fault, self._closing)
        accepted = "gzip" in request.headers.get("Accept-Encoding", "")
        return sending.whole(Answer(body=body), compress=self._gzip and accepted)

    # Doors for people and tests, which the real platform has not

    async def truth(self, request: web.Request) -> web.StreamResponse:
        """What really happened, from event number ``since`` on."""
        since = _integer(request.query.get("since", "0"))
        if since is None or since < 0:
            return sending.whole(answers.told(400, {"message": "since is the number of an event"}))
        events = self._world.truth[since:]
        body = msgspec.json.encode({"now": self._world.now, "next": since + len(events), "events": events})
        return sending.whole(Answer(body=body))

    async def faults(self, request: web.Request) -> web.StreamResponse:
        """GET: those in force; POST a JSON list: switch on; DELETE: switch all off."""
        if request.method == "POST":
            try:
                wanted = msgspec.json.decode(await request.read(), type=list[Fault])
            except msgspec.MsgspecError as error:
                return sending.whole(answers.told(400, {"message": str(error)}))
            for fault in wanted:
                self._faults.add(fault)
        elif request.method == "DELETE":
            self._faults.clear()
        return sending.whole(Answer(body=msgspec.json.encode(self._faults.active)))

    async def habits(self, request: web.Request) -> web.StreamResponse:
        """GET: all agents; POST a JSON object of habits by handle: have them from now on; DELETE: as at first."""
        if request.method == "POST":
            try:
                wanted = msgspec.json.decode(await request.read(), type=dict[str, dict[str, Any]])
                others = [self._known(handle).with_habits(habits) for handle, habits in wanted.items()]
            except msgspec.MsgspecError as error:
                return sending.whole(answers.told(400, {"message": str(error)}))
            for profile in others:
                self._at_first.setdefault(profile.handle, self._world.profile(profile.handle))
                self._world.behave(profile)
        elif request.method == "DELETE":
            while self._at_first:
                self._world.behave(self._at_first.popitem()[1])
        shown = {handle: self._world.profile(handle) for handle in self._world.handles}
        return sending.whole(Answer(body=msgspec.json.encode(shown)))

    def _known(self, handle: str) -> Profile:
        if handle not in self._world.handles:
            raise msgspec.ValidationError(f"no agent {handle}: there are {', '.join(self._world.handles)}")
        return self._world.profile(handle)


_AGENTS: Final = re.compile(r"/api/v2/platform/agents/?")
_TASKS: Final = re.compile(r"/api/v2/platform/agents/(?P<handle>[^/]+)/tasks/?")
_DOORS: Final[Mapping[str, Callable[[Platform, web.Request], Awaitable[web.StreamResponse]]]] = {
    "/_truth": Platform.truth,
    "/_faults": Platform.faults,
    "/_habits": Platform.habits,
}


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
