"""Bodies of the platform: the envelope of success, and what it says when it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, Final

import msgspec

from exporter.simulator.faults import Fault

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer, still to be sent."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = {}


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A successful answer before it is written."""

    message: str
    count: int | None
    items: tuple[bytes, ...]
    ids: tuple[str, ...] = ()
    """``task_id`` of each item."""
    status_code: int = 200

    def head(self) -> bytes:
        """Everything up to ``data``."""
        fields: dict[str, Any] = {} if self.count is None else {"count": self.count}
        fields |= {"status_code": self.status_code, "message": self.message}
        return json.dumps(fields, separators=(",", ":")).encode()[:-1] + b',"data":'

    def body(self) -> bytes:
        """The JSON."""
        return self.head() + b"[" + b",".join(self.items) + b"]}"


def told(status: int, body: object, **headers: str) -> Answer:
    """A JSON answer."""
    return Answer(status=status, body=json.dumps(body).encode(), headers=headers)


def page_of_html(status: int, title: str) -> Answer:
    """What frameworks and proxies say."""
    text = f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Answer(status=status, body=text.encode(), content_type=HTML)


def crash() -> Answer:
    """500 in HTML: any exception of the platform."""
    return page_of_html(500, "Server Error (500)")


def no_access() -> Answer:
    """206: the token may not read the agent's space."""
    return told(206, {"status_code": 206, "message": "You Don't have Access to this Agent's Space", "data": {}})


def agent_not_found() -> Answer:
    """404 of an unknown agent: no ``status_code``, no ``data``."""
    return told(404, {"message": "Agent not found"})


def organisation_not_found() -> Answer:
    """404 of an unknown ``Org-Handle``."""
    return told(404, {"message": "Organization not found"})


def organisation_missing() -> Answer:
    """400 of the agents list without ``Org-Handle``."""
    return told(400, {"status_code": 400, "message": "Org-Handle header is required", "data": {}})


def bad_token() -> Answer:
    """401 of a wrong token."""
    return told(401, {"message": "Invalid token.", "status_code": 401})


def no_token() -> Answer:
    """401 without a token, or with one of another scheme."""
    text = "Authentication credentials were not provided."
    return told(401, {"message": text, "error": "not_authenticated"})


def method_not_allowed(method: str) -> Answer:
    """405."""
    return told(405, {"message": f'Method "{method}" not allowed.', "status_code": 405})


def _rate_limited(fault: Fault, now: float) -> Answer:
    wait = fault.retry_after
    headers = {
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(now + (wait or 0))),
    }
    if wait is not None:
        headers["Retry-After"] = formatdate(now + wait, usegmt=True) if fault.http_date else f"{wait:g}"
    text = f"Request was throttled. Expected available in {wait or 0:g} seconds."
    return told(429, {"message": text, "status_code": 429}, **headers)


def _business_error(fault: Fault, now: float) -> Answer:
    del now
    if fault.bare:
        return told(206, {"message": "Tasks Fetch Failed", "errors": "list index out of range"})
    errors = {"errors": "list index out of range"}
    return told(206, {"status_code": 206, "message": "Tasks Fetch Failed", "data": errors} | errors)


REFUSALS: Final[Mapping[str, Callable[[Fault, float], Answer]]] = {
    "server_error": lambda fault, now: crash(),
    "bad_gateway": lambda fault, now: page_of_html(502, "502 Bad Gateway"),
    "unavailable": lambda fault, now: page_of_html(503, "503 Service Temporarily Unavailable"),
    "gateway_timeout": lambda fault, now: page_of_html(504, "504 Gateway Time-out"),
    "rate_limited": _rate_limited,
    "unauthorized": lambda fault, now: no_token() if fault.bare else bad_token(),
    "forbidden": lambda fault, now: told(403, {"message": "You do not have permission.", "status_code": 403}),
    "not_found": lambda fault, now: agent_not_found(),
    "no_access": lambda fault, now: no_access(),
    "business_error": _business_error,
    "bad_request": lambda fault, now: told(400, {"status_code": 400, "message": "Invalid parameters", "data": {}}),
    "html": lambda fault, now: page_of_html(200, "Welcome"),
    "redirect": lambda fault, now: Answer(status=302, headers={"Location": fault.location}),
}
"""Faults that replace the answer: from the fault and the time (Unix seconds)."""
