import os
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.config import Config, ConfigError, load
from exporter.config.keys import AGENT, ROOT, SECTIONS

Problems = Callable[..., list[str]]

TOKEN = "api: {token: abc}\n"
DURATION = "is not a duration; write for example 30s, 5m or 1h30m"

WRONG_VALUES = [
    ("api: {token: abc, base_url: unpod.ai}", 'api.base_url: "unpod.ai" does not begin with http:// or https://'),
    ("api: {token: abc, base_url: 'https://'}", 'api.base_url: "https://" names no host'),
    ("api: {token: abc, base_url: 'https://h:99999'}", 'api.base_url: "https://h:99999" is not a URL'),
    ("api: {token: abc, base_url: 'https://h/?a=b'}", "must not hold a ? or a #"),
    ("api: {token: abc, base_url: 'https://a b'}", "has white space inside"),
    ("api: {token: abc, base_url: 'https://u:p@h'}", "api.base_url: must hold no user or password"),
    ("api: {token: abc, path_prefix: api}", 'api.path_prefix: "api" is not a path; write for example /api/v2/platform'),
    ("api: {token: 12345}", "api.token: must be text, not a number; put it in quotes"),
    ("api: {token: Token abc}", "api.token: has white space inside; give the token alone"),
    ("api: {token: [abc]}", "api.token: must be a single value, not a list"),
    ("api: {token: 'ab\u00e9'}", "api.token: holds a character that no HTTP header can carry"),
    ("api: {token: abc, org_handle: 'a\u00e9'}", "api.org_handle: "),
    ("api: {token: abc, timeout: 0s}", "api.timeout: must be longer than 0"),
    ("api: {token: abc, timeout: 40}", f'api.timeout: "40" {DURATION}'),
    ("api: {token: abc, page_size: 0}", 'api.page_size: "0" is too small; it must be at least 1'),
    ("api: {token: abc, page_size: many}", 'api.page_size: "many" is not a whole number'),
    ("api: {token: abc, page_size: 1.5}", 'api.page_size: "1.5" is not a whole number'),
    ("api: {token: abc, page_size: true}", 'api.page_size: "true" is not a whole number'),
    ("api: {token: abc, max_concurrent_requests: 0}", "api.max_concurrent_requests: "),
    ("api: {token: abc, requests_per_minute: -1}", 'api.requests_per_minute: "-1" is too small'),
    ("api: {token: abc, max_response_bytes: 64MB}", 'api.max_response_bytes: "64MB" is not a size; write for example'),
    ("api: {token: abc, max_response_bytes: 0B}", "api.max_response_bytes: must be more than 0"),
    (
        "api: {token: abc, tls: {insecure_skip_verify: maybe}}",
        'insecure_skip_verify: "maybe" is neither true nor false',
    ),
    ("api: {token: abc, tls: {ca_file: /no/such}}", 'api.tls.ca_file: "/no/such" cannot be read: No such file'),
    ("api: {token: abc, tls: {ca_file: /}}", 'api.tls.ca_file: "/" is not a file'),
    ("api: {token: abc, proxy_url: 'socks5://p'}", "api.proxy_url: does not begin with http:// or https://"),
    (TOKEN + "polling: {interval: 10x}", f'polling.interval: "10x" {DURATION}'),
    (TOKEN + "polling: {interval: -1s}", f'polling.interval: "-1s" {DURATION}'),
    (TOKEN + "polling: {interval: 0}", "polling.interval: must be longer than 0"),
    (TOKEN + "polling: {max_staleness: 0}", "polling.max_staleness: must be longer than 0"),
    (TOKEN + "polling: {interval: 1h}", "polling.interval: 1h is longer than polling.max_staleness, 15m"),
    (TOKEN + "polling: {history: 0}", "polling.history: must be longer than 0, or all"),
    (TOKEN + "polling: {history: none}", f'polling.history: "none" {DURATION}, or all'),
    (TOKEN + "polling: {backfill: some}", f'polling.backfill: "some" {DURATION}, or all or none'),
    (TOKEN + "agents: a", "agents: must be a list, not text"),
    (TOKEN + "agents: []", "agents: names no agent, and discovery is off"),
    (TOKEN + "agents: []\ndiscovery: {enabled: false}", "agents: names no agent, and discovery is off"),
    (TOKEN + "discovery: {enabled: false}", "agents: names no agent, and discovery is off"),
    (TOKEN + "agents: [a, a]", 'agents[1]: names the agent "a" again'),
    (TOKEN + "agents: [a, {handle: a}]", 'agents[1]: names the agent "a" again'),
    (TOKEN + "agents: ['']", "agents[0]: is empty"),
    (TOKEN + "agents: [' ']", "agents[0]: is empty"),
    (TOKEN + "agents: [~]", "agents[0]: is empty"),
    (TOKEN + "agents: ['${X:-}']", "agents[0]: is empty"),
    (TOKEN + "agents: [{handle: ''}]", "agents[0].handle: is empty"),
    (TOKEN + "agents: [{interval: 5s}]", "agents[0]: has no handle"),
    (TOKEN + "agents: [[a]]", "agents[0]: must be a single value, not a list"),
    (TOKEN + "agents: [123]", "agents[0]: must be text, not a number; put it in quotes"),
    (TOKEN + 'agents: ["a\\nb"]', "agents[0]: holds a character that cannot be used"),
    (TOKEN + "agents: [{handle: a, interval: 1d}]", "agents[0].interval: 1d is longer than polling.max_staleness, 15m"),
    (TOKEN + "agents: [{handle: a, handel: b}]", "agents[0].handel: is not a key; did you mean handle?"),
    (TOKEN + "agents: [{handle: a, labels: [b]}]", "agents[0].labels: must be a mapping (key: value), not a list"),
    (TOKEN + "agents: [{handle: a, labels: {b-c: d}}]", "agents[0].labels.b-c: is not a label name"),
    (TOKEN + "agents: [{handle: a, labels: {agent: d}}]", "agents[0].labels.agent: is a label that the exporter sets"),
    (TOKEN + "agents: [{handle: a, labels: {name: d}}]", "agents[0].labels.name: is a label that the exporter sets"),
    (TOKEN + "agents: [{handle: a, labels: {agent_type: d}}]", "agent_type: is a label that the exporter sets"),
    (TOKEN + "agents: [{handle: a, labels: {__b: d}}]", "agents[0].labels.__b: begins with __"),
    (TOKEN + "agents: [{handle: a, labels: {b: 1}}]", "agents[0].labels.b: must be text, not a number"),
    (TOKEN + "agents: [{handle: a, labels: {b: }}]", "agents[0].labels.b: is empty"),
    (TOKEN + "discovery: {include: []}", "discovery.include: lets no agent in"),
    (TOKEN + "discovery: {include: '*'}", "discovery.include: must be a list, not text"),
    (TOKEN + "discovery: {include: ['a[b']}", 'discovery.include[0]: "a[b" is not a glob'),
    (TOKEN + "discovery: {exclude: ['']}", "discovery.exclude[0]: is empty"),
    (TOKEN + "discovery: {types: [voice, vioce]}", 'types[1]: "vioce" is not a type of agents; did you mean voice?'),
    (TOKEN + "discovery: {types: [robot]}", '"robot" is not a type of agents; known are voice, chat, tool, connector,'),
    (TOKEN + "discovery: {interval: 0}", "discovery.interval: must be longer than 0"),
    (TOKEN + "metrics: {call_duration_buckets: []}", "metrics.call_duration_buckets: is empty"),
    (TOKEN + "metrics: {call_duration_buckets: [5, 5]}", "must rise from each bound to the next, but 5 comes after 5"),
    (TOKEN + "metrics: {call_duration_buckets: [0, 5]}", 'call_duration_buckets[0]: "0" is too small'),
    (TOKEN + "metrics: {call_duration_buckets: [5, inf]}", "call_duration_buckets[1]: must not be infinite"),
    (TOKEN + "metrics: {call_duration_buckets: [five]}", '"five" is not a number of seconds'),
    (TOKEN + "metrics: {end_codes_limit: -1}", 'metrics.end_codes_limit: "-1" is too small; it must be at least 0'),
    (TOKEN + "metrics: {numbers_limit: -1}", 'metrics.numbers_limit: "-1" is too small'),
    (TOKEN + "state: {path: ''}", "state.path: is empty"),
    (TOKEN + "log: {level: warning}", 'log.level: "warning" is not a level; known are debug, info, warn, error'),
    (
        TOKEN + "state: {path: a.db, url: 'postgresql://db/unpod'}",
        "state.url: is given, and so is state.path; keep one of the two",
    ),
    (
        TOKEN + "state: {replicas: true}",
        "state.replicas: needs state.url: replicas share the agents through a PostgreSQL database",
    ),
    (
        TOKEN + "state: {url: postgresql://db/unpod, lease: 1m}",
        "state.lease: is given without state.replicas: true, which it belongs to",
    ),
    (
        TOKEN + "state: {url: postgresql://db/unpod, replicas: true, lease: 1s}",
        "state.lease: must be 2s or more; 30s is a good one",
    ),
    (
        TOKEN + "state: {password_file: config.yaml}",
        "state.password_file: is given without state.url, which it belongs to",
    ),
    *(
        (TOKEN + f"state: {{url: '{url}'}}", f"state.url: {problem}")
        for url, problem in (
            ("mysql://db/unpod", "is not the URL of a PostgreSQL database; write for example postgresql://"),
            ("postgresql://unpod:opensesame@db/unpod", "must hold no password; it goes to state.password_file, or to"),
            ("postgresql://unpod:open@sesame@db/unpod", "must hold no password; it goes to state.password_file, or to"),
            ("postgresql://unpod@db/unpod?password=opensesame", "must hold no password; a password goes to"),
            ("postgresql://db/unpod?sslmod=require", "has a parameter that PostgreSQL does not know; did you mean ssl"),
            ("postgresql://db:0/unpod", "has a host or a port that cannot be used; write for example postgresql://"),
            ("postgresql://db:99999/unpod", "has a host or a port that cannot be used; write for example"),
            ("postgresql://db/unpod?sslmode", "has parameters that cannot be read; write for example ?sslmode="),
            (
                "postgresql://db/unpod?sslmode=verify_full",
                "gives sslmode none of disable, allow, prefer,",
            ),
            ("postgresql://db/unpod?sslmode=", "gives sslmode no value"),
            ("postgresql://db/unpod?target_session_attrs=rw", "gives target_session_attrs none of any, read-write,"),
            ("postgresql://db/unpod?require_auth=md5,scram", "gives require_auth none of password, md5, gss, sspi,"),
            (
                "postgresql://db/unpod?ssl_min_protocol_version=1.2",
                "gives ssl_min_protocol_version none of TLSv1,",
            ),
            ("postgresql://db/unpod?keepalives=yes", "gives keepalives none of 0, 1"),
            ("postgresql://db/unpod?connect_timeout=5s", "gives connect_timeout no whole number"),
            ("postgresql://db/unpod?port=5432,65536", "has a port that cannot be used; write a number from 1 to 65535"),
            ("postgresql://db/unpod?sslrootcert=/no/such", "names a file by sslrootcert that cannot be read: No such"),
            ("postgresql://db/unpod?sslcert=/", "names a folder by sslcert, where a file should be"),
            ("postgresql://db/unpod?sslcrldir=/no/such", "names a folder by sslcrldir that is not there"),
            ("postgresql://db/unpod?sslsni=1&sslsni=0", "gives sslsni more than once"),
            (
                "postgresql://db/unpod?sslrootcert=system&sslmode=require",
                "has sslrootcert=system, which takes no",
            ),
            ("postgresql://db/unpod?sslnegotiation=direct", "has sslnegotiation=direct, which takes no other sslmode"),
            (
                "postgresql://db/unpod?ssl_min_protocol_version=tlsv1.3&ssl_max_protocol_version=TLSv1.2",
                "gives ssl_min_protocol_version more than ssl_max_protocol_version",
            ),
            ("postgresql://db/un%pod", "has a % that begins no character; write %25 for a percent sign"),
        )
    ),
    (TOKEN + "pollng: {}", "pollng: is not a key; did you mean polling?"),
    (TOKEN + "interval: 5s", "interval: is not a key here; it belongs under polling or agents or discovery"),
    (TOKEN + "xyzzy: 1", "xyzzy: is not a key; here are known: api, polling, agents, discovery, metrics, state"),
    (TOKEN + "polling: fast", "polling: must be a mapping (key: value), not text"),
    (TOKEN + "polling: {<<: {interval: 5s}}", "is not a key"),
    (TOKEN + "? [a]\n: b", "a key must be a plain word"),
    ("agents: [a]", "api.token: is missing; write token: ${UNPOD_API_TOKEN}, or token_file:"),
    ("api: {token: ''}", "api.token: is empty"),
    ("api: {token: '${X:-}'}", "api.token: is missing"),
    ("api: {token: '${UNPOD_API_TOKEN}'}", "api.token: names ${UNPOD_API_TOKEN}, which is not set in the environment"),
    ("api: {token: '${}'}", "api.token: has a ${ that does not name a variable"),
    ("api: {token: '${X'}", "api.token: has a ${ that does not name a variable"),
    ("api: {token: !secret abc}", "api.token: must be text, not another kind of value"),
    ("api: {token_file: /no/such}", 'api.token_file: "/no/such" cannot be read: No such file'),
]


