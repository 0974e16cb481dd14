"""The URL of a PostgreSQL database, as libpq reads it, but without secrets: the settings can be shown."""

from __future__ import annotations

import difflib
import re
from typing import Final
from urllib.parse import parse_qsl, unquote

from exporter.config.document import Scalar, Wrong

_EXAMPLE: Final = "write for example postgresql://unpod@db.example.com/unpod"
_URL: Final = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<database>[^/?#]*))?(?:\?(?P<words>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\[\]:\s]*)(?::(?P<port>\d{1,5}))?", re.ASCII)
_SECRETS: Final = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
PARAMETERS: Final = (
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "port",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
)
"""https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS, but for secrets."""


def url(scalar: Scalar) -> str:
    """The address of a database. No message shows any of it, since somebody may have written a password."""
    value = scalar.words()
    found = _URL.fullmatch(value)
    if value.count("@") > 1 or ":" in (found["user"] or "" if found else ""):
        raise Wrong("must hold no password; it goes to state.password_file, or to PGPASSWORD or PGPASSFILE")
    if found is None or re.search(r"\s", value):
        raise Wrong(f"is not the URL of a PostgreSQL database; {_EXAMPLE}")
    for host in found["hosts"].split(","):
        port = _HOST.fullmatch(host)
        if port is None or not 0 < int(port["port"] or 1) < 65536:
            raise Wrong(f"has a host or a port that cannot be used; {_EXAMPLE}")
    try:
        words = parse_qsl(found["words"] or "", strict_parsing=bool(found["words"]))
    except ValueError:
        raise Wrong("has parameters that cannot be read; write for example ?sslmode=verify-full") from None
    if re.search(r"%(?![0-9a-fA-F]{2})", value) or "\0" in unquote(value):
        raise Wrong("has a % that begins no character; write %25 for a percent sign")
    for name, _ in words:
        _check_parameter(name)
    return value


def _check_parameter(name: str) -> None:
    if name in _SECRETS:
        raise Wrong(f"must hold no {name}; a password goes to state.password_file, or to PGPASSWORD or PGPASSFILE")
    if name not in PARAMETERS:
        close = difflib.get_close_matches(name, PARAMETERS, n=1)
        raise Wrong(f"has a parameter that PostgreSQL does not know{f'; did you mean {close[0]}?' if close else ''}")
