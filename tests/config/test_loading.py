import math
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from exporter.config import (
    AgentConfig,
    Api,
    Config,
    ConfigError,
    Discovery,
    Log,
    Metrics,
    Polling,
    Secret,
    State,
    StateFlags,
    load,
)
from exporter.config.keys import ROOT, SECTIONS

MINIMAL = "api: {token: abc}\n"
EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
Read = Callable[..., Config]


def test_a_token_is_all_that_is_needed_and_the_rest_has_its_defaults(read: Read) -> None:
    config = read(MINIMAL)
    assert config.api == Api(token=Secret("abc"))
    assert (config.polling, config.agents, config.metrics) == (Polling(), (), Metrics())
    assert (config.discovery, config.state) == (Discovery(enabled=True), State(path=Path("unpod-exporter.db")))
    assert config.source.endswith("config.yaml")


def test_the_defaults_are_those_that_are_promised() -> None:
    assert Api(base_url="https://unpod.ai", path_prefix="/api/v2/platform", timeout=40, page_size=200) == Api()
    assert Api(max_concurrent_requests=2, requests_per_minute=60, max_response_bytes=64 * 2**20) == Api()
    assert Polling(interval=60, max_staleness=900, settling_time=600, reconcile_interval=86400) == Polling()
    assert Polling(overdue_grace=300, history=None, backfill=math.inf) == Polling()
    assert Discovery(interval=600, include=("*",), exclude=(), types=()) == Discovery()
    assert Metrics(call_duration_buckets=(5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)) == Metrics()
    assert Metrics(end_codes_limit=50, numbers_limit=0) == Metrics()


def test_the_example_says_the_defaults_except_for_token_and_agents(read: Read) -> None:
    example = load(EXAMPLE, {"UNPOD_API_TOKEN": "abc"})
    minimal = read(MINIMAL)
    assert example.agents == (
        AgentConfig(handle="sales-agent-v1"),
        AgentConfig(handle="support-agent-v2", interval=30, labels=(("team", "support"),)),
    )
    assert not example.discovery.enabled
    same = {"agents": (), "discovery": msgspec.structs.replace(example.discovery, enabled=True), "source": ""}
    assert msgspec.structs.replace(example, **same) == msgspec.structs.replace(minimal, source="")


def test_the_example_names_every_key() -> None:
    written = yaml.safe_load(EXAMPLE.read_text())
    assert set(written) == set(ROOT)
    agent = written["agents"][1]
    for path, keys in SECTIONS.items():
        section = {"agents": agent, "api.tls": written["api"]["tls"]}.get(path) or written[path]
        for key in set(keys) - set(section):
            assert f"\n  # {key}: " in EXAMPLE.read_text(), path