@pytest.mark.parametrize(("text", "said"), WRONG_VALUES)
def test_one_wrong_value_is_one_readable_line(problems: Problems, text: str, said: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert re.match(r"config\.yaml(:\d+)?: ", found[0])
    assert said in found[0]


def test_all_that_is_wrong_with_a_database_is_told_at_once(problems: Problems) -> None:
    url = "postgresql://db/unpod?sslmod=x&sslmode=opensesame&password=opensesame&sslrootcert=opensesame&keepalives=on"
    found = problems(TOKEN + f"polling: {{interval: 0}}\nstate:\n  url: {url}\n")
    assert [line.partition(": ")[2] for line in found[1:]] == [
        "state.url: has a parameter that PostgreSQL does not know; did you mean sslmode?",
        "state.url: gives sslmode none of disable, allow, prefer, require, verify-ca, verify-full",
        "state.url: must hold no password; a password goes to state.password_file, or to PGPASSWORD or PGPASSFILE",
        "state.url: names a file by sslrootcert that cannot be read: No such file or directory; write its whole path",
        "state.url: gives keepalives none of 0, 1",
    ]
    assert all(line.startswith("config.yaml:4: ") for line in found[1:])
    (near,) = problems(TOKEN + "state: {url: 'postgresql://db/unpod?sslmode=verify_full'}")
    assert near.endswith("; did you mean verify-full?")
    assert "opensesame" not in "".join(found)


@pytest.mark.parametrize(
    "words",
    [
        "sslmode=verify-full&sslrootcert=system",
        "sslrootcert=system",
        "sslmode=require&sslnegotiation=direct",
        "sslrootcert=a%2bb+c.pem&sslkey=a%2Bb+c.pem",
        "ssl_min_protocol_version=tlsv1.2&ssl_max_protocol_version=TLSv1.3",
        "require_auth=scram-sha-256,!md5",
        "host=a,b&port=5432,5433&target_session_attrs=read-write&load_balance_hosts=random",
        "connect_timeout=5&keepalives=1&keepalives_idle=30&application_name=a%20b&options=-csearch_path%3Da,b",
        "sslcrldir=.",
        "sslkey=engine:name",
        "",
    ],
)
def test_what_libpq_takes_is_taken(
    read: Callable[[str], Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Files are looked for where libpq does: from the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a+b+c.pem").write_text("a certificate")
    url = f"postgresql://unpod@db/unpod?{words}".rstrip("?")
    assert read(TOKEN + f"state: {{url: '{url}'}}").state.url == url


WRONG_FILES = [
    (b"", "config.yaml: is empty"),
    (b"# nothing\n", "config.yaml: is empty"),
    (b"- a\n", "config.yaml:1: must be a mapping (key: value), not a list"),
    (b"text", "config.yaml:1: must be a mapping (key: value), not text"),
    (b"api: [\n", "config.yaml:2: is not YAML: "),
    (b"api:\n  token: a: b\n", "config.yaml:2: is not YAML: mapping values are not allowed here"),
    (b"api:\n\ttoken: a\n", "config.yaml:2: is not YAML: a tab stands where YAML wants spaces"),
    (b"api: {token: ${X}}\n", "config.yaml:1: is not YAML: expected ',' or '}', but got '{'"),
    (b"api: {token: caf\xe9}\n", "config.yaml: is not UTF-8 (at byte 16)"),
    (b"api: a\x00\n", "config.yaml: is not YAML: special characters are not allowed"),
    (b'api: "\\UFFFFFFFF"\n', "config.yaml: is not YAML: it cannot be read"),
    (b"a: 1\n---\nb: 2\n", "config.yaml:2: holds a second YAML document"),
    (b"[" * 100_000, "config.yaml: is nested too deeply"),
    (b"&a [*a]", "config.yaml:1: must be a mapping (key: value), not a list"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_FILES, ids=[said for _, said in WRONG_FILES])
def test_a_file_that_is_no_config_is_one_readable_line(problems: Problems, text: bytes, said: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_file_that_is_not_there_is_one_readable_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file or directory$"):
        load(tmp_path / "none.yaml", {})
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        load(tmp_path, {})


def test_all_problems_are_found_in_one_go_in_the_order_of_the_file(problems: Problems) -> None:
    found = problems(
        """api:
  org_handel: acme
  page_size: 0
polling:
  interval: 10x
agents:
  - a
  - handle: b
    interval: 5
  - a
  - handle: ""
metrics: {numbers_limit: x}
"""
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["config.yaml:2", "api.org_handel"],
        ["config.yaml:3", "api.page_size"],
        ["config.yaml:5", "polling.interval"],
        ["config.yaml:9", "agents[1].interval"],
        ["config.yaml:10", "agents[2]"],
        ["config.yaml:11", "agents[3].handle"],
        ["config.yaml:12", "metrics.numbers_limit"],
        ["config.yaml", "api.token"],
    ]


TOGETHER = {
    "bounds that do not rise, beside one that is none": (
        TOKEN + "metrics: {call_duration_buckets: [5, five, 5, 10, 7, inf]}",
        [
            'call_duration_buckets[1]: "five" is not a number',
            "buckets[5]: must not be infinite",
            "but 5 comes after 5",
            "but 7 comes after 10",
        ],
    ),
    "every interval that is too long, beside what else is wrong with agents and polling": (
        TOKEN + "polling: {interval: 1h, history: x}\n"
        "agents: ['', {handle: a, interval: 2h}, {handle: a, interval: 3h}, {handle: b, interval: x}]",
        [
            "polling.interval: 1h is longer",
            "polling.history: ",
            "agents[0]: is empty",
            "agents[1].interval: 2h is longer",
            "agents[2]: names the agent",
            "agents[2].interval: 3h is longer",
            "agents[3].interval: ",
        ],
    ),
    "a staleness that is none, which no interval is compared with": (
        TOKEN + "polling: {interval: 1h, max_staleness: long}\nagents: [{handle: a, interval: 2h}]",
        ["polling.max_staleness: "],
    ),
    "a staleness that is misspelt, which is likely to be longer": (
        TOKEN + "polling: {max_stalenes: 1d, interval: 1h}",
        ["polling.max_stalenes: is not a key; did you mean max_staleness?"],
    ),
    "a label whose name and value are both wrong": (
        TOKEN + "agents: [{handle: a, labels: {b-c: 1}}]",
        ["labels.b-c: must be text, not a number", "labels.b-c: is not a label name"],
    ),
    "a lease without replicas that is too short for them as well": (
        TOKEN + "state: {url: postgresql://db/unpod, lease: 1s}",
        ["state.lease: is given without state.replicas", "state.lease: must be 2s or more"],
    ),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_nothing_is_told_only_once_something_else_is_mended(problems: Problems, what: str) -> None:
    text, told = TOGETHER[what]
    found = problems(text)
    assert len(found) == len(told), found
    for said in told:
        assert sum(said in line for line in found) == 1, (said, found)


def test_a_key_given_twice_is_a_problem_that_names_both_lines(problems: Problems) -> None:
    text = TOKEN + "polling:\n  interval: 5s\n  history: all\n  interval: 6s\napi: {token: abc}\n"
    assert problems(text) == [
        "config.yaml:5: polling.interval: is given twice, first in line 3",
        "config.yaml:6: api: is given twice, first in line 1",
    ]


def test_both_tokens_are_one_too_many(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    found = problems("api:\n  token: abc\n  token_file: token\n")
    assert found == ["config.yaml:3: api.token_file: is given, and so is api.token; keep one of the two"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_token_file_must_be_a_file_with_something_in_it(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert "is an empty file" in problems("api: {token_file: token}")[0]
    assert "is not a file" in problems("api: {token_file: pipe}")[0]


SECRET = "s3cr3t-t0k3n-which-nobody-may-see"
LEAKS = [
    f"api: {{token: {SECRET}, base_url: 'https://u:{SECRET}@h'}}",
    f"api: {{token: '{SECRET} and more'}}",
    f"api: {{token: {SECRET}}}\npolling: {{interval: {SECRET}}}",
    f"api: {{token: &t {SECRET}, page_size: *t}}",
    "api: {token: '${TOKEN}', page_size: '${TOKEN}', timeout: '${TOKEN}', tls: {ca_file: '${TOKEN}'}}",
    "api: {token: '${TOKEN}'}\nagents: ['${TOKEN}', '${TOKEN}']",
    f"api: {{token: {SECRET}, proxy_url: 'ftp://u:{SECRET}@h'}}",
    f"api: {SECRET}",
    f"api: {{token: *{SECRET}}}",
    f"api: {{token: !{SECRET} x}}",
    f"api: {{{SECRET}: x}}",
    f"api:\n  token:{SECRET}\n",
    f"api: {{token: {SECRET}: x}}",
    f"api: {{token: @{SECRET}}}",
    f"api: {{token: abc, {SECRET}{SECRET}: 5}}",
    SECRET,
]


@pytest.mark.parametrize("text", LEAKS)
def test_no_message_shows_a_token(problems: Problems, text: str) -> None:
    said = "\n".join(problems(text, {"TOKEN": SECRET}))
    assert said
    assert SECRET not in said


def test_no_message_shows_a_token_of_the_environment() -> None:
    environ = {"UNPOD_API_TOKEN": f"Token {SECRET}", "UNPOD_BASE_URL": SECRET, "UNPOD_AGENTS": f"{SECRET},{SECRET}"}
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    assert SECRET not in str(caught.value)


KEYS = st.sampled_from([*ROOT, *(key for keys in SECTIONS.values() for key in keys), *AGENT])
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["${X}", "${X:-1}", "$$", "memory", "all", "none", "30s", "0", "64MiB", "*", "[", "https://h", "/a"]
    ),
    st.text(string.printable, max_size=20),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=5), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, TEXTS, st.integers()), inner, max_size=4)
    ),
    max_leaves=8,
)
FILES = st.fixed_dictionaries(
    {}, optional={"x": VALUES, **{name: st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=4)) for name in ROOT}}
)
RELAXED = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(path: Path | None, environ: dict[str, str]) -> Config | tuple[str, ...]:
    """The settings, or the lines that say why there are none."""
    try:
        return load(path, environ)
    except ConfigError as error:
        str(error).encode("utf-8")
        return tuple(str(error).split("\n"))


def is_settings_or_lines_about(outcome: Config | tuple[str, ...], path: Path) -> bool:
    return isinstance(outcome, Config) or all(line.startswith(str(path)) for line in outcome)


@RELAXED
@given(content=FILES, variable=TEXTS)
def test_any_value_at_any_key_is_settings_or_a_config_error(tmp_path: Path, content: object, variable: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    assert is_settings_or_lines_about(outcome(path, {"X": variable}), path)


@RELAXED
@given(st.one_of(st.binary(max_size=200), st.text("[]{}:-,&*!|>'\"%@`#? \n\tabc0~<=\\x", max_size=60).map(str.encode)))
def test_any_bytes_are_settings_or_a_config_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert is_settings_or_lines_about(outcome(path, {}), path)


@RELAXED
@given(st.dictionaries(st.sampled_from(["TOKEN", "TOKEN_FILE", "AGENTS", "BASE_URL", "HANDLE"]), TEXTS))
def test_any_environment_is_settings_or_a_config_error(content: dict[str, str]) -> None:
    names = {"TOKEN": "API_TOKEN", "TOKEN_FILE": "API_TOKEN_FILE", "HANDLE": "ORG_HANDLE"}
    told = outcome(None, {f"UNPOD_{names.get(name, name)}": value for name, value in content.items()})
    assert isinstance(told, Config) or all("UNPOD_" in line for line in told)


def test_the_name_of_the_file_stands_in_front_although_it_repeats_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"api: {{token: {tmp_path}, page_size: 0}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value).startswith(f"{path}:1: api.page_size: ")
