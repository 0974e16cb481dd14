"""The commands; no logic of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
import msgspec

from exporter import __version__, console, demo, flags, logs, service, systemd
from exporter.config import NO_FLAGS, Config, ConfigError, Shard, StateFlags, load
from exporter.config.access import load_web
from exporter.past.writer import BLOCKS, Span
from exporter.progress import opened
from exporter.simulator.faults import Faults
from exporter.tracking.log import Log
from exporter.tracking.storage import StorageError
from exporter.unpod.errors import UnpodError
from exporter.web.listen import Address, ListenError

T = TypeVar("T")

_ALONE: Final = Shard()
_DEFAULT_FILE: Final = Path("config.yaml")
_EXPECTED: Final = (ConfigError, StorageError, UnpodError, ListenError, service.PastError)
"""What a person can mend: told in a line, without a traceback."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="unpod-exporter")
def main() -> None:
    """Prometheus exporter for the calls and tasks of Unpod voice agents."""


@main.command()
@flags.config_file
@flags.option("config.enable-auto-reload", is_flag=True, help="Reload when the settings' file has changed.")
@flags.option(
    "config.auto-reload-interval", type=flags.Duration(), default="30s", help="How often it is looked at for that."
)
@flags.listen(":10130")
@flags.option("web.systemd-socket", is_flag=True, help="Listen on the sockets of a systemd .socket unit instead.")
@flags.web_config_file
@flags.option("web.external-url", type=flags.External(), help="Where a proxy shows it; its path is in front of all.")
@flags.option("web.telemetry-path", type=flags.TelemetryPath(), default="/metrics", help="Where the metrics are.")
@flags.state
@flags.shard
@flags.log_level
@flags.log_format
def run(
    config_file: Path | None,
    config_enable_auto_reload: bool,
    config_auto_reload_interval: float,
    web_listen_address: tuple[Address, ...],
    web_systemd_socket: bool,
    web_config_file: Path | None,
    web_external_url: str | None,
    web_telemetry_path: str,
    state: StateFlags,
    shard: Shard,
    log_level: logs.Level,
    log_format: logs.Format,
) -> None:
    """Polls the agents and serves their metrics, until it is stopped."""
    config = _loaded(config_file, state, web_config_file, shard)
    level = _level(log_level, config.log.level)
    log, display = opened(level, log_format, time.monotonic)
    handed = _handed_over() if web_systemd_socket else ()
    listen = () if web_systemd_socket else web_listen_address
    web = service.Web(
        listen=listen,
        sockets=handed,
        config_file=web_config_file,
        telemetry_path=web_telemetry_path,
        prefix=web_external_url or "",
    )
    verbosity = logs.Verbosity(level)
    source = service.Source(
        read=lambda: _read(config_file, state, config.shard),
        file=_file(config_file),
        look_every=config_auto_reload_interval if config_enable_auto_reload else None,
        relevel=lambda asked: verbosity.choose(_level(log_level, asked)),
    )
    _finish(service.run(config, web, log, display, verbosity=verbosity, source=source), log)


@main.command()
@flags.config_file
@flags.web_config_file
@flags.state
@click.option("--probe", is_flag=True, help="Ask the platform too, and look at the file or the database of the state.")
def check(config_file: Path | None, web_config_file: Path | None, state: StateFlags, probe: bool) -> None:
    """Reads the settings, and a web config, and says all that is wrong with them."""
    problems: list[str] = []
    config = _or_problems(problems, lambda: _read(config_file, state, _ALONE))
    web = None if web_config_file is None else _or_problems(problems, lambda: load_web(web_config_file))
    for problem in problems:
        click.echo(problem, err=True)
    if config is not None:
        _say(console.of_config(config))
    if web_config_file is not None and web is not None:
        _say(console.of_web_config(web_config_file, web))
    asked_well = not probe or config is None or _probed(config)
    if problems or not asked_well:
        sys.exit(1)


def _probed(config: Config) -> bool:
    """Whether the platform answers as it should, and the state can be used; says what came of asking each."""
    _say(f"asking {config.api.base_url}")
    probes = (service.probe_platform, service.probe_state)
    well = [_finish(probe(config, lambda finding: _say(console.of_finding(finding)))) for probe in probes]
    return all(well)


