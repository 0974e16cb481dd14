"""From a YAML file, or from the environment alone, to a `Config`: every problem found in one go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from exporter.config.document import Document, Place, compose, syntax_problem
from exporter.config.keys import API, ROOT, SECTIONS, STATE, read_agents, read_section
from exporter.config.model import AgentConfig, Api, Config, Discovery, Log, Metrics, Polling, State
from exporter.config.quantities import format_duration

Values = dict[str, Any]
"""What was given, by section; a key that was not given, or is wrong, is not there."""

ENVIRONMENT: Final = {
    "UNPOD_API_TOKEN": "token",
    "UNPOD_API_TOKEN_FILE": "token_file",
    "UNPOD_ORG_HANDLE": "org_handle",
    "UNPOD_BASE_URL": "base_url",
}
"""Variables that stand in for keys of ``api`` where there is no file; ``UNPOD_AGENTS`` stands in for ``agents``."""

_SHORTEST_LEASE: Final = 2.0
"""Seconds, for tests; what is less is no time for a slow answer."""
_TOKEN_PATHS: Final = ("api", "api.token", "api.token_file")
_INTERVAL: Final = re.compile(r"polling\.interval|agents\[\d+\]\.interval")
"""The paths of intervals between two polls."""
_TEXT: Final = "tag:yaml.org,2002:str"


class ConfigError(Exception):
    """The settings cannot be used. As text one line per problem: where it is, what is wrong, what would be right."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StateFlags(msgspec.Struct, frozen=True):
    """What is said of the state outside the file; None: nothing."""

    path: str | None = None
    """A path, or ``memory``."""
    url: str | None = None
    weak: tuple[str, ...] = ()
    """Which of the two come from the environment: they give way to a flag, and the path to any URL."""


NO_FLAGS: Final = StateFlags()


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    state_path: str | None = None,
    state: StateFlags = NO_FLAGS,
    asks: bool = True,
) -> Config:
    """The settings of the file at `path`, or those of the environment alone where `path` is None.

    `state`, or `state_path` alone (a path, or ``memory``), comes before what the file says of the state. Where nothing
    is asked of the platform, and there is no file, no token is needed. Raises ConfigError, and nothing else.
    """
    document = Document(None) if path is None else Document(environ, path.parent, sections=SECTIONS)
    values = _read_environment(document, environ) if path is None else _read_file(document, path)
    _put_state(document, values, state if state_path is None else StateFlags(path=state_path))
    if path is None:
        _check_environment(document, values, asks=asks)
    elif document.sound(""):
        _check_file(document, values)
    if document.problems:
        raise ConfigError(document.in_words("" if path is None else str(path)))
    return _build(values, "the environment" if path is None else str(path))


