"""The settings in force as the file that would bring them about, and where two of them differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from exporter.config import ALL, AgentConfig, Api, Config, Discovery, Log, Metrics, Polling, Secret, State, load
from exporter.config.keys import SECTIONS
from exporter.config.model import LEVELS
from exporter.config.quantities import format_size, parse_size
from exporter.config.shown import differences, dump

TOKEN = Api(token=Secret("a-secret-token"))
WORDS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12)
SECONDS = st.integers(1, 10**9).map(lambda milliseconds: milliseconds / 1000)
CONFIGS = st.builds(
    Config,
    api=st.builds(
        Api,
        base_url=st.just("https://unpod.example"),
        token=st.just(Secret("a-secret-token")),
        org_handle=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9),
        timeout=SECONDS,
        page_size=st.integers(1, 10**6),
        max_response_bytes=st.integers(1, 2**40),
        insecure_skip_verify=st.booleans(),
    ),
    polling=st.builds(
        Polling,
        interval=SECONDS,
        max_staleness=st.just(1e8),
        settling_time=SECONDS | st.just(0.0),
        history=st.none() | SECONDS,
        backfill=st.sampled_from([ALL, 0.0]) | SECONDS,
    ),
    agents=st.lists(
        st.builds(
            AgentConfig,
            handle=WORDS,
            interval=st.none() | SECONDS,
            labels=st.lists(
                st.tuples(st.from_regex("[a-z]{1,8}x", fullmatch=True), WORDS), unique_by=lambda one: one[0]
            ).map(tuple),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda agent: agent.handle,
    ).map(tuple),
    discovery=st.builds(Discovery, enabled=st.booleans(), types=st.sampled_from([(), ("voice", "chat")])),
    metrics=st.builds(Metrics, numbers_limit=st.integers(0, 99), call_duration_buckets=st.sampled_from([(1.5, 2.0)])),
    log=st.builds(Log, level=st.sampled_from(LEVELS)),
    state=st.builds(State, path=st.sampled_from([None, Path("/a/b $c.db")]))
    | st.builds(State, url=st.sampled_from(["postgresql://", "postgresql://u$x@[::1]:5433,h/d?options=-c%20a%3Db"])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(config=CONFIGS)
def test_the_file_that_is_shown_brings_the_settings_about(tmp_path: Path, config: Config) -> None:
    text = dump(config)
    assert "a-secret-token" not in text
    # Nobody has named anything like what stands for a secret.
    assume(text.count("<secret>") == 1)
    path = tmp_path / "shown.yaml"
    path.write_text(text.replace("<secret>", "a-secret-token"), encoding="utf-8")
    assert msgspec.structs.replace(load(path, {}), source="") == config


def test_every_key_is_shown() -> None:
    told = yaml.safe_load(dump(Config(api=TOKEN, agents=(AgentConfig(handle="a"),))))
    for name, keys in SECTIONS.items():
        section, _, inner = name.partition(".")
        held = told[section][0] if section == "agents" else told[section]
        assert list(held[inner] if inner else held) == list(keys)


def test_a_proxy_may_hold_a_password_and_is_not_shown() -> None:
    text = dump(Config(api=Api(token_file=Path("/run/token"), proxy_url=Secret("http://user:pass@proxy:3128"))))
    assert "proxy:3128" not in text
    assert "token_file: /run/token" in text


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (lambda c: c, ()),
        (lambda c: replaced(c, "polling", interval=61.0), ("polling.interval",)),
        (lambda c: replaced(c, "api", token=Secret("another"), timeout=1.0), ("api.token", "api.timeout")),
        (lambda c: replaced(c, "api", insecure_skip_verify=True), ("api.tls.insecure_skip_verify",)),
        (lambda c: msgspec.structs.replace(c, agents=(AgentConfig(handle="b"),)), ("agents",)),
        (lambda c: replaced(c, "state", path=None), ("state.path",)),
        (lambda c: replaced(c, "log", level="debug"), ("log.level",)),
        (lambda c: msgspec.structs.replace(c, source="elsewhere"), ()),
    ],
)
def test_differences_are_told_by_their_paths(change: Callable[[Config], Config], paths: tuple[str, ...]) -> None:
    config = Config(api=TOKEN, agents=(AgentConfig(handle="a"),))
    assert differences(config, change(config)) == paths


def replaced(config: Config, section: str, **values: Any) -> Config:
    held = msgspec.structs.replace(getattr(config, section), **values)
    return msgspec.structs.replace(config, **{section: held})


@given(st.integers(1, 10**18 - 1))
def test_a_size_is_written_as_it_is_read(size: int) -> None:
    assert parse_size(format_size(size)) == size
