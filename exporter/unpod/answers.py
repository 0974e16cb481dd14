"""What an answer means: the facts in it, or the error that it is.

Success is HTTP 200 with a complete JSON object whose own ``status_code``, if any, is 200 and whose ``data`` is a list
that agrees with ``count``. Nothing of a body but these numbers gets into a message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final

import msgspec
from yarl import URL

from exporter.unpod import reading, usual, wire
from exporter.unpod.errors import (
    BadRequest,
    BadResponse,
    Forbidden,
    NoAccess,
    NotFound,
    RateLimited,
    ServerError,
    Unauthorized,
    UnpodError,
)
from exporter.unpod.facts import Agent, Page, Task
from exporter.unpod.values import fold, text, whole
from exporter.unpod.vocabulary import AGENT_TYPE_WORDS

LONGEST_PAUSE: Final = 86400.0
"""Seconds: no ``Retry-After`` holds longer. Quotas are told to be of a day at most."""
LONGEST_RATION: Final = 3600.0
"""Seconds: no ``X-RateLimit-Reset`` holds longer without being asked again."""
_EPOCH: Final = 1e9
"""From here on a reset is Unix seconds, below it seconds from now; a thousand times more is milliseconds."""
_COUNT: Final = re.compile(r"[0-9]{1,15}")
_SECONDS: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?")
_MOST: Final = 2**53
_AT_ONCE: Final = 50
"""Tasks of a page that are read before others get their turn: one or two milliseconds."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer of the server. ``where`` is its host and path template, for messages."""

    where: str
    status: int
    body: bytes | bytearray = b""
    """Of a 200 alone; nobody needs the others."""
    retry_after: str | None = None
    location: str | None = None
    quota: tuple[str | None, ...] = (None, None, None)
    """``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``."""


class Quota(msgspec.Struct, frozen=True):
    """How many requests the server still allows within how many seconds."""

    remaining: int
    seconds: float


class AgentList(msgspec.Struct, frozen=True, kw_only=True):
    agents: tuple[Agent, ...]
    skipped: int = 0
    """Entries without a usable handle, or with one that occurred before."""


_ERRORS: Final[Mapping[int, tuple[type[UnpodError], str]]] = MappingProxyType(
    {
        206: (NoAccess, "the token's user may not read this agent's space, or the platform could not serve it"),
        400: (BadRequest, "the request was refused; the agents list needs an organisation handle"),
        401: (Unauthorized, "the API token is missing, wrong or revoked"),
        403: (Forbidden, "the API token may not do this"),
        404: (NotFound, "there is no such agent, organisation or path: see the handle, base URL and path prefix"),
        500: (ServerError, "the platform failed"),
        502: (ServerError, "the proxy before the platform got no good answer from it"),
        503: (ServerError, "the platform is unavailable for now"),
        504: (ServerError, "the proxy before the platform waited in vain: a smaller page size may help"),
    }
)
_FAMILIES: Final[Mapping[int, tuple[type[UnpodError], str]]] = MappingProxyType(
    {
        4: (BadRequest, "the request was refused"),
        5: (ServerError, "the platform or a proxy before it failed"),
    }
)


def retry_after(told: str | None, now: float) -> float | None:
    """Seconds until a moment that ``Retry-After`` names, from 0 to ``LONGEST_PAUSE``; None where it names none.

    Args:
        told: Seconds, or an HTTP date.
        now: Unix seconds, to measure a date from.
    """
    if told is None:
        return None
    if _SECONDS.fullmatch(told.strip()):
        seconds = float(told.strip())
    else:
        try:
            moment = parsedate_to_datetime(told)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def quota(answer: Answer, now: float) -> Quota | None:
    """What the server still allows, by its ``X-RateLimit-*``; None where it tells none, or nonsense.

    Args:
        answer: Any answer.
        now: Unix seconds, to measure a reset from that is a moment.
    """
    limit, remaining, reset = (
        int(told.strip()) if told is not None and _COUNT.fullmatch(told.strip()) else None for told in answer.quota
    )
    if remaining is None or reset is None or (limit is not None and remaining > limit):
        return None
    moment = reset / 1000 if reset >= 1000 * _EPOCH else float(reset)
    seconds = moment - now if moment >= _EPOCH else moment
    return Quota(remaining, min(seconds, LONGEST_RATION)) if seconds > 0 else None


