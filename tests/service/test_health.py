"""The health check of containers, beside real processes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.certificates import Authority
from tests.service.running import SALES, exporting, platform, started, written

TLS = {"tls_server_config": {"cert_file": "server.pem", "key_file": "server.key"}}
MUTUAL = {
    "tls_server_config": {
        **TLS["tls_server_config"],
        "client_auth_type": "RequireAndVerifyClientCert",
        "client_ca_file": "ca.pem",
    }
}
USERS = {"basic_auth_users": {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}}
HEALTH = "exporter.health"


@pytest.mark.parametrize("web_config", [{}, TLS, MUTUAL, USERS], ids=["plain", "TLS", "mutual TLS", "users"])
async def test_a_working_exporter_is_healthy_whoever_may_ask(tmp_path: Path, web_config: dict[str, Any]) -> None:
    Authority(tmp_path).issue("exporter.example", file="server")
    path = str(written(tmp_path, web_config, "web.yml"))
    async with (
        platform(SALES) as made,
        exporting(tmp_path, made.settings(), "--web.config.file", path) as process,
    ):
        address = (await process.url()).partition("//")[2]
        environ = {"UNPOD_EXPORTER_WEB_LISTEN_ADDRESS": address, "UNPOD_EXPORTER_WEB_CONFIG_FILE": path}
        async with started(tmp_path, environ=environ, module=HEALTH) as asked:
            assert await asked.end() == (0, "", "")
        process.send(signal.SIGSTOP)
        async with started(tmp_path, environ=environ, module=HEALTH) as asked:
            told = await asked.end()
        process.send(signal.SIGCONT)
        assert (told.code, told.err) == (1, f"no answer on {address} within 4 s\n")
        assert [event for event in process.events() if event["level"] == "error"] == []


async def test_where_nobody_listens_nothing_is_healthy(tmp_path: Path) -> None:
    environ = {"UNPOD_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:1"}
    async with started(tmp_path, environ=environ, module=HEALTH) as asked:
        told = await asked.end()
    assert (told.code, told.err) == (1, "no answer on 127.0.0.1:1: [Errno 111] Connection refused\n")
