"""Who is let in by a web config, asked with curl as people ask: users, certificates, limits, and their changes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest
import yaml

from tests.certificates import Authority
from tests.service.running import PATIENCE, SALES, Platform, Process, exporting, platform, ran, until, written

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
OTHER_HASH = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
TLS = {"cert_file": "server.pem", "key_file": "server.key"}
MUTUAL = {**TLS, "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem"}
PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/api/agents", "/nowhere")


def test_curl_is_there() -> None:
    """Without it the tests below would prove nothing: they fail, and are never skipped."""
    assert shutil.which("curl"), "make test says how to install it"


class Curled(NamedTuple):
    """What curl came back with. Its code is 0 where it got an answer."""

    code: int
    status: int
    headers: Mapping[str, str]
    body: str
    said: str


async def curl(url: str, *words: str) -> Curled:
    """An answer over HTTP, asked for by curl."""
    flags = ("--silent", "--show-error", "--include", "--max-time", str(PATIENCE))
    process = await asyncio.create_subprocess_exec(
        "curl", *flags, *words, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    head, _, body = out.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return Curled(
        process.returncode or 0,
        int(first.split()[1]) if first else 0,
        {name.lower(): value for name, _, value in fields},
        body,
        err.decode(),
    )


def web_config(folder: Path, **sections: Any) -> Path:
    """A web config, put in place at once as careful people do it."""
    written(folder, sections, "new.yml")
    return (folder / "new.yml").rename(folder / "web.yml")


@asynccontextmanager
async def guarded(folder: Path, made: Platform, **sections: Any) -> AsyncIterator[tuple[Process, str]]:
    """An exporter with a web config of these sections, and where it listens."""
    path = web_config(folder, **sections)
    async with exporting(folder, made.settings(), "--web.config.file", str(path)) as process:
        url = await process.url()
        yield process, url.replace("http://127.0.0.1", "https://localhost") if "tls_server_config" in sections else url


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.issue("localhost", "127.0.0.1", file="server")
    return made


async def test_nothing_is_told_to_whom_has_no_password(tmp_path: Path) -> None:
    async with platform(SALES) as made, guarded(tmp_path, made, basic_auth_users={"alice": HASH}) as (process, url):
        for path in PATHS:
            answer = await curl(url + path)
            assert (answer.status, answer.body) == (401, "a user and a password are needed\n")
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert answer.headers["x-frame-options"] == "DENY"
        for user in ("alice:wrong", "alice:", "bob:secret", ":secret"):
            assert (await curl(f"{url}/metrics", "--user", user)).status == 401
        for header in ("Basic ?", "Basic YWxpY2U=", "Bearer secret", "Basic", ""):
            assert (await curl(f"{url}/metrics", "--header", f"Authorization: {header}")).status == 401
        assert "unpod_" in (await curl(f"{url}/metrics", "--user", "alice:secret")).body
        assert (await curl(f"{url}/nowhere", "--user", "alice:secret")).status == 404
        (told,) = await process.until(lambda: process.events("refused"))
        assert told["reason"] == "a wrong user or password"
        assert told["peer"] == "127.0.0.1"
        assert not [word for word in ("secret", "wrong", HASH) if word in process.err.replace(told["reason"], "")]


async def test_without_encryption_no_certificate_is_needed_and_with_it_nothing_is_answered_in_the_clear(
    tmp_path: Path, authority: Authority
) -> None:
    async with platform(SALES) as made, guarded(tmp_path, made, tls_server_config=TLS) as (process, url):
        ca = ("--cacert", str(authority.cert))
        assert (await curl(f"{url}/-/healthy", *ca)).body == "healthy\n"
        assert (await curl(f"{url}/-/healthy", *ca, "--tls-max", "1.2")).status == 200
        assert (await curl(f"{url}/-/healthy")).code == 60, "curl trusts no unknown authority"
        plain = await curl(url.replace("https", "http") + "/-/healthy")
        assert (plain.status, plain.body) == (0, "")
        (listening,) = process.events("listening")
        assert listening["tls"] == "true"


async def test_client_certificates_are_verified(tmp_path: Path, authority: Authority) -> None:
    stranger = Authority(tmp_path, "stranger")
    friend = authority.issue("prometheus.example", file="friend")
    wrong = stranger.issue("prometheus.example", file="wrong")
    async with platform(SALES) as made, guarded(tmp_path, made, tls_server_config=MUTUAL) as (process, url):
        ca = ("--cacert", str(authority.cert))
        assert (await curl(f"{url}/metrics", *ca, "--cert", str(friend.cert), "--key", str(friend.key))).status == 200
        assert (await curl(f"{url}/metrics", *ca)).status == 0
        assert (await curl(f"{url}/metrics", *ca, "--cert", str(wrong.cert), "--key", str(wrong.key))).status == 0
        wanted = {"no TLS: no client certificate", "no TLS: a client certificate that cannot be verified"}
        # The exporter may come to know of it after curl.
        await process.until(lambda: {event["reason"] for event in process.events("refused")} == wanted)
        assert "Traceback" not in process.err


async def test_client_certificates_need_an_allowed_name(tmp_path: Path, authority: Authority) -> None:
    names = {"dns": "prometheus.example", "ip": "2001:db8::1", "mail": "scraper@prometheus.example"}
    friends = {kind: authority.issue(name, file=kind) for kind, name in names.items()}
    other = authority.issue("grafana.example", file="other")
    allowed = ["prometheus.example", "2001:0DB8:0::1", "scraper@prometheus.example"]
    rules = {**MUTUAL, "client_allowed_sans": allowed}
    async with platform(SALES) as made, guarded(tmp_path, made, tls_server_config=rules) as (process, url):
        ca = ("--cacert", str(authority.cert))
        for friend in friends.values():
            words = ("--cert", str(friend.cert), "--key", str(friend.key))
            assert (await curl(f"{url}/metrics", *ca, *words)).status == 200
        assert (await curl(f"{url}/metrics", *ca, "--cert", str(other.cert), "--key", str(other.key))).status == 0
        (told,) = await process.until(lambda: process.events("refused"))
        assert told["reason"] == "a client certificate of a name that is not allowed"
        assert (await curl(f"{url}/metrics", *ca)).status == 0


async def test_client_certificates_may_be_verified_of_those_alone_who_have_one(
    tmp_path: Path, authority: Authority
) -> None:
    rules = {**MUTUAL, "client_auth_type": "VerifyClientCertIfGiven"}
    stranger = Authority(tmp_path, "strangers").issue("prometheus.example", file="stranger")
    friend = authority.issue("prometheus.example", file="friend")
    async with platform(SALES) as made, guarded(tmp_path, made, tls_server_config=rules) as (_, url):
        ca = ("--cacert", str(authority.cert))
        for words, status in (((), 200), (friend, 200), (stranger, 0)):
            shown = ("--cert", str(words[0]), "--key", str(words[1])) if words else ()
            assert (await curl(f"{url}/metrics", *ca, *shown)).status == status


async def test_headers_of_the_web_config_come_before_those_of_the_exporter(tmp_path: Path) -> None:
    headers = {"X-Frame-Options": "sameorigin", "Content-Security-Policy": "", "X-XSS-Protection": "0"}
    async with (
        platform(SALES) as made,
        guarded(tmp_path, made, http_server_config={"http2": False, "headers": headers}) as (_, url),
    ):
        found = (await curl(f"{url}/")).headers
        assert (found["x-frame-options"], found["x-xss-protection"]) == ("sameorigin", "0")
        assert found["x-content-type-options"] == "nosniff"
        assert "content-security-policy" not in found


async def test_a_rate_limit_lets_a_burst_through_and_answers_the_rest_with_when_to_come_again(tmp_path: Path) -> None:
    async with platform(SALES) as made, guarded(tmp_path, made, rate_limit={"interval": "1h", "burst": 3}) as (_, url):
        answers = [await curl(f"{url}/-/healthy") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
        assert 3500 < int(answers[-1].headers["retry-after"]) <= 3601


async def test_users_and_certificates_change_without_a_restart_and_a_bad_file_changes_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    ca = ("--cacert", str(authority.cert))
    sections = {"tls_server_config": TLS, "basic_auth_users": {"alice": HASH}}
    async with platform(SALES) as made, guarded(tmp_path, made, **sections) as (process, url):

        async def status(*words: str) -> int:
            return (await curl(f"{url}/metrics", *words)).status

        assert await status(*ca, "--user", "alice:secret") == 200
        web_config(tmp_path, tls_server_config=TLS, basic_auth_users={"bob": OTHER_HASH})
        await until(lambda: _is(status(*ca, "--user", "bob:another"), 200))
        assert await status(*ca, "--user", "alice:secret") == 401

        for bad in ({"basic_auth_users": {"bob": "plain"}}, {"tls_server_config": {"cert_file": "none"}}, {}):
            before = len(process.events("web config not usable, the one before stays in force"))
            web_config(tmp_path, **bad) if bad else (tmp_path / "web.yml").write_text("")

            async def told(before: int = before) -> bool:
                assert await status(*ca, "--user", "bob:another") == 200
                return len(process.events("web config not usable, the one before stays in force")) > before

            await until(told)
        shown = (await curl(f"{url}/metrics", *ca, "--user", "bob:another")).body
        assert "unpod_exporter_config_last_reload_successful 0.0" in shown
        ends = float(shown.partition("\nunpod_exporter_web_certificate_not_after_timestamp_seconds ")[2].split("\n")[0])
        told = json.loads((await curl(f"{url}/api/agents", *ca, "--user", "bob:another")).body)
        assert told["certificate"]["begins"] < told["now"] < told["certificate"]["ends"] == ends
        (bad_file,) = told["bad_files"]
        assert (bad_file["file"], "web.yml: is not there, or empty" in bad_file["problem"]) == ("web config", True)

        renewed = Authority(tmp_path, "renewed")
        renewed.issue("localhost", file="server")
        web_config(tmp_path, tls_server_config=TLS, basic_auth_users={"bob": OTHER_HASH})
        await until(lambda: _is(status("--cacert", str(renewed.cert), "--user", "bob:another"), 200))
        assert (await curl(f"{url}/metrics", *ca)).code == 60, "the old certificate is gone"
        shown = (await curl(f"{url}/metrics", "--cacert", str(renewed.cert), "--user", "bob:another")).body
        assert "unpod_exporter_config_last_reload_successful 1.0" in shown
        assert "plain" not in process.err


async def _is(asked: Any, wanted: int) -> bool:
    return bool(await asked == wanted)


async def test_a_bad_web_config_is_told_before_anything_starts_and_by_check_together_with_the_settings(
    tmp_path: Path,
) -> None:
    written(tmp_path, "api: {tokn: abc}\nagents: [a]\n")
    web_config(tmp_path, basic_auth_users={"alice": "plain"}, http_server_config={"http2": True})
    words = ("--config.file", "config.yaml", "--web.config.file", "web.yml")
    checked, run = await asyncio.gather(ran(tmp_path, "check", *words), ran(tmp_path, "run", *words))
    assert (checked.code, run.code) == (1, 1)
    assert checked.err == run.err
    assert [line.split(": ")[1] for line in checked.err.splitlines()] == [
        "api.tokn",
        "api.token",
        "basic_auth_users.alice",
        "http_server_config.http2",
    ]


async def test_check_says_what_a_good_web_config_comes_to(tmp_path: Path, authority: Authority) -> None:
    written(tmp_path, "api: {token: abc}\nagents: [a]\n")
    limit = {"interval": "1s", "burst": 20}
    web_config(tmp_path, tls_server_config=MUTUAL, basic_auth_users={"alice": HASH, "bob": HASH}, rate_limit=limit)
    told = await ran(tmp_path, "check", "--web.config.file", "web.yml")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[-4:] == [
        "web.yml: good",
        "  TLS       on, client certificates required",
        "  users     alice, bob",
        "  limit     20 requests at once, one each 1 s",
    ]


async def test_the_example_is_a_good_web_config(tmp_path: Path, authority: Authority) -> None:
    example = Path(__file__).parents[2] / "docs" / "web-config.example.yml"
    told = yaml.safe_load(example.read_text())
    for file in ("cert_file", "key_file", "client_ca_file"):
        name = told["tls_server_config"][file]
        source = {"cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"}[file]
        (tmp_path / name).write_bytes((tmp_path / source).read_bytes())
    shutil.copy(example, tmp_path / "web.yml")
    written(tmp_path, "api: {token: abc}\nagents: [a]\n")
    assert (await ran(tmp_path, "check", "--web.config.file", "web.yml")).code == 0
    assert os.access(example, os.R_OK)


async def test_a_user_who_is_taken_away_is_not_let_in_once_more_although_nobody_asked_meanwhile(tmp_path: Path) -> None:
    async with platform(SALES) as made, guarded(tmp_path, made, basic_auth_users={"alice": HASH}) as (process, url):
        assert (await curl(f"{url}/-/healthy", "--user", "alice:secret")).status == 200
        web_config(tmp_path, basic_auth_users={"bob": HASH})
        await process.until(lambda: process.events("web config in force"))
        assert (await curl(f"{url}/-/healthy", "--user", "alice:secret")).status == 401