def _error(answer: Answer, code: int, now: float) -> UnpodError:
    said = f"HTTP {answer.status}" if code == answer.status else f"HTTP {answer.status} with status_code {code}"
    begin = f"{answer.where} answered {said}: "
    if code == 429:
        wait = retry_after(answer.retry_after, now)
        return RateLimited(f"{begin}too many requests", status=answer.status, retry_after=wait)
    if 300 <= code < 400:
        return BadResponse(begin + _redirect(answer.location), status=answer.status)
    kind, advice = _ERRORS.get(code) or _FAMILIES.get(code // 100) or (BadResponse, "an answer nobody expects here")
    return kind(begin + advice, status=answer.status)


def _redirect(location: str | None) -> str:
    try:
        target = URL(location or "")
        usable = target.scheme in ("http", "https") and target.host and target.host.isprintable()
        host = f"{target.scheme}://{target.host}" if usable else ""
    except ValueError:
        host = ""
    where = f" to {host}" if host else " within the same host"
    return f"a redirect{where}, which is not followed: set base URL and path prefix to where the API is"


def _data(envelope: wire.TaskList | wire.AgentList | None, answer: Answer, now: float) -> tuple[list[Any], int | None]:
    """The list in an envelope, and its ``count``."""
    if envelope is None:
        raise _bad(answer, "its body is no complete JSON object: truncated, or the page of a proxy")
    code = _integer(envelope.status_code, "status_code", answer)
    if code is not None and code != 200:
        raise _error(answer, code, now)
    if not isinstance(envelope.data, list):
        raise _bad(answer, "its data is no list")
    return envelope.data, _integer(envelope.count, "count", answer)


def _integer(raw: object, name: str, answer: Answer) -> int | None:
    if raw is None:
        return None
    problem = f"its {name} is no whole number from 0 up"
    try:
        told = whole(raw, most=_MOST)
    except ValueError:
        told = None
    if told is None:
        raise _bad(answer, problem)
    return told


def _bad(answer: Answer, problem: str) -> BadResponse:
    return BadResponse(f"{answer.where} answered HTTP {answer.status}, but {problem}", status=answer.status)


async def page(answer: Answer, *, number: int, size: int, now: float) -> Page:
    """The facts of page ``number`` (from 1) of ``size`` tasks. Others get their turn while they are read.

    Raises:
        UnpodError: The answer is no success, truncated, or contradicts itself.
    """
    if answer.status != 200:
        raise _error(answer, answer.status, now)
    data, total = _data(wire.tasks(answer.body), answer, now)
    whole_history = _check(answer, len(data), total, number, size)
    tasks: list[Task] = []
    for begin in range(0, len(data), _AT_ONCE):
        tasks += filter(None, map(_task, data[begin : begin + _AT_ONCE]))
        await asyncio.sleep(0)
    return Page(
        tasks=tuple(tasks),
        total=total,
        received=len(data),
        unidentified=len(data) - len(tasks),
        whole=whole_history,
        bytes=len(answer.body),
    )


def _task(entry: object) -> Task | None:
    """The facts of one entry; None where there are none, or where a defect of ours would else cost the whole page."""
    try:
        return usual.task(entry) or reading.task(entry)
    except Exception:
        return None


def _check(answer: Answer, received: int, total: int | None, number: int, size: int) -> bool:
    """Whether the answer holds every task, which is so where the server ignores paging."""
    expected = 0 if total is None else min(max(total - (number - 1) * size, 0), size)
    ignores_paging = received > size
    if received < expected or (ignores_paging and total is not None and received < total):
        raise _bad(
            answer,
            f"it is truncated or contradictory: {size} tasks were asked for as page {number},"
            f" {received} arrived, and {total} exist; a smaller page size may help",
        )
    return ignores_paging


def agents(answer: Answer, *, now: float) -> AgentList:
    """The agents of the list, each handle once.

    Raises:
        UnpodError: The answer is no success, truncated, or contradicts itself.
    """
    if answer.status != 200:
        raise _error(answer, answer.status, now)
    data, total = _data(wire.agents(answer.body), answer, now)
    if total is not None and len(data) < total:
        raise _bad(answer, f"it is truncated or contradictory: {len(data)} agents arrived, and {total} exist")
    known: dict[str, Agent] = {}
    for entry in data:
        handle = text(entry.handle) if isinstance(entry, wire.Agent) else ""
        if handle and handle not in known:
            known[handle] = _agent(handle, entry)
    return AgentList(agents=tuple(known.values()), skipped=len(data) - len(known))


def _agent(handle: str, entry: wire.Agent) -> Agent:
    told = text(entry.type)
    kind = AGENT_TYPE_WORDS.get(fold(told), "other") if told else "unknown"
    return Agent(handle=handle, name=text(entry.name), type=kind)
