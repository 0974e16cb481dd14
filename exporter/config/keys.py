"""Every key of the file as data: what it is called and how its value is read. Defaults are those of `model`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any, Final, TypeVar

import msgspec

from exporter.config import postgresql, readers
from exporter.config.document import Given, Place, Scalar, Wrong, show
from exporter.config.model import AgentConfig

T = TypeVar("T")
Reader = Callable[[Place], Any]
"""Gives the value, or UNSET where the key is null or wrong."""
Section = Mapping[str, Reader]


def one(reader: Callable[[Scalar], T], *, secret: bool = False) -> Callable[[Place], Given[T]]:
    """A key with a single value."""
    return lambda place: place.read(reader, secret=secret)


def file(place: Place) -> Any:
    """A key that names a file, relative to the config file."""
    return place.read(readers.file(place.document.directory))


def many(reader: Callable[[Scalar], T]) -> Callable[[Place], Given[tuple[T, ...]]]:
    """A key with a list of single values."""

    def read(place: Place) -> Given[tuple[T, ...]]:
        if place.is_null():
            return msgspec.UNSET
        values = (_entry(item, reader) for item in place.items())
        return tuple(value for value in values if value is not msgspec.UNSET)

    return read


def _entry(item: Place, reader: Callable[[Scalar], T]) -> Given[T]:
    value = item.read(reader)
    if value is msgspec.UNSET and item.document.sound(item.path):
        item.wrong("is empty")
    return value


def section(keys: Section) -> Reader:
    """A key with a mapping of known keys."""
    return lambda place: msgspec.UNSET if place.is_null() else read_section(place, keys)


def read_section(place: Place, keys: Section) -> dict[str, Any]:
    """What is given and right in a mapping; an unknown key is a problem."""
    values = {}
    for key, value in place.entries().items():
        if key in keys:
            values[key] = keys[key](value)
        else:
            place.document.misspelt.add(place.path)
            value.wrong(_unknown(key, keys, place.document.sections))
    return {key: value for key, value in values.items() if value is not msgspec.UNSET}


def _unknown(key: str, keys: Section, sections: Mapping[str, Collection[str]]) -> str:
    close = difflib.get_close_matches(key, keys, n=1)
    if close:
        return f"is not a key; did you mean {close[0]}?"
    homes = [name for name, known in sections.items() if key in known]
    if homes:
        return f"is not a key here; it belongs under {' or '.join(homes)}"
    return f"is not a key; here are known: {', '.join(keys)}"


def read_api(place: Place) -> Any:
    """``api``, with the keys of ``api.tls`` beside its own."""
    if place.is_null():
        return msgspec.UNSET
    values = read_section(place, API)
    tls = values.pop("tls", {})
    return {**values, **tls}


def include(place: Place) -> Any:
    globs = many(readers.glob)(place)
    if globs == () and place.document.sound(place.path):
        place.wrong('lets no agent in; write ["*"] for all')
    return globs


def buckets(place: Place) -> Any:
    """Bounds of a histogram: at least one, each above the one before."""
    bounds = many(readers.bound)(place)
    if bounds is msgspec.UNSET:
        return bounds
    if not bounds and place.document.sound(place.path):
        place.wrong("is empty; write at least one bound in seconds")
    # Between those that can be read: whatever stood between them could not rise either.
    for before, after in pairwise(bounds):
        if after <= before:
            place.wrong(f"must rise from each bound to the next, but {after:g} comes after {before:g}")
    return bounds


def read_agents(place: Place) -> Any:
    """Agents in the order of the file: a handle, or a mapping with one."""
    if place.is_null():
        return msgspec.UNSET
    agents: dict[str, AgentConfig] = {}
    for item in place.items():
        agent = _agent(item)
        if agent is None:
            continue
        if agent.handle in agents:
            item.wrong(f"names the agent {show(agent.handle)} again; an agent may be named once")
        agents.setdefault(agent.handle, agent)
    return tuple(agents.values())


def _agent(item: Place) -> AgentConfig | None:
    if not item.is_mapping():
        handle = _entry(item, readers.text)
        return None if handle is msgspec.UNSET else AgentConfig(handle=handle)
    values = read_section(item, AGENT)
    if "handle" in values:
        return AgentConfig(**values)
    if item.document.sound(f"{item.path}.handle"):
        item.wrong("has no handle; write handle: and the agent's handle")
    return None


def labels(place: Place) -> Any:
    """Static labels of an agent, in the order of the file."""
    if place.is_null():
        return msgspec.UNSET
    given = {}
    for name, value in place.entries().items():
        text = _entry(value, readers.text)
        try:
            given[readers.label_name(name)] = text
        except Wrong as wrong:
            value.wrong(str(wrong))
    return tuple((name, text) for name, text in given.items() if text is not msgspec.UNSET)


TLS: Final[Section] = {"ca_file": file, "insecure_skip_verify": one(readers.boolean)}
API: Final[Section] = {
    "base_url": one(readers.base_url),
    "path_prefix": one(readers.path_prefix),
    "token": one(readers.token, secret=True),
    "token_file": file,
    "org_handle": one(readers.header_value),
    "timeout": one(readers.duration),
    "page_size": one(readers.at_least(1)),
    "max_concurrent_requests": one(readers.at_least(1)),
    "requests_per_minute": one(readers.at_least(1)),
    "max_response_bytes": one(readers.size),
    "tls": section(TLS),
    "proxy_url": one(readers.proxy_url, secret=True),
}
POLLING: Final[Section] = {
    "interval": one(readers.duration),
    "max_staleness": one(readers.duration),
    "settling_time": one(readers.duration_or_never),
    "reconcile_interval": one(readers.duration_or_never),
    "overdue_grace": one(readers.duration_or_never),
    "history": one(readers.history),
    "backfill": one(readers.backfill),
}
AGENT: Final[Section] = {
    "handle": one(readers.text),
    "interval": one(readers.duration),
    "labels": labels,
}
DISCOVERY: Final[Section] = {
    "enabled": one(readers.boolean),
    "interval": one(readers.duration),
    "include": include,
    "exclude": many(readers.glob),
    "types": many(readers.agent_type),
}
METRICS: Final[Section] = {
    "call_duration_buckets": buckets,
    "end_codes_limit": one(readers.at_least(0)),
    "numbers_limit": one(readers.at_least(0)),
}
STATE: Final[Section] = {
    "path": one(readers.state_path),
    "url": one(postgresql.url, secret=True),
    "password_file": file,
    "replicas": one(readers.boolean),
    "lease": one(readers.duration),
}
LOG: Final[Section] = {"level": one(readers.log_level)}
ROOT: Final[Section] = {
    "api": read_api,
    "polling": section(POLLING),
    "agents": read_agents,
    "discovery": section(DISCOVERY),
    "metrics": section(METRICS),
    "state": section(STATE),
    "log": section(LOG),
}
SECTIONS: Final[Mapping[str, Section]] = {
    "api": API,
    "api.tls": TLS,
    "polling": POLLING,
    "agents": AGENT,
    "discovery": DISCOVERY,
    "metrics": METRICS,
    "state": STATE,
    "log": LOG,
}
