"""A real Prometheus that scrapes through the door: over mutual TLS, with a password, and while both change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.prometheus.running import prometheus
from tests.service.running import SALES, exporting, platform, until, written
from tests.service.test_access import HASH, MUTUAL, OTHER_HASH, web_config


def job(name: str, address: str, folder: Path, certificate: str, **more: Any) -> dict[str, Any]:
    tls = {"ca_file": "ca.pem", "cert_file": f"{certificate}.pem", "key_file": f"{certificate}.key"}
    tls_config = {key: str(folder / value) for key, value in tls.items()} | {"server_name": "localhost"}
    scheme = {"scheme": "https", "tls_config": tls_config}
    return {"job_name": name, **scheme, "static_configs": [{"targets": [address]}], **more}


async def test_prometheus_gets_in_with_certificate_and_password_and_nobody_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("localhost", file="server")
    authority.issue("prometheus.example", file="prometheus")
    authority.issue("grafana.example", file="grafana")
    rules = {**MUTUAL, "client_allowed_sans": ["prometheus.example"]}
    path = web_config(tmp_path, tls_server_config=rules, basic_auth_users={"alice": HASH})
    password = tmp_path / "password"
    password.write_text("secret")
    good = {"basic_auth": {"username": "alice", "password_file": str(password)}}
    async with (
        platform(SALES) as made,
        exporting(tmp_path, made.settings(), "--web.config.file", str(path)) as process,
    ):
        address = (await process.url()).removeprefix("http://")
        jobs = [
            job("good", address, tmp_path, "prometheus", **good),
            job("no_password", address, tmp_path, "prometheus"),
            job("wrong_password", address, tmp_path, "prometheus", basic_auth={"username": "alice", "password": "no"}),
            job("wrong_name", address, tmp_path, "grafana", **good),
            {"job_name": "plain", "static_configs": [{"targets": [address]}]},
        ]
        async with prometheus(tmp_path, {"scrape_configs": jobs}) as running:
            await running.until('up{job="good"}', 1)
            await running.until('count(unpod_agent_info{job="good"})', 1)
            await running.until('count(up{job!="good"} == 0)', 4)
            await running.until('count(min_over_time(up{job="good"}[1h]) == 1)', 1)

            # The certificate of the server is renewed, and the password changed, while Prometheus scrapes.
            authority.issue("localhost", file="server")
            web_config(tmp_path, tls_server_config=rules, basic_auth_users={"alice": OTHER_HASH})
            await running.until('up{job="good"}', 0)
            password.write_text("another")
            await running.until('up{job="good"}', 1)

            # The name of its certificate is no longer allowed: the connection that it holds open ends.
            none = {**rules, "client_allowed_sans": ["somebody.else"]}
            web_config(tmp_path, tls_server_config=none, basic_auth_users={"alice": OTHER_HASH})
            await running.until('up{job="good"}', 0)
        assert "Traceback" not in process.err
        assert not [word for word in ("secret", "another", HASH, OTHER_HASH) if word in process.err]


async def test_scrapes_go_on_through_reloads(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        address = (await process.url()).removeprefix("http://")
        target = {"job_name": "unpod", "static_configs": [{"targets": [address]}]}
        async with prometheus(tmp_path, {"scrape_configs": [target]}) as running:
            await running.until("up", 1)

            async def often() -> bool:
                pace = await running.number("count_over_time(up[1h])") or 0.0
                written(tmp_path, made.settings(api={"page_size": 20 + int(pace) % 5}))
                assert (await process.get("/-/reload", method="POST")).status == 200
                return pace >= 6

            await until(often)
            assert await running.number("min_over_time(up[1h])") == 1
            assert await running.number("sum(resets(unpod_tasks_created_total[1h]))") == 0
            assert await running.number("min_over_time(unpod_exporter_config_last_reload_successful[1h])") == 1