def read_yaml(document: Document, path: Path) -> yaml.Node | None:
    """The tree of a file; None where it holds nothing, or cannot be read, which is then a problem."""
    try:
        return compose(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        document.wrong("", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        document.wrong("", f"is not UTF-8 (at byte {error.start})")
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        document.problems.append(syntax_problem(error))
    return None


def _read_file(document: Document, path: Path) -> Values:
    root = read_yaml(document, path)
    if root is not None:
        return read_section(Place(document, root, ""), ROOT)
    if document.sound(""):
        document.wrong("", "is empty; it needs at least api.token or api.token_file")
    return {}


def _read_environment(document: Document, environ: Mapping[str, str]) -> Values:
    """An empty variable is as good as none."""
    given = {name: value for name, value in environ.items() if value.strip()}
    api = {
        key: API[key](Place(document, yaml.ScalarNode(_TEXT, given[name]), name))
        for name, key in ENVIRONMENT.items()
        if name in given
    }
    values: Values = {"api": {key: value for key, value in api.items() if value is not msgspec.UNSET}}
    if "UNPOD_AGENTS" in given:
        handles = [yaml.ScalarNode(_TEXT, handle.strip()) for handle in given["UNPOD_AGENTS"].split(",")]
        values["agents"] = read_agents(Place(document, yaml.SequenceNode(_TEXT, handles), "UNPOD_AGENTS"))
    return values


def _put_state(document: Document, values: Values, flags: StateFlags) -> None:
    """Puts what the flags say of the state in place of what the file does."""
    given = {key: value for key, value in (("path", flags.path), ("url", flags.url)) if value is not None}
    in_file = values.get("state", {})
    if len(given) == 2 and flags.weak:
        del given["path" if "path" in flags.weak else "url"]
    if "path" in flags.weak and "url" in in_file:
        given.pop("path", None)
    if not given:
        return
    # What belongs to a database goes with its URL.
    replaced = ("path", "url") if "url" in given else STATE.keys()
    held = {key: value for key, value in in_file.items() if key not in replaced}
    for key, value in given.items():
        flag = Place(document, yaml.ScalarNode(_TEXT, value), f"--state.{key}")
        if (read := STATE[key](flag)) is not msgspec.UNSET:
            held[key] = read
    if len(given) > 1:
        document.wrong("--state.url", "is given, and so is --state.path; keep one of the two")
    values["state"] = held


def _check_environment(document: Document, values: Values, *, asks: bool) -> None:
    tokens = _tokens(values)
    if len(tokens) > 1:
        document.wrong("UNPOD_API_TOKEN_FILE", "is set, and so is UNPOD_API_TOKEN; keep one of the two")
    elif asks and not tokens and document.sound("UNPOD_API_TOKEN") and document.sound("UNPOD_API_TOKEN_FILE"):
        document.wrong(
            "",
            "there is neither a config file nor a token: write a config.yaml (config.example.yaml shows every key) "
            "and name it with --config.file, or set UNPOD_API_TOKEN or UNPOD_API_TOKEN_FILE",
        )


def _check_file(document: Document, values: Values) -> None:
    """What only shows when keys are looked at together."""
    tokens = _tokens(values)
    if len(tokens) > 1:
        document.wrong("api.token_file", "is given, and so is api.token; keep one of the two")
    elif not tokens and not any(problem.path in _TOKEN_PATHS for problem in document.problems):
        document.wrong(
            "api.token", "is missing; write token: ${UNPOD_API_TOKEN}, or token_file: and the path of a file"
        )
    if not values.get("agents") and not _discovers(values) and document.sound("agents"):
        document.wrong("agents", "names no agent, and discovery is off; name an agent, or set discovery.enabled: true")
    _check_state(document, values)
    _check_staleness(document, values)


def _check_state(document: Document, values: Values) -> None:
    state = values.get("state", {})
    if "url" in state and "path" in state:
        document.wrong("state.url", "is given, and so is state.path; keep one of the two")
    elif (
        "password_file" in state
        and "url" not in state
        and document.sound("state.url")
        and document.sound("--state.url")
    ):
        document.wrong("state.password_file", "is given without state.url, which it belongs to")
    if state.get("replicas") and "url" not in state and document.sound("state.url"):
        document.wrong("state.replicas", "needs state.url: replicas share the agents through a PostgreSQL database")
    if "lease" in state and not state.get("replicas") and document.sound("state.replicas"):
        document.wrong("state.lease", "is given without state.replicas: true, which it belongs to")
    if state.get("lease", _SHORTEST_LEASE) < _SHORTEST_LEASE:
        document.wrong("state.lease", f"must be {format_duration(_SHORTEST_LEASE)} or more; 30s is a good one")


def _check_staleness(document: Document, values: Values) -> None:
    if document.misspelt & {"", "polling"} or not document.in_shape("polling"):
        # Another max_staleness may be meant.
        return
    polling = Polling(**values.get("polling", {}))
    given = {path: value for path, value in document.values.items() if _INTERVAL.fullmatch(path)}
    for path, interval in ({"polling.interval": polling.interval} | given).items():
        if interval > polling.max_staleness and document.sound(path) and document.sound("polling.max_staleness"):
            document.wrong(
                path,
                f"{format_duration(interval)} is longer than polling.max_staleness, "
                f"{format_duration(polling.max_staleness)}; raise max_staleness to two or three intervals",
            )


def _tokens(values: Values) -> list[str]:
    return [key for key in ("token", "token_file") if key in values.get("api", {})]


def _discovers(values: Values) -> bool:
    """Discovery is on where nothing is said of it and there is no ``agents``."""
    enabled: bool = values.get("discovery", {}).get("enabled", "agents" not in values)
    return enabled


def _build(values: Values, source: str) -> Config:
    state = State(**values.get("state", {}))
    polling = values.get("polling", {})
    if state.path is None and state.url is None:
        # A memory forgets what it has counted: to count the past again at each start would be wrong.
        polling = {"backfill": 0.0, **polling}
    agents: tuple[AgentConfig, ...] = values.get("agents", ())
    return Config(
        api=Api(**values["api"]),
        polling=Polling(**polling),
        agents=agents,
        discovery=Discovery(**{**values.get("discovery", {}), "enabled": _discovers(values)}),
        metrics=Metrics(**values.get("metrics", {})),
        state=state,
        log=Log(**values.get("log", {})),
        source=source,
    )
