"""Good inputs of each target, to begin from: what is nearly right goes deepest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def _page() -> bytes:
    samples = [json.loads(line) for line in (ROOT / "tests" / "data" / "samples.jsonl").read_text().splitlines()]
    return json.dumps({"count": len(samples), "status_code": 200, "message": "ok", "data": samples}).encode()


def _agents() -> bytes:
    listed = [
        {"handle": "sales-agent-v1", "name": "Sales", "type": "Voice", "state": "published", "purpose": ""},
        {"handle": "", "name": None, "type": "Chat"},
    ]
    return json.dumps({"count": 2, "status_code": 200, "data": listed}).encode()


SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "page": (_page(),),
    "agents": (_agents(),),
    "refusal": (
        b"\x00\x6a12",
        b"\x01\x493\x1c",
        b"\x01\x49Wed, 21 Oct 2026 07:28:00 GMT",
        b"\x00\xc9https://elsewhere.example/login?next=1",
    ),
    "config": (
        (ROOT / "config.example.yaml").read_bytes(),
        b"api: {token: '${UNPOD_API_TOKEN}'}\nagents: [a, {handle: b}]\n",
    ),
    "web_config": (
        b"basic_auth_users: {prometheus: '$2y$10$s3cretOfAUser" + b"." * 40 + b"'}\n",
        b"http_server_config: {http2: false, headers: {X-Frame-Options: deny}}\nrate_limit: {interval: 1s, burst: 5}\n",
        b"tls_server_config: {cert_file: a.crt, key_file: a.key, client_auth_type: NoClientCert, min_version: TLS12}\n",
    ),
    "headers": (
        b"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\ngzip;q=0.5",
    ),
    "address": (b":10130", b"[::1]:0", b"localhost:9000"),
}
