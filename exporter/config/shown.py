"""Settings as the file that would bring them about, without secrets; and where two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from exporter.config.keys import AGENT, ROOT, SECTIONS, TLS
from exporter.config.model import ALL, AgentConfig, Config, Secret, State
from exporter.config.quantities import format_duration, format_size


def dump(config: Config) -> str:
    """The settings in force as YAML, every key of them, with ``<secret>`` in place of secrets."""
    document = {name: _section(name, config) for name in ROOT}
    text: str = yaml.safe_dump(_without_secrets(document), sort_keys=False, allow_unicode=True, width=120)
    return text


def differences(before: Config, after: Config) -> tuple[str, ...]:
    """The keys whose values differ, by their paths, in the order of the file."""
    return tuple(path for (path, old), (_, new) in zip(_leaves(before), _leaves(after), strict=True) if old != new)


def _leaves(config: Config) -> Iterator[tuple[str, Any]]:
    for name in ROOT:
        section = _section(name, config)
        if not isinstance(section, Mapping):
            yield name, section
            continue
        for key, value in section.items():
            if key == "tls":
                yield from ((f"{name}.tls.{inner}", held) for inner, held in value.items())
            else:
                yield f"{name}.{key}", value


def _section(name: str, config: Config) -> Any:
    held = getattr(config, name)
    if name == "agents":
        return [_agent(agent) for agent in held]
    return {key: _value(name, key, held) for key in SECTIONS[name]}


def _value(name: str, key: str, held: msgspec.Struct) -> Any:
    if key == "tls":
        return {inner: _plain(inner, getattr(held, inner)) for inner in TLS}
    words = _WORDS.get((name, key), {})
    value = getattr(held, key)
    if isinstance(held, State) and key in _without_meaning(held):
        return None
    return words[value] if value in words else _plain(key, value)


def _without_meaning(state: State) -> tuple[str, ...]:
    """Keys that may not be given beside the others."""
    if state.url is None:
        return ("replicas", "lease")
    return ("path",) if state.replicas else ("path", "lease")


def _agent(agent: AgentConfig) -> dict[str, Any]:
    values = {key: _plain(key, getattr(agent, key)) for key in AGENT}
    return {**values, "labels": {name: _text(value) for name, value in agent.labels}}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, float):
        return format_duration(value)
    if isinstance(value, Path | str):
        return _text(str(value))
    if isinstance(value, tuple):
        return [_text(one) if isinstance(one, str) else one for one in value]
    return format_size(value) if key in _SIZES else value


def _text(text: str) -> str:
    """A text that stands for itself in the file."""
    return text.replace("$", "$$")


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, dict):
        return {key: _without_secrets(held) for key, held in value.items()}
    return [_without_secrets(held) for held in value] if isinstance(value, list) else value


_SIZES: Final = ("max_response_bytes",)
_WORDS: Final[Mapping[tuple[str, str], Mapping[Any, str]]] = {
    ("polling", "history"): {None: "all"},
    ("polling", "backfill"): {ALL: "all", 0.0: "none"},
    ("state", "path"): {None: "memory"},
}
"""Values that are written as a word."""
