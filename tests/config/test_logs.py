import asyncio
import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.logs import FORMATS, LEVELS, Format, Level, LoggerFactory, configure

Configure = Callable[..., LoggerFactory]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def configured(stream: io.StringIO) -> Iterator[Configure]:
    """`configure` onto `stream`; afterwards logging is as it was before."""
    loggers = [logging.getLogger(name) for name in (None, "aiohttp.access", "asyncio")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]

    def configured(level: Level = "info", format: Format = "logfmt") -> LoggerFactory:  # noqa: A002 - what the flag is called
        return configure(level, format, stream)

    yield configured
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def test_a_logfmt_line_has_time_level_message_and_the_rest_in_that_order(
    configured: Configure, stream: io.StringIO
) -> None:
    configured()(agent="sales").info("poll ended", tasks=5, ok=True, reason=None)
    assert re.fullmatch(
        r'ts=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z level=info msg="poll ended" agent=sales tasks=5 ok=true reason=\n',
        stream.getvalue(),
    )


def test_a_json_line_has_the_same_keys(configured: Configure, stream: io.StringIO) -> None:
    configured(format="json")(agent="sales").info("poll ended", tasks=5, ok=True, reason=None)
    line = json.loads(stream.getvalue())
    assert list(line) == ["ts", "level", "msg", "agent", "tasks", "ok", "reason"]
    assert (line["level"], line["msg"], line["tasks"], line["ok"], line["reason"]) == (
        "info",
        "poll ended",
        5,
        True,
        None,
    )


@pytest.mark.parametrize("level", LEVELS)
def test_only_lines_of_the_level_and_above_are_written_under_the_names_of_the_flag(
    configured: Configure, stream: io.StringIO, level: Level
) -> None:
    log = configured(level)()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    shown = re.findall(r"level=(\w+)", stream.getvalue())
    assert shown == list(LEVELS)[list(LEVELS).index(level) :]


@pytest.mark.parametrize("format", FORMATS)
def test_lines_of_libraries_look_the_same(configured: Configure, stream: io.StringIO, format: Format) -> None:  # noqa: A002 - what the flag is called
    configured("info", format)
    logging.getLogger("aiohttp.server").warning("odd %s", "thing")
    line = stream.getvalue()
    assert line.count("\n") == 1
    for words in ("odd thing", "warn", "aiohttp.server"):
        assert words in line


def test_a_scrape_is_no_line_at_info_level(configured: Configure, stream: io.StringIO) -> None:
    configured("info")
    logging.getLogger("aiohttp.access").info("GET /metrics")
    assert stream.getvalue() == ""
    configured("debug")
    logging.getLogger("aiohttp.access").info("GET /metrics")
    assert "GET /metrics" in stream.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_an_exception_is_one_line_with_its_trace(configured: Configure, stream: io.StringIO, format: Format) -> None:  # noqa: A002 - what the flag is called
    log = configured("info", format)()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("failed", agent="sales")
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "ValueError: first\\nsecond" in line
    assert "level=error" in line or '"level": "error"' in line


async def test_a_failure_that_only_the_event_loop_sees_is_a_line(configured: Configure, stream: io.StringIO) -> None:
    configured("info")
    asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": ValueError("why")})
    assert "msg=lost" in stream.getvalue()
    assert "ValueError: why" in stream.getvalue()


SECRET = "abcdef0123456789"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "event",
    [
        {"token": SECRET},
        {"api_token": SECRET},
        {"user-token": SECRET},
        {"Authorization": f"Token {SECRET}"},
        {"password": SECRET},
        {"X-Api-Key": SECRET},
        {"headers": {"Authorization": f"Token {SECRET}"}},
        {"seen": [{"user_info": {"user_token": SECRET}}]},
        {"why": f"sent Authorization: Token {SECRET}"},
        {"why": str({"Authorization": f"Token {SECRET}"})},
        {"why": f"authorization={SECRET}"},
    ],
)
def test_no_line_shows_the_value_of_a_key_that_names_a_secret(
    configured: Configure,
    stream: io.StringIO,
    format: Format,  # noqa: A002 - what the flag is called
    event: dict[str, object],
) -> None:
    configured("info", format)().info("asked", **event)
    logging.getLogger("x").warning("%s", event)
    assert "<secret>" in stream.getvalue()
    assert SECRET not in stream.getvalue().splitlines()[0]


def test_a_count_of_tokens_is_no_secret(configured: Configure, stream: io.StringIO) -> None:
    configured()().info("counted", prompt_tokens=5, token_file="/run/token")
    assert "prompt_tokens=5 token_file=/run/token" in stream.getvalue()


def test_configuring_anew_writes_each_line_once_and_leaves_other_handlers_alone(
    configured: Configure, stream: io.StringIO
) -> None:
    before = [handler for handler in logging.getLogger().handlers if type(handler).__module__ != "exporter.logs"]
    configured("debug")
    configured("info", "json")().info("once")
    assert stream.getvalue().count("once") == 1
    assert [handler for handler in before if handler not in logging.getLogger().handlers] == []


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(), key=st.text(min_size=1).filter(lambda key: key not in ("ts", "level", "msg", "event")))
def test_any_event_is_exactly_one_line(
    configured: Configure,
    stream: io.StringIO,
    format: Format,  # noqa: A002 - what the flag is called
    text: str,
    key: str,
) -> None:
    stream.seek(0)
    stream.truncate()
    configured("info", format)().info(text, **{key: text, "self_": text})
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert written.endswith("\n")
    written.encode("utf-8")
