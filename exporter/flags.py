"""The flags of the commands: what they are called, what may be written there, and what it is read as."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from exporter import logs, service
from exporter.config import Shard, StateFlags
from exporter.config.quantities import parse_duration, parse_moment
from exporter.web.listen import Address, parse_listen_address

F = TypeVar("F", bound=Callable[..., Any])


class Listen(click.ParamType[Address]):
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        try:
            return parse_listen_address(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TelemetryPath(click.ParamType[str]):
    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return service.Web(listen=(), telemetry_path=value).telemetry_path
        except ValueError as error:
            self.fail(str(error), param, ctx)


def option(flag: str, **settings: Any) -> Callable[[F], F]:
    """A flag in the manner of Prometheus, and the environment variable of the same name."""
    variable = "UNPOD_EXPORTER_" + flag.upper().replace(".", "_").replace("-", "_")
    name = flag.replace(".", "_").replace("-", "_")
    return click.option(f"--{flag}", name, envvar=variable, show_envvar=True, show_default=True, **settings)


class External(click.ParamType[str]):
    """The path of a URL, without a slash at its end."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            parts = urlsplit(value)
            whole = parts.scheme in ("http", "https") and parts.hostname
            if parts.query or parts.fragment or not (whole or value.startswith("/") or not value):
                raise ValueError(f"{value!r} is not a URL; write for example https://example.com/unpod/")
            return service.Web(prefix=parts.path.rstrip("/")).prefix
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Speed(click.ParamType[float]):
    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        speed = click.FLOAT.convert(value, param, ctx)
        if not 0 < speed < math.inf:
            self.fail(f"{value!r} is no speed; write a number above 0, such as 60", param, ctx)
        return float(speed)


class Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = value if isinstance(value, float) else parse_duration(value)
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)
        if not seconds:
            self.fail("must be longer than 0", param, ctx)
        return seconds


class Moment(click.ParamType[float]):
    """Unix seconds of a date, or of so long ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_moment(value, time.time())
        except ValueError as error:
            self.fail(f"{value!r} {error}", param, ctx)


class Label(click.ParamType[tuple[str, str]]):
    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r} is no label; write for example job=unpod", param, ctx)
        return name, text


config_file = option(
    "config.file",
    type=click.Path(path_type=Path, readable=False),
    help="The settings. Without this flag: config.yaml if there is one, else the environment alone.",
)
web_config_file = option(
    "web.config.file",
    type=click.Path(path_type=Path, readable=False),
    help="TLS, users, headers and a rate limit, in the format of Prometheus.",
)


def state(command: F) -> F:
    """The flags that say where the state is, as one argument ``state``."""

    @option("state.path", help="In place of state.path of the settings: a file, or memory.")
    @option("state.url", help="In place of state.url of the settings: a PostgreSQL database.")
    @wraps(command)
    def with_state(*args: Any, state_path: str | None, state_url: str | None, **more: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        weak = tuple(key for key in ("path", "url") if source(f"state_{key}") is ParameterSource.ENVIRONMENT)
        return command(*args, state=StateFlags(state_path, state_url, weak), **more)

    return cast(F, with_state)


def shard(command: F) -> F:
    """The flags that say which of several exporters this is, as one argument ``shard``."""

    @option(
        "shard.index",
        type=click.IntRange(0),
        default=0,
        help="Which of the exporters that share the agents this is, from 0.",
    )
    @option("shard.count", type=click.IntRange(1), default=1, help="How many exporters share the agents.")
    @wraps(command)
    def with_shard(*args: Any, shard_index: int, shard_count: int, **more: Any) -> Any:
        try:
            one = Shard(index=shard_index, count=shard_count)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--shard.index") from error
        return command(*args, shard=one, **more)

    return cast(F, with_shard)


def is_given(name: str) -> bool:
    """Whether an option of the command that is running was said, by its flag or its variable."""
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


log_level = option("log.level", type=click.Choice(list(logs.LEVELS)), default="info", help="What is logged.")
log_format = option("log.format", type=click.Choice(logs.FORMATS), default="logfmt", help="How it is logged.")


def listen(default: str) -> Callable[[F], F]:
    return option(
        "web.listen-address",
        type=Listen(),
        multiple=True,
        default=[default],
        help="Where to listen; may be given several times.",
    )