@main.command()
@flags.config_file
@flags.state
@flags.shard
@flags.log_level
@flags.log_format
@click.option("--agent", "handles", multiple=True, metavar="HANDLE", help="Poll this one alone; may be repeated.")
def once(
    config_file: Path | None,
    state: StateFlags,
    shard: Shard,
    log_level: logs.Level,
    log_format: logs.Format,
    handles: tuple[str, ...],
) -> None:
    """Polls every agent once and prints the metrics."""
    config = _loaded(config_file, state, shard=shard)
    config = service.only(config, handles) if handles else config
    log, display = opened(_level(log_level, config.log.level), log_format, time.monotonic)
    text, well = _finish(service.poll_once(config, log, display), log)
    _say(text, nl=False)
    if not well:
        sys.exit(1)


@main.command()
@flags.config_file
@flags.state
@flags.shard
@flags.log_level
@flags.log_format
@click.option("--agent", "handles", multiple=True, metavar="HANDLE", help="Of this one alone; may be repeated.")
@click.option("--from", "begin", type=flags.Moment(), help="A date, a UTC time, or 90d for so long ago. [default: all]")
@click.option("--to", "end", type=flags.Moment(), help="Likewise. [default: where the numbers of the exporter begin]")
@click.option("--step", type=flags.Duration(), default="1m", show_default=True, help="From one sample to the next.")
@click.option(
    "--label",
    "labels",
    type=flags.Label(),
    multiple=True,
    help="As Prometheus adds it to what it scrapes: job and instance at least; may be repeated.",
)
@click.option(
    "--block-duration",
    type=click.Choice(BLOCKS),
    help="Write a file for each block of this length, its begin in the name, for promtool to be quick.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A file, or - for stdout."
)
def backfill(
    config_file: Path | None,
    state: StateFlags,
    shard: Shard,
    log_level: logs.Level,
    log_format: logs.Format,
    handles: tuple[str, ...],
    begin: float | None,
    end: float | None,
    step: float,
    labels: tuple[tuple[str, str], ...],
    block_duration: str | None,
    output: Path,
) -> None:
    """Writes the past of the agents, for promtool tsdb create-blocks-from openmetrics."""
    try:
        span = Span.of(step, begin, end, block_duration)
        past = service.Past(span=span, labels=labels, file=None if output == Path("-") else output)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    config = _loaded(config_file, state, shard=shard)
    config = service.only(config, handles) if handles else config
    log, display = opened(_level(log_level, config.log.level), log_format, time.monotonic)
    # By either it leaves as little behind; a shell that starts it in the background has it ignore the one of Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if not _finish(service.write_past(config, past, log, display), log):
        sys.exit(1)


@main.command()
@flags.config_file
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or for machines.",
)
def agents(config_file: Path | None, form: str) -> None:
    """Lists the agents that the token can see, and whether their tasks can be read."""
    config = _loaded(config_file, NO_FLAGS)
    logs.configure("warn", "logfmt")
    shown = console.of_agents_for_machines if form == "json" else console.of_agents
    _say(shown(_finish(service.all_readable(config))))


@main.group("state")
def state_() -> None:
    """Moves the state from one database to another. No exporter may use it meanwhile."""


_file_argument = click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))


@state_.command("export")
@flags.config_file
@flags.state
@flags.log_level
@flags.log_format
@_file_argument
def export_(
    config_file: Path | None, state: StateFlags, log_level: logs.Level, log_format: logs.Format, file: Path
) -> None:
    """Writes the whole state to FILE (-: to standard output)."""
    config = _loaded(config_file, state, asks=False)
    log, _ = opened(_level(log_level, config.log.level), log_format, time.monotonic)
    moved = _finish(service.export_state(config, _unless_dash(file), log), log)
    click.echo(f"exported from {config.state.words}: {console.of_moved(moved)}", err=True)


@state_.command("import")
@flags.config_file
@flags.state
@flags.log_level
@flags.log_format
@_file_argument
def import_(
    config_file: Path | None, state: StateFlags, log_level: logs.Level, log_format: logs.Format, file: Path
) -> None:
    """Writes what was exported to FILE (-: from standard input) into a state that is empty, and checks that nothing
    is lost."""
    config = _loaded(config_file, state, asks=False)
    log, _ = opened(_level(log_level, config.log.level), log_format, time.monotonic)
    moved = _finish(service.import_state(config, _unless_dash(file), log), log)
    click.echo(f"imported into {config.state.words}: {console.of_moved(moved)}", err=True)


def _unless_dash(file: Path) -> Path | None:
    return None if str(file) == "-" else file


