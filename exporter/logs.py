"""One line per event on one stream, as logfmt or JSON: the exporter's own events and those of its libraries alike."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["logfmt", "json"]

LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS: Final[tuple[Format, ...]] = ("logfmt", "json")

_SHOWN_LEVELS: Final = {"warning": "warn", "critical": "error", "fatal": "error", "exception": "error"}
_SECRET_KEY: Final = re.compile(
    r"(?:^|[_.-])(?:token|authorization|password|passwd|secret|cookie|credentials|(?:api|access)[_-]?key)$",
    re.IGNORECASE,
)
_AUTHORIZATION: Final = re.compile(
    r"""(authorization['"]?\s*[:=]\s*['"]?)(?:(?:token|bearer|basic)\s+)?[^\s'",}]+""", re.I
)
_CHATTY: Final = ("aiohttp.access", "asyncio")
"""Libraries that say at info level what only somebody who debugs wants to know."""


class LoggerFactory(Protocol):
    """Makes loggers; what is given by name stands on each of their lines."""

    def __call__(self, **context: object) -> BoundLogger: ...


class _Handler(logging.StreamHandler[TextIO]):
    """Ours among the handlers of the root logger, so that configuring anew replaces it and leaves others alone."""


def configure(level: Level, format: Format, stream: TextIO | None = None) -> LoggerFactory:  # noqa: A002 (the flag's name)
    """Sends every log line of the process to `stream` (None: stderr), and gives what makes the exporter's loggers.

    Keys of a line: ``ts`` (UTC), ``level`` (debug, info, warn, error), ``msg``, then what the event carries. Values of
    keys that name a secret are masked. Raises KeyError for an unknown level or format.
    """
    handler = _Handler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            processors=_renderers(format), foreign_pre_chain=[structlog.stdlib.add_logger_name, *_describe()]
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    set_level(level)
    return _factory()


def set_level(level: Level) -> None:
    """Logs what is of this level or above, from now on. Raises KeyError for an unknown level."""
    logging.getLogger().setLevel(LEVELS[level])
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)


class Verbosity:
    """The level that the operator has chosen, and another one for as long as somebody looks closely."""

    def __init__(self, level: Level) -> None:
        self._chosen = level
        self._level = level

    def choose(self, level: Level) -> None:
        """Another level for good. Raises KeyError for an unknown one."""
        set_level(level)
        self._chosen = self._level = level

    def toggle(self) -> Level:
        """To debug (to info, where debug is what was chosen) and back; returns the level that is in force now."""
        closely: Level = "info" if self._chosen == "debug" else "debug"
        self._level = self._chosen if self._level == closely else closely
        set_level(self._level)
        return self._level


def _factory() -> LoggerFactory:
    processors: tuple[Processor, ...] = (
        structlog.stdlib.filter_by_level,
        *_describe(),
        ProcessorFormatter.wrap_for_formatter,
    )

    def logger(**context: object) -> BoundLogger:
        wrapped: BoundLogger = structlog.wrap_logger(
            logging.getLogger("exporter"), processors=processors, wrapper_class=BoundLogger, context_class=dict
        )
        return wrapped.bind(**context)

    return logger


def _describe() -> tuple[Processor, ...]:
    """What is done with an event where it happens."""
    return (structlog.stdlib.add_log_level, structlog.stdlib.PositionalArgumentsFormatter(), name_level)


def _renderers(format: Format) -> list[Processor]:  # noqa: A002 - what the flag is called
    """What is done with an event when it becomes a line."""
    renderers: Mapping[Format, tuple[Processor, ...]] = {
        "logfmt": (plain, structlog.processors.LogfmtRenderer(key_order=["ts", "level", "msg"], bool_as_flag=False)),
        "json": (structlog.processors.JSONRenderer(),),
    }
    return [
        stamp,
        ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
        mask,
        order,
        *renderers[format],
    ]


def stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """``ts``: when the event happened, in UTC to the millisecond."""
    created = datetime.fromtimestamp(event["_record"].created, UTC)
    event["ts"] = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def name_level(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The levels under the names of the flag."""
    event["level"] = _SHOWN_LEVELS.get(event["level"], event["level"])
    return event


def order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """``ts``, ``level`` and ``msg`` come first."""
    first = {key: event.pop(key) for key in ("ts", "level", "msg")}
    return {**first, **event}


def mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """No value of a key that names a secret, however deep, and no Authorization header within a text."""
    return {key: _masked(str(key), value) for key, value in event.items()}


def _masked(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key):
        return "<secret>"
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), held) for inner, held in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", held) for held in value]
    return _AUTHORIZATION.sub(r"\1<secret>", value) if isinstance(value, str) else value


def plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keys and values as logfmt can carry them: keys of one word, values without control characters."""
    return {re.sub(r"[^\w./-]+", "_", key): _one_line(value) for key, value in event.items()}


def _one_line(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return "".join(_escaped(character) for character in str(value))


def _escaped(character: str) -> str:
    # Line breaks are left to the renderer, which writes them as \n.
    return character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
