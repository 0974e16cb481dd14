"""A web config as the exporter-toolkit reads it, and what is wrong with one: all of it at once, by name."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.config import ConfigError
from exporter.config.access import WebConfig, load_web
from exporter.config.certificates import CIPHERS, CURVES
from tests.certificates import Authority

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
BASE: dict[str, Any] = {"cert_file": "server.pem", "key_file": "server.key"}


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates: that of a server, its authority, and one of another server."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    authority.issue("localhost", file="server")
    authority.issue("localhost", file="other")
    return folder


@pytest.fixture
def read(tmp_path: Path, issued: Path) -> Callable[..., WebConfig]:
    """What a web config with these sections comes to."""
    for file in issued.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def read(text: str = "", **sections: Any) -> WebConfig:
        path = tmp_path / "web.yml"
        path.write_text(text or yaml.safe_dump(sections))
        return load_web(path)

    return read


@pytest.fixture
def wrong(read: Callable[..., WebConfig], tmp_path: Path) -> Callable[..., list[str]]:
    """What is wrong with a web config: the lines of the error, without the folder."""

    def wrong(text: str = "", **sections: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **sections)
        return str(caught.value).replace(f"{tmp_path}/", "").splitlines()

    return wrong


Read = Callable[..., WebConfig]
Problems = Callable[..., list[str]]


@pytest.mark.parametrize("text", ["", "{}", "# nothing", "basic_auth_users: {}", "tls_server_config:"])
def test_without_rules_everybody_is_let_in(read: Read, tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.yml"
    path.write_text(text)
    config = load_web(path)
    assert (config.tls, config.users, config.rate_limit) == (None, {}, None)


def test_the_example_of_the_toolkit_is_read(read: Read) -> None:
    config = read(
        "tls_server_config: {cert_file: server.pem, key_file: server.key}\n"
        f"basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n"
        'rate_limit:\n  interval: "1s"\n  burst: 20\n'
    )
    assert config.tls is not None
    assert {name: hashed.reveal() for name, hashed in config.users.items()} == {"alice": HASH, "bob": HASH}
    assert config.rate_limit is not None
    assert (config.rate_limit.interval, config.rate_limit.burst) == (1.0, 20)
    assert [file.name for file in config.files] == ["web.yml", "server.pem", "server.key"]


def test_no_hash_and_no_key_shows(read: Read, issued: Path) -> None:
    inline = {"cert": (issued / "server.pem").read_text(), "key": (issued / "server.key").read_text()}
    config = read(tls_server_config=inline, basic_auth_users={"alice": HASH})
    assert HASH not in repr(config)
    assert "PRIVATE" not in repr(config)


class TestTls:
    def test_certificates_may_stand_in_the_file(self, read: Read, issued: Path) -> None:
        texts = {name: (issued / file).read_text() for name, file in (("cert", "server.pem"), ("key", "server.key"))}
        ca = (issued / "ca.pem").read_text()
        config = read(tls_server_config={**texts, "client_ca": ca, "client_auth_type": "RequireAndVerifyClientCert"})
        assert config.tls is not None
        assert config.tls.context.verify_mode == ssl.CERT_REQUIRED
        assert [file.name for file in config.files] == ["web.yml"]

    def test_the_default_is_tls_1_2_or_later_without_client_certificates(self, read: Read) -> None:
        tls = read(tls_server_config=BASE).tls
        assert tls is not None
        assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert tls.context.maximum_version == ssl.TLSVersion.TLSv1_3
        assert tls.context.verify_mode == ssl.CERT_NONE
        assert tls.client_allowed_sans is None

    @pytest.mark.parametrize(
        ("word", "mode"),
        [
            ("NoClientCert", ssl.CERT_NONE),
            ("VerifyClientCertIfGiven", ssl.CERT_OPTIONAL),
            ("RequireAndVerifyClientCert", ssl.CERT_REQUIRED),
        ],
    )
    def test_client_authentication_that_python_can_do(self, read: Read, word: str, mode: ssl.VerifyMode) -> None:
        tls = read(tls_server_config={**BASE, "client_auth_type": word}).tls
        assert tls is not None
        assert tls.context.verify_mode == mode

    @pytest.mark.parametrize("word", ["RequestClientCert", "RequireAnyClientCert", "RequireClientCert"])
    def test_client_certificates_that_nobody_verifies_are_refused_by_name(self, wrong: Problems, word: str) -> None:
        (line,) = wrong(tls_server_config={**BASE, "client_auth_type": word})
        assert f'client_auth_type: "{word}" takes a client\'s certificate without verifying it' in line

    def test_all_ciphers_and_each_curve_of_go_are_had_by_this_openssl(self, read: Read) -> None:
        tls = read(tls_server_config={**BASE, "cipher_suites": list(CIPHERS)}).tls
        assert tls is not None
        found = [one["name"] for one in tls.context.get_ciphers() if not one["name"].startswith("TLS_")]
        assert found == list(CIPHERS.values())
        for curve in CURVES:
            assert read(tls_server_config={**BASE, "curve_preferences": [curve]}).tls

    def test_suites_of_tls_1_3_alone_leave_none_for_tls_1_2(self, read: Read) -> None:
        tls = read(tls_server_config={**BASE, "cipher_suites": ["TLS_AES_128_GCM_SHA256"]}).tls
        assert tls is not None
        assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_3

    def test_the_client_may_choose_the_cipher(self, read: Read) -> None:
        tls = read(tls_server_config={**BASE, "prefer_server_cipher_suites": False}).tls
        assert tls is not None
        assert not tls.context.options & ssl.OP_CIPHER_SERVER_PREFERENCE

    def test_what_decides_who_may_connect_makes_another_identity(self, read: Read) -> None:
        verified = {**BASE, "client_ca_file": "ca.pem", "client_auth_type": "RequireAndVerifyClientCert"}
        told = [
            BASE,
            {**BASE, "cert_file": "other.pem", "key_file": "other.key"},
            verified,
            {**verified, "client_allowed_sans": ["a"]},
            {**verified, "client_allowed_sans": []},
            {**BASE, "min_version": "TLS13"},
        ]
        identities = [read(tls_server_config=one).tls.identity for one in told]  # type: ignore[union-attr]
        assert len(set(identities)) == len(told)
        assert read(tls_server_config=BASE, basic_auth_users={"a": HASH}).tls.identity == identities[0]  # type: ignore[union-attr]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tls_server_config": {"key_file": "server.key"}}, "tls_server_config.cert_file: is missing; name the file of"),
    ({"tls_server_config": {"cert_file": "server.pem"}}, "tls_server_config.key_file: is missing; name the file of"),
    ({"tls_server_config": {**BASE, "cert": "x"}}, "cert_file: is given, and so is cert; keep one of the two"),
    ({"tls_server_config": {**BASE, "key_file": "none.key"}}, 'key_file: "none.key" cannot be read: No such file'),
    ({"tls_server_config": {**BASE, "key_file": "other.key"}}, "key_file: does not belong to the certificate"),
    ({"tls_server_config": {**BASE, "key_file": "ca.pem"}}, "key_file: holds no private key in PEM"),
    ({"tls_server_config": {**BASE, "cert_file": "server.key"}}, "cert_file: holds no certificate in PEM"),
    (
        {"tls_server_config": {"cert": "-----BEGIN CERTIFICATE-----\nAA", "key_file": "server.key"}},
        "tls_server_config.cert: holds a certificate that cannot be read",
    ),
    (
        {"tls_server_config": {"cert_file": "server.pem", "key": "-----BEGIN ENCRYPTED PRIVATE KEY-----"}},
        "tls_server_config.key: is encrypted, and nobody is there to enter its password",
    ),
    (
        {"tls_server_config": {"cert_file": "server.pem", "key": "-----BEGIN PRIVATE KEY-----\nAAAA\n"}},
        "tls_server_config.key: cannot be used",
    ),
    ({"tls_server_config": {**BASE, "client_ca_file": "ca.pem"}}, "client_ca_file: has no effect without client_auth"),
    ({"tls_server_config": {**BASE, "client_allowed_sans": ["a"]}}, "client_allowed_sans: has no effect without"),
    (
        {"tls_server_config": {**BASE, "client_auth_type": "VerifyClientCertIfGiven", "client_allowed_sans": ["a"]}},
        "client_allowed_sans: keeps nobody out who comes without a certificate; write client_auth_type: Require",
    ),
    (
        {
            "tls_server_config": {
                **BASE,
                "client_auth_type": "RequireAndVerifyClientCert",
                "client_ca_file": "server.key",
            }
        },
        "client_ca_file: holds no certificate in PEM",
    ),
    (
        {"tls_server_config": {**BASE, "client_auth_type": "Yes"}},
        'client_auth_type: "Yes" is not known here; known are',
    ),
    ({"tls_server_config": {**BASE, "min_version": "TLS10"}}, 'min_version: "TLS10" is switched off in OpenSSL'),
    ({"tls_server_config": {**BASE, "max_version": "TLS11"}}, 'max_version: "TLS11" is switched off in OpenSSL'),
    ({"tls_server_config": {**BASE, "max_version": "SSL3"}}, 'max_version: "SSL3" is not known here; known are TLS12'),
    (
        {"tls_server_config": {**BASE, "min_version": "TLS13", "max_version": "TLS12"}},
        "min_version: is newer than max_version",
    ),
    (
        {"tls_server_config": {**BASE, "cipher_suites": ["TLS_AES_128_GCM_SHA256"], "max_version": "TLS12"}},
        "cipher_suites: names suites of TLS 1.3 alone",
    ),
    ({"tls_server_config": {**BASE, "cipher_suites": ["RC4"]}}, 'cipher_suites[0]: "RC4" is not known here'),
    ({"tls_server_config": {**BASE, "curve_preferences": ["P192"]}}, 'curve_preferences[0]: "P192" is not known here'),
    (
        {"tls_server_config": {**BASE, "curve_preferences": ["X25519", "CurveP256"]}},
        "curve_preferences: names several curves, but Python's ssl can be told one alone",
    ),
    ({"http_server_config": {"http2": True}}, "http_server_config.http2: cannot be true: this server speaks HTTP/1.1"),
    ({"http_server_config": {"headers": {"Server": "x"}}}, "headers.Server: is not a key; here are known: Content-"),
    ({"http_server_config": {"headers": {"X-Frame-Options": "no"}}}, '"no" is not allowed; write deny or sameorigin'),
    ({"http_server_config": {"headers": {"X-XSS-Protection": "a\r\nb"}}}, "holds a character that no HTTP header can"),
    (
        {"basic_auth_users": {"alice": "secret"}},
        "basic_auth_users.alice: is not a bcrypt hash; make one with: htpasswd",
    ),
    ({"basic_auth_users": {"alice": HASH.replace("$04$", "$31$")}}, "is a bcrypt hash of cost 31, which takes longer"),
    ({"basic_auth_users": {"alice": HASH.replace("$04$", "$03$")}}, "is not a bcrypt hash"),
    ({"basic_auth_users": {"alice": None}}, "basic_auth_users.alice: has no password; write its bcrypt hash"),
    ({"basic_auth_users": {"a:b": HASH}}, "cannot be the name of a user: basic authentication allows no colon"),
    ({"basic_auth_users": ["alice"]}, "basic_auth_users: must be a mapping (key: value), not a list"),
    ({"rate_limit": {"interval": "1 second", "burst": 1}}, 'rate_limit.interval: "1 second" is not a duration'),
    ({"rate_limit": {"interval": "1s"}}, "rate_limit: has an interval but no burst: no request would pass"),
    ({"rate_limit": {"interval": "1s", "burst": 0}}, 'rate_limit.burst: "0" is too small; it must be at least 1'),
    ({"rate_limit": {"interval": "99999h", "burst": 1}}, "is too long; a day is the most"),
    ({"burst": 1}, "burst: is not a key here; it belongs under rate_limit"),
    ({"tls_config": {}}, "tls_config: is not a key; did you mean tls_server_config?"),
]


@pytest.mark.parametrize(("sections", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_what_is_wrong_is_told_by_name_with_what_would_be_right(
    wrong: Problems, sections: dict[str, Any], said: str
) -> None:
    (line,) = wrong(**sections)
    assert line.startswith("web.yml:")
    assert said in line


def test_all_that_is_wrong_is_told_at_once_and_no_secret_is(wrong: Problems) -> None:
    told = wrong(
        tls_server_config={"cert_file": "none.pem", "key": "a-private-key", "min_version": "TLS10"},
        basic_auth_users={"alice": "a-plain-password", "bob": "another-password"},
        http_server_config={"http2": True},
        rate_limit={"interval": "x", "burst": "y"},
    )
    assert len(told) == 8
    assert not [line for line in told if "a-plain" in line or "another-" in line or "a-private" in line]


CA_WANTED = {"client_auth_type": "RequireAndVerifyClientCert"}
TOGETHER: dict[str, tuple[dict[str, Any], list[str]]] = {
    "certificates that cannot be used, and a version that is not": (
        {"tls_server_config": {"cert_file": "server.key", "key_file": "ca.pem", "min_version": "TLS10"}},
        ["cert_file: holds no certificate", "key_file: holds no private key", "min_version: "],
    ),
    "a key of another certificate, and an authority that is none": (
        {"tls_server_config": {**BASE, "key_file": "other.key", "client_ca_file": "server.key", **CA_WANTED}},
        ["key_file: does not belong to the certificate", "client_ca_file: holds no certificate"],
    ),
    "what is missing, beside what is wrong": (
        {"tls_server_config": {"min_version": "TLS10"}},
        ["cert_file: is missing", "key_file: is missing", "min_version: "],
    ),
    "a key that is not there, of which nothing else is said": (
        {"tls_server_config": {"cert_file": "server.pem", "key_file": "none.key", "curve_preferences": ["P192"]}},
        ['key_file: "none.key" cannot be read', "curve_preferences[0]: "],
    ),
    "a kind of authentication that is none, which the authority may be for": (
        {"tls_server_config": {**BASE, "client_ca_file": "ca.pem", "client_auth_type": "Yes"}},
        ["client_auth_type: "],
    ),
    "too many curves, one of them unknown": (
        {"tls_server_config": {**BASE, "curve_preferences": ["P192", "CurveP256"]}},
        ["curve_preferences[0]: ", "curve_preferences: names several curves"],
    ),
    "versions the wrong way round, and a key of another certificate": (
        {"tls_server_config": {**BASE, "key_file": "other.key", "min_version": "TLS13", "max_version": "TLS12"}},
        ["key_file: does not belong", "min_version: is newer than max_version"],
    ),
    "a section that is none": ({"tls_server_config": "on"}, ["tls_server_config: must be a mapping"]),
    "an interval that is none, and no burst": (
        {"rate_limit": {"interval": "x"}},
        ["rate_limit.interval: ", "rate_limit: has an interval but no burst"],
    ),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_nothing_is_told_only_once_something_else_is_mended(wrong: Problems, what: str) -> None:
    sections, told = TOGETHER[what]
    found = wrong(**sections)
    assert len(found) == len(told), found
    for said in told:
        assert sum(said in line for line in found) == 1, (said, found)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("500ms", 0.5), ("1m30s", 90.0), ("1.5h", 5400.0), (".5s", 0.5), ("100us", 1e-4), ("5µs", 5e-6)],
)
def test_intervals_are_written_as_go_writes_durations(read: Read, text: str, seconds: float) -> None:
    limit = read(rate_limit={"interval": text, "burst": 3}).rate_limit
    assert limit is not None
    assert limit.interval == pytest.approx(seconds)


@pytest.mark.parametrize("interval", [0, "0", "0s"])
def test_an_interval_of_nothing_is_no_limit(read: Read, interval: object) -> None:
    assert read(rate_limit={"interval": interval, "burst": 3}).rate_limit is None


def test_a_header_may_be_taken_away_and_http2_may_be_false(read: Read) -> None:
    given = {"X-Frame-Options": "", "Strict-Transport-Security": "max-age=31536000"}
    assert read(http_server_config={"http2": False, "headers": given}).headers == given


@pytest.mark.parametrize("text", ["- a", "a", "tls_server_config: [", "\x00", "a: &a [*a]", "{" * 5000])
def test_what_is_no_web_config_is_told(wrong: Problems, text: str) -> None:
    assert wrong(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([HASH, "server.pem"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *("cert", "key", "client_ca", "cert_file", "key_file", "client_auth_type", "client_ca_file"),
        *("client_allowed_sans", "min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites"),
        *("curve_preferences", "http2", "headers", "interval", "burst", "X-Frame-Options", "alice"),
    ]
)
SECTION = st.dictionaries(KEYS, VALUES, max_size=6) | VALUES
DOCUMENT = st.dictionaries(
    st.sampled_from(["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit", "other"]), SECTION
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(document=DOCUMENT)
def test_whatever_a_file_says_it_is_read_or_told(read: Read, document: dict[str, Any]) -> None:
    with suppress(ConfigError):
        assert isinstance(read(**document), WebConfig)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_whatever_stands_in_a_file_it_is_read_or_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(ConfigError):
        assert isinstance(load_web(path), WebConfig)