def test_every_key_of_the_file_arrives_in_its_place(read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    (tmp_path / "ca.pem").write_text("certificate")
    config = read(
        """
        api:
          base_url: http://unpod.example:8080/base/
          path_prefix: /v3/
          token_file: token
          org_handle: acme
          timeout: 1m
          page_size: 50
          max_concurrent_requests: 3
          requests_per_minute: 600
          max_response_bytes: 1GiB
          tls: {ca_file: ca.pem, insecure_skip_verify: true}
          proxy_url: http://user:password@proxy:3128
        polling: {interval: 2m, max_staleness: 1h, settling_time: 0, reconcile_interval: 0, overdue_grace: 0s,
                  history: 90d, backfill: 30d}
        agents: [a, {handle: b/ü 1, interval: 30s, labels: {team: support, env: prod}}]
        discovery: {enabled: true, interval: 1h, include: ["a*", "b[0-9]"], exclude: ["*-test"], types: [Voice, L-LM]}
        metrics: {call_duration_buckets: [0.5, 1, 2e3], end_codes_limit: 0, numbers_limit: 5}
        state: {path: /var/lib/x.db}
        log: {level: warn}
        """
    )
    assert config.api == Api(
        base_url="http://unpod.example:8080/base",
        path_prefix="/v3",
        token_file=tmp_path / "token",
        org_handle="acme",
        timeout=60,
        page_size=50,
        max_concurrent_requests=3,
        requests_per_minute=600,
        max_response_bytes=2**30,
        ca_file=tmp_path / "ca.pem",
        insecure_skip_verify=True,
        proxy_url=Secret("http://user:password@proxy:3128"),
    )
    assert config.polling == Polling(
        interval=120,
        max_staleness=3600,
        settling_time=0,
        reconcile_interval=0,
        overdue_grace=0,
        history=90 * 86400,
        backfill=30 * 86400,
    )
    labels = (("team", "support"), ("env", "prod"))
    assert config.agents == (AgentConfig(handle="a"), AgentConfig(handle="b/ü 1", interval=30, labels=labels))
    assert config.discovery == Discovery(
        enabled=True, interval=3600, include=("a*", "b[0-9]"), exclude=("*-test",), types=("voice", "llm")
    )
    assert config.metrics == Metrics(call_duration_buckets=(0.5, 1, 2000), end_codes_limit=0, numbers_limit=5)
    assert config.state == State(path=Path("/var/lib/x.db"))
    assert config.log == Log(level="warn")


@pytest.mark.parametrize(
    ("text", "state_path", "backfill"),
    [
        ("", None, math.inf),
        ("state: {path: memory}", None, 0),
        ("state: {path: memory}\npolling: {backfill: all}", None, math.inf),
        ("polling: {backfill: none}", None, 0),
        ("", "memory", 0),
        ("state: {path: memory}", "x.db", math.inf),
    ],
)
def test_the_past_is_counted_by_default_only_with_a_state_on_disk(
    read: Read, text: str, state_path: str | None, backfill: float
) -> None:
    options = {} if state_path is None else {"state_path": state_path}
    assert read(MINIMAL + text, **options).polling.backfill == backfill


URL = "postgresql://unpod@db/unpod"
IN_FILE = f"state: {{url: '{URL}'}}"


@pytest.mark.parametrize(
    ("text", "flags", "found"),
    [
        (IN_FILE, StateFlags(), URL),
        (IN_FILE, StateFlags("a.db"), "a.db"),
        (IN_FILE, StateFlags("memory"), "memory"),
        (f"state: {{url: '{URL}', password_file: {__file__}, replicas: true}}", StateFlags("a.db"), "a.db"),
        (IN_FILE, StateFlags("a.db", weak=("path",)), URL),
        (IN_FILE, StateFlags(url=URL + "2", weak=("url",)), URL + "2"),
        ("state: {path: b.db}", StateFlags("a.db", weak=("path",)), "a.db"),
        ("state: {path: b.db}", StateFlags(url=URL), URL),
        ("", StateFlags("a.db", URL, weak=("path", "url")), URL),
        ("", StateFlags("a.db", URL, weak=("path",)), URL),
        ("", StateFlags("a.db", URL, weak=("url",)), "a.db"),
    ],
)
def test_what_is_said_of_the_state_outside_the_file_comes_first_but_a_variable_with_a_path_gives_way_to_a_url(
    read: Read, text: str, flags: StateFlags, found: str
) -> None:
    """The container image sets that variable."""
    assert read(MINIMAL + text, state=flags).state.words == found


def test_a_path_and_a_url_by_flags_are_one_too_many(read: Read) -> None:
    with pytest.raises(ConfigError, match=r"--state\.url: is given, and so is --state\.path; keep one of the two"):
        read(MINIMAL, state=StateFlags("a.db", URL))


def test_a_state_path_given_by_flag_comes_before_the_file(read: Read) -> None:
    assert read(MINIMAL + "state: {path: a.db}", state_path="b.db").state.path == Path("b.db")
    assert read(MINIMAL, state_path="memory").state.path is None


def test_null_and_an_empty_section_mean_the_default(read: Read) -> None:
    text = "api: {token: abc, org_handle: null, page_size: ~, tls:}\npolling:\nagents:\ndiscovery:\nmetrics:\nstate:"
    config = read(text)
    assert config == msgspec.structs.replace(read(MINIMAL), source=config.source)


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("", True),
        ("agents: [a]", False),
        ("agents: [a]\ndiscovery: {enabled: true}", True),
        ("agents: [a]\ndiscovery: {interval: 5m}", False),
        ("agents: []\ndiscovery: {enabled: true}", True),
    ],
)
def test_discovery_is_on_when_no_agents_are_named(read: Read, text: str, enabled: bool) -> None:
    assert read(MINIMAL + text).discovery.enabled is enabled


