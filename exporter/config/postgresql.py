"""The URL of a PostgreSQL database, as libpq reads it, but without secrets: the settings can be shown."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from exporter.config.document import Scalar, Wrong

_EXAMPLE: Final = "write for example postgresql://unpod@db.example.com/unpod"
_URL: Final = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^@/?#]*)@)?(?P<hosts>[^@/?#]*)(?:/(?P<database>[^/?#]*))?(?:\?(?P<words>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\[\]:\s]*)(?::(?P<port>\d{1,5}))?", re.ASCII)
_SECRETS: Final = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
_SWITCH: Final = ("0", "1")
_TLS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_PROTOCOL: Final = ("3.0", "3.2", "latest")
_METHODS: Final = ("password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none")
_WORDS: Final[Mapping[str, Sequence[str]]] = {
    "channel_binding": ("disable", "prefer", "require"),
    "gssdelegation": _SWITCH,
    "gssencmode": ("disable", "prefer", "require"),
    "keepalives": _SWITCH,
    "load_balance_hosts": ("disable", "random"),
    "max_protocol_version": _PROTOCOL,
    "min_protocol_version": _PROTOCOL,
    "require_auth": (*_METHODS, *(f"!{method}" for method in _METHODS)),
    "ssl_max_protocol_version": _TLS,
    "ssl_min_protocol_version": _TLS,
    "sslcertmode": ("disable", "allow", "require"),
    "sslcompression": _SWITCH,
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "sslsni": _SWITCH,
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
"""The words that a parameter may have."""
_SEVERAL: Final = ("require_auth",)
"""Parameters that may have several of their words, with commas."""
_NUMBERS: Final = (
    "connect_timeout",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)
_FILES: Final = ("passfile", "sslcert", "sslcrl", "sslkey", "sslrootcert")
_SYSTEM: Final = "system"
_OTHERS: Final = (
    "application_name",
    "client_encoding",
    "dbname",
    "fallback_application_name",
    "gsslib",
    "host",
    "hostaddr",
    "krbsrvname",
    "options",
    "port",
    "requirepeer",
    "service",
    "sslcrldir",
    "sslkeylogfile",
    "user",
)
PARAMETERS: Final = (*_WORDS, *_NUMBERS, *_FILES, *_OTHERS)
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
        # To libpq a + is a plus sign.
        given = (found["words"] or "").replace("+", "%2B")
        words = parse_qsl(given, keep_blank_values=True, strict_parsing=bool(given))
    except ValueError:
        raise Wrong("has parameters that cannot be read; write for example ?sslmode=verify-full") from None
    if re.search(r"%(?![0-9a-fA-F]{2})", value) or "\0" in unquote(value):
        raise Wrong("has a % that begins no character; write %25 for a percent sign")
    if problems := [*_of_parameters(words), *_of_tls(dict(words))]:
        raise Wrong(*problems)
    return value


def _of_parameters(words: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What is wrong with each parameter. No value is shown: there may be a password in any of them."""
    counts = Counter(name for name, _ in words)
    yield from (f"gives {name} more than once" for name in PARAMETERS if counts[name] > 1)
    for name, value in words:
        problem = _of_name(name) or _of_value(name, value)
        if problem:
            yield problem


def _of_name(name: str) -> str | None:
    if name in _SECRETS:
        return f"must hold no {name}; a password goes to state.password_file, or to PGPASSWORD or PGPASSFILE"
    if name in PARAMETERS:
        return None
    close = difflib.get_close_matches(name, PARAMETERS, n=1)
    return f"has a parameter that PostgreSQL does not know{f'; did you mean {close[0]}?' if close else ''}"


def _of_value(name: str, value: str) -> str | None:
    if not value:
        return f"gives {name} no value"
    if name in _WORDS:
        return _of_words(name, value.split(",") if name in _SEVERAL else [value])
    if name in _NUMBERS and not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return f"gives {name} no whole number"
    if name == "port" and not all(_is_port(port) for port in value.split(",")):
        return "has a port that cannot be used; write a number from 1 to 65535"
    if name in _FILES and not _is_no_file(name, value):
        return _of_file(name, Path(value))
    if name == "sslcrldir" and not Path(value).is_dir():
        return f"names a folder by {name} that is not there"
    return None


def _is_no_file(name: str, value: str) -> bool:
    """The authorities of the machine, or a key of one of OpenSSL's engines."""
    return (name, value) == ("sslrootcert", _SYSTEM) or (name == "sslkey" and ":" in value)


def _of_words(name: str, given: Sequence[str]) -> str | None:
    known = _WORDS[name]
    wrong = [word for word in given if word not in known and not (known is _TLS and _version(word))]
    if not wrong:
        return None
    close = difflib.get_close_matches(wrong[0].replace("_", "-"), known, n=1)
    return f"gives {name} none of {', '.join(known)}{f'; did you mean {close[0]}?' if close else ''}"


def _version(word: str) -> int:
    """The place of a TLS version among those that there are, in whichever case it is written; 0: it is none."""
    return next((place for place, version in enumerate(_TLS, 1) if version.lower() == word.lower()), 0)


def _of_file(name: str, path: Path) -> str | None:
    # Not opened: it may be a pipe.
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        hint = "" if path.is_absolute() else "; write its whole path"
        return f"names a file by {name} that cannot be read: {error.strerror}{hint}"
    if is_folder:
        return f"names a folder by {name}, where a file should be"
    return None if os.access(path, os.R_OK) else f"names a file by {name} that the exporter's user may not read"


def _is_port(text: str) -> bool:
    return re.fullmatch(r"\d{1,5}", text, re.ASCII) is not None and 0 < int(text) < 65536


def _of_tls(given: Mapping[str, str]) -> Iterator[str]:
    """What only shows when parameters are looked at together; libpq refuses these as well."""
    mode = given.get("sslmode")
    if given.get("sslrootcert") == _SYSTEM and mode in _WORDS["sslmode"][:-1]:
        yield "has sslrootcert=system, which takes no other sslmode than verify-full"
    if given.get("sslnegotiation") == "direct" and (mode or "prefer") in _WORDS["sslmode"][:3]:
        yield "has sslnegotiation=direct, which takes no other sslmode than require, verify-ca and verify-full"
    least, most = (_version(given.get(f"ssl_{end}_protocol_version", "")) for end in ("min", "max"))
    if least and most and least > most:
        yield "gives ssl_min_protocol_version more than ssl_max_protocol_version"