@main.command("demo")
@flags.listen("127.0.0.1:10130")
@flags.log_level
@flags.log_format
@click.option("--seed", default=7, show_default=True, help="Of the made-up traffic.")
def demonstrate(
    web_listen_address: tuple[Address, ...], log_level: logs.Level, log_format: logs.Format, seed: int
) -> None:
    """A made-up platform and the exporter together: no account, no settings."""
    log, display = opened(log_level, log_format, time.monotonic)
    web = service.Web(listen=web_listen_address)

    def export(config: Config, stop: asyncio.Event, listening: demo.Listening) -> Coroutine[Any, Any, None]:
        return service.run(config, web, log, display, stop=stop, listening=listening)

    _finish(demo.run(export, service.stop_signals, seed=seed, say=_say), log)


@main.command()
@click.option("--listen", type=flags.Listen(), default="127.0.0.1:10131", show_default=True, help="Where to listen.")
@click.option("--agents", "agents_", type=click.IntRange(1), help="How many agents. [default: those of the demo]")
@click.option("--tasks", type=click.IntRange(0), help="About how many past tasks each agent has.")
@click.option("--speed", type=flags.Speed(), default=1.0, show_default=True, help="Of its time.")
@click.option("--faults", default="", help="What goes wrong and how often, such as server_error:0.02,reset:0.01.")
@click.option("--seed", default=7, show_default=True, help="Of the made-up traffic.")
def simulate(listen: Address, agents_: int | None, tasks: int | None, speed: float, faults: str, seed: int) -> None:
    """A made-up Unpod platform alone."""
    try:
        wrong = Faults.parse(faults, seed=seed)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--faults") from error
    profiles = demo.profiles_for(agents_, tasks)
    _finish(demo.simulate(listen, profiles, wrong, service.stop_signals, speed=speed, seed=seed, say=_say))


def _loaded(
    file: Path | None,
    state: StateFlags,
    web_config_file: Path | None = None,
    shard: Shard = _ALONE,
    *,
    asks: bool = True,
) -> Config:
    """The settings of the named file, of config.yaml where there is one, or of the environment; ``asks``: the platform
    is asked with them.

    What is wrong with them, and with the web config, ends the program, all of it at once.
    """
    problems: list[str] = []
    config = _or_problems(problems, lambda: _read(file, state, shard, asks=asks))
    if web_config_file is not None:
        _or_problems(problems, lambda: load_web(web_config_file))
    if config is None or problems:
        _fail(ConfigError(tuple(problems)))
    return config


def _read(file: Path | None, state: StateFlags, shard: Shard, *, asks: bool = True) -> Config:
    return msgspec.structs.replace(load(_file(file), os.environ, state=state, asks=asks), shard=shard)


def _level(flag: logs.Level, in_file: logs.Level) -> logs.Level:
    """What is logged: the flag comes before the file, and the file before the flag's default."""
    return flag if flags.is_given("log_level") else in_file


def _file(named: Path | None) -> Path | None:
    return named or (_DEFAULT_FILE if _DEFAULT_FILE.exists() else None)


def _or_problems(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ConfigError as error:
        problems += error.problems
        return None


def _handed_over() -> tuple[socket.socket, ...]:
    try:
        return systemd.sockets(os.environ, os.getpid())
    except systemd.ActivationError as error:
        _fail(error)


def _finish(work: Coroutine[Any, Any, T], log: Log | None = None) -> T:
    """The result of ``work``; what a person can mend ends the program with a line that says what.

    The line goes to ``log``, so that whoever reads the log can read it too; None: to standard error as it is.
    """
    try:
        return asyncio.run(work)
    except _EXPECTED as error:
        _fail(error, log)
    except Exception as error:
        click.echo(console.of_defect(error), err=True)
        sys.exit(1)


def _say(text: str, nl: bool = True) -> None:
    """Writes to standard output. Where that cannot be done, the program ends: with a line that says why, or quietly
    where whoever read it has had enough."""
    try:
        click.echo(text, nl=nl)
    except OSError as error:
        # What is left in the buffer would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            click.echo(f"cannot write to standard output: {error.strerror}", err=True)
        sys.exit(1)


def _fail(error: Exception, log: Log | None = None) -> NoReturn:
    if log is None:
        click.echo(str(error), err=True)
    else:
        log.error("failed", error=str(error))
    sys.exit(1)