def test_variables_are_expanded_in_values_of_every_kind(read: Read) -> None:
    text = """
    api: {token: "${TOKEN}", org_handle: "${ORG:-acme}", page_size: "${SIZE}", base_url: "https://${HOST:-unpod.ai}"}
    agents: ["pre-${NAME}-post", "cost-$$5", "$$${NAME}", "$NAME"]
    """
    config = read(text, {"TOKEN": "12345", "SIZE": "50", "NAME": "${ORG}", "HOST": ""})
    assert config.api.token == Secret("12345")
    assert (config.api.org_handle, config.api.page_size, config.api.base_url) == ("acme", 50, "https://unpod.ai")
    assert [agent.handle for agent in config.agents] == ["pre-${ORG}-post", "cost-$5", "$${ORG}", "$NAME"]


def test_a_variable_that_leaves_nothing_is_as_good_as_no_key(read: Read) -> None:
    assert read("api: {token: a, org_handle: '${ORG:-}'}").api.org_handle is None


def test_an_anchor_is_the_same_value_elsewhere(read: Read) -> None:
    config = read("api: {token: a}\npolling: {interval: &x 30s, overdue_grace: *x}")
    assert config.polling.overdue_grace == 30


def test_a_byte_order_mark_is_no_trouble(read: Read) -> None:
    assert read(b"\xef\xbb\xbf" + MINIMAL.encode()).api.token == Secret("abc")


def test_the_environment_alone_is_enough() -> None:
    config = load(
        None,
        {
            "UNPOD_API_TOKEN": " abc\n",
            "UNPOD_ORG_HANDLE": "acme",
            "UNPOD_BASE_URL": "https://unpod.dev/",
            "UNPOD_AGENTS": "a, ${b}",
            "HOME": "/",
        },
    )
    assert config.api == Api(token=Secret("abc"), org_handle="acme", base_url="https://unpod.dev")
    assert [agent.handle for agent in config.agents] == ["a", "${b}"]
    assert not config.discovery.enabled
    assert config.source == "the environment"


def test_without_agents_in_the_environment_they_are_discovered() -> None:
    config = load(None, {"UNPOD_API_TOKEN": "abc", "UNPOD_AGENTS": "", "UNPOD_BASE_URL": ""})
    assert config.discovery.enabled
    assert config.api.base_url == "https://unpod.ai"


def test_a_token_file_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    config = load(None, {"UNPOD_API_TOKEN_FILE": str(tmp_path / "token")})
    assert config.api == Api(token_file=tmp_path / "token")


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {},
            ["there is neither a config file nor a token", "--config.file", "UNPOD_API_TOKEN or UNPOD_API_TOKEN_FILE"],
        ),
        ({"UNPOD_API_TOKEN": "Token abc"}, ["UNPOD_API_TOKEN: has white space inside"]),
        ({"UNPOD_API_TOKEN": "abc", "UNPOD_BASE_URL": "unpod.ai"}, ['UNPOD_BASE_URL: "unpod.ai" does not begin with']),
        ({"UNPOD_API_TOKEN": "abc", "UNPOD_AGENTS": "a,,b"}, ["UNPOD_AGENTS[1]: is empty"]),
        ({"UNPOD_API_TOKEN": "abc", "UNPOD_AGENTS": "a,a"}, ['UNPOD_AGENTS[1]: names the agent "a" again']),
        ({"UNPOD_API_TOKEN_FILE": "/no/such"}, ['UNPOD_API_TOKEN_FILE: "/no/such" cannot be read: No such file']),
    ],
)
def test_a_wrong_environment_is_said_with_the_name_of_the_variable(environ: dict[str, str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert len(caught.value.problems) == 1
    for words in said:
        assert words in str(caught.value)


def test_both_tokens_in_the_environment_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    with pytest.raises(ConfigError, match=r"^UNPOD_API_TOKEN_FILE: is set, and so is UNPOD_API_TOKEN; keep one"):
        load(None, {"UNPOD_API_TOKEN": "abc", "UNPOD_API_TOKEN_FILE": str(tmp_path / "token")})


def test_a_secret_shows_nothing_and_the_settings_do_not_either(read: Read) -> None:
    config = read("api: {token: very-secret, proxy_url: 'http://u:very-secret@p'}")
    assert repr(Secret("very-secret")) == str(Secret("very-secret")) == f"{Secret('very-secret')}" == "<secret>"
    assert "very-secret" not in repr(config)
    assert config.api.token is not None
    assert config.api.token.reveal() == "very-secret"


def test_settings_cannot_be_changed(read: Read) -> None:
    with pytest.raises(AttributeError):
        read(MINIMAL).polling.interval = 1  # type: ignore[misc]
