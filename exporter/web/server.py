"""The HTTP server: which path answers what, with which headers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from exporter.web import agent, status, templating
from exporter.web.access import Access, Policy
from exporter.web.pages import Pages, Reloaded

Handler = Callable[[web.Request], Awaitable[web.Response]]

HEADERS: Final = {
    "Content-Security-Policy": templating.POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": "unpod-exporter",
}
"""On every answer, errors included."""
_PATH: Final = re.compile(r"/[A-Za-z0-9._~/-]*")
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_ELSEWHERE: Final = ("cross-site", "same-site")
"""What browsers say of a request that a page of somebody else has made."""


def create_app(pages: Pages, access: Access | None = None) -> web.Application:
    """The application. GET and HEAD are answered, other methods with 405, other paths with 404; all of it only to those
    whom ``access`` lets in (None: to everybody).

    Raises:
        ValueError: ``telemetry_path`` is no path, or that of another page; or ``prefix`` cannot be one.
    """
    if not _PREFIX.fullmatch(pages.prefix) or "/agents" in pages.prefix:
        raise ValueError(f"{pages.prefix!r} cannot be in front of every path; write for example /unpod")
    routes, below = _routes(pages), _agent_routes(pages)
    taken = pages.telemetry_path in routes or pages.telemetry_path.startswith(tuple(below))
    if taken or not _PATH.fullmatch(pages.telemetry_path):
        raise ValueError(f"{pages.telemetry_path!r} cannot be the path of the metrics; write for example /metrics")
    routes[pages.telemetry_path] = _metrics(pages)
    routes.setdefault("/", _status_page(pages))
    app = web.Application(middlewares=[access.middleware] if access is not None else [])
    prefix = pages.prefix
    app.add_routes([web.get(prefix + path, handler) for path, handler in routes.items()])
    app.add_routes([web.get(prefix + path + "{handle:(?s:.*)}", handler) for path, handler in below.items()])
    if pages.reload is not None:
        # As Prometheus has it: a request by GET might be made by whoever follows a link.
        reload = _reload(pages.reload)
        app.add_routes([web.post(f"{prefix}/-/reload", reload), web.put(f"{prefix}/-/reload", reload)])
    if prefix:
        app.add_routes([web.get(path, _to(f"{prefix}/")) for path in ("/", prefix)])
    app.on_response_prepare.append(_adds(access.policy if access is not None else Policy))
    return app


def _routes(pages: Pages) -> dict[str, Handler]:
    routes = {"/-/healthy": _healthy, "/-/ready": _ready(pages), "/api/agents": _agents(pages)}
    if pages.config is not None:
        routes["/config"] = _config(pages.config)
    return routes


def _agent_routes(pages: Pages) -> dict[str, Handler]:
    """Below these, the rest of a path is a handle: percent-encoded, so that it may hold any character."""
    return {"/agents/": _agent_page(pages), "/api/agents/": _agent(pages)}


def _metrics(pages: Pages) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        agents = request.query.getall("agent", [])
        answer = pages.metrics(request.headers.get("Accept"), request.headers.get("Accept-Encoding"), agents)
        headers = {"Content-Type": answer.content_type, "Vary": "Accept, Accept-Encoding"}
        if answer.content_encoding is not None:
            headers["Content-Encoding"] = answer.content_encoding
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    return handle


def _config(config: Callable[[], str]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=config())

    return handle


def _reload(reload: Callable[[], Awaitable[Reloaded]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Sec-Fetch-Site") in _ELSEWHERE:
            return web.Response(status=403, text="not from a page of somebody else\n")
        told = await reload()
        return web.Response(status=200 if told.ok else 500, text=f"{told.text}\n")

    return handle


def _to(path: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        raise web.HTTPFound(path)

    return handle


async def _healthy(_: web.Request) -> web.Response:
    return web.Response(text="healthy\n")


def _ready(pages: Pages) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        reason = pages.ready()
        return web.Response(text="ready\n") if reason is None else web.Response(text=f"{reason}\n", status=503)

    return handle


def _agents(pages: Pages) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(pages.status()), content_type="application/json")

    return handle


def _agent(pages: Pages) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        detail = pages.agent(handle_of(request))
        if detail is None:
            raise web.HTTPNotFound
        return web.Response(body=msgspec.json.encode(detail), content_type="application/json")

    return handle


def handle_of(request: web.Request) -> str:
    """The handle that a path names; or its query, for one of dots alone, which browsers take for a folder."""
    raw = request.rel_url.raw_path
    return unquote(raw[raw.index("/agents/") + len("/agents/") :]) or request.query.get("handle", "")


def _status_page(pages: Pages) -> Handler:
    links = _links(pages)

    async def handle(request: web.Request) -> web.Response:
        page = status.render(pages.status(), links, status.Look.of(request.query))
        return web.Response(text=page, content_type="text/html")

    return handle


def _agent_page(pages: Pages) -> Handler:
    links = _links(pages)

    async def handle(request: web.Request) -> web.Response:
        handle = handle_of(request)
        detail = pages.agent(handle)
        if detail is None:
            return web.Response(text=agent.missing(handle, links), status=404, content_type="text/html")
        return web.Response(text=agent.render(detail, links), content_type="text/html")

    return handle


def _links(pages: Pages) -> dict[str, str]:
    """What the pages lead to, relative to the root."""
    paths = {
        "Metrics": pages.telemetry_path,
        "Health": "/-/healthy",
        "Readiness": "/-/ready",
        "Agents as JSON": "/api/agents",
    }
    if pages.config is not None:
        paths["Configuration"] = "/config"
    return {name: path.removeprefix("/") for name, path in paths.items()} | {"Help": "#help"}


def headers(policy: Policy) -> dict[str, str]:
    """What every answer carries; of what the policy says an empty value takes a header away."""
    return {name: value for name, value in {**HEADERS, **policy.headers}.items() if value}


def _adds(policy: Callable[[], Policy]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add(_: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers(policy()))

    return add
