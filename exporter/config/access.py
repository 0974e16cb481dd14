"""A web config file in the format of Prometheus' exporter-toolkit: who may connect, and how.

Its keys are those of https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md. What Python
cannot honour is refused by name: to ignore a rule about access would be worse than not to start.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from exporter.config import certificates, readers
from exporter.config.certificates import Identity, Unusable
from exporter.config.document import Document, Place, Scalar, Wrong
from exporter.config.keys import Section, file, many, one, read_section, section
from exporter.config.loading import ConfigError, read_yaml
from exporter.config.model import Secret
from exporter.config.validity import Validity, validity

T = TypeVar("T")

MOST_WORK: Final = 16
"""The highest cost of a bcrypt hash: a check takes seconds by then, and doubles with each step."""
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_LEAST_WORK: Final = 4
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_INTERVAL: Final = 86_400.0
_HEADER_VALUE: Final = re.compile(r"[ -~]*")
_FRAME_OPTIONS: Final = ("deny", "sameorigin")
_TLS: Final = "tls_server_config"
_INLINE: Final = {"cert_file": "cert", "key_file": "key", "client_ca_file": "client_ca"}


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How connections are encrypted."""

    context: ssl.SSLContext
    identity: bytes
    """Differs where anything differs that decides who may connect."""
    client_allowed_sans: tuple[str, ...] | None = None
    """A client's certificate must have one of these names; None: any will do."""
    validity: Validity | None = None
    """From when until when the certificate can be used; None: it cannot be told."""


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of ``burst`` requests, filled by one request every ``interval`` seconds."""

    interval: float
    burst: int


class WebConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask for what is served, and what every answer carries."""

    tls: Tls | None = None
    users: Mapping[str, Secret] = {}
    """bcrypt hashes by user; empty: everybody is let in."""
    headers: Mapping[str, str] = {}
    """What answers carry besides, or instead; an empty value: not at all."""
    rate_limit: RateLimit | None = None
    files: tuple[Path, ...] = ()
    """What has been read for it."""


def load_web(path: Path) -> WebConfig:
    """The web config at ``path`` with its certificates. Raises ConfigError with all that is wrong with it."""
    document = Document(None, path.parent, sections=_SECTIONS)
    root = read_yaml(document, path)
    values = read_section(Place(document, root, ""), _ROOT) if root is not None else {}
    tls = _tls(document, values.get(_TLS) or {})
    if document.problems:
        raise ConfigError(document.in_words(str(path)))
    http = values.get("http_server_config", {})
    return WebConfig(
        tls=tls,
        users=values.get("basic_auth_users", {}),
        headers=http.get("headers", {}),
        rate_limit=_rate_limit(values.get("rate_limit", {})),
        files=(path, *(value for key, value in (values.get(_TLS) or {}).items() if key in _INLINE)),
    )


def _rate_limit(given: Mapping[str, Any]) -> RateLimit | None:
    if not given.get("interval"):
        return None
    return RateLimit(interval=given["interval"], burst=given["burst"])


def _tls(document: Document, given: Mapping[str, Any]) -> Tls | None:
    if not document.in_shape(_TLS) or (not given and document.sound(_TLS)):
        return None
    _check_tls(document, given)
    try:
        identity = _identity(given)
        context = certificates.context_of(identity)
    except Unusable as unusable:
        _blame(document, given, unusable)
        return None
    if not document.sound(_TLS):
        return None
    sans = given.get("client_allowed_sans")
    digest = hashlib.sha256(repr((identity, sans)).encode()).digest()
    valid = validity(identity.certificate.decode("ascii", "ignore"))
    return Tls(context=context, identity=digest, client_allowed_sans=sans, validity=valid)


def _blame(document: Document, given: Mapping[str, Any], unusable: Unusable) -> None:
    """Tells what cannot be used of what is given; what is not, or is wrong otherwise, has been told."""
    for inline, why in unusable.found:
        key = next((name for name, other in _INLINE.items() if other == inline and name in given), inline)
        if key in given and document.sound(f"{_TLS}.{key}"):
            document.wrong(f"{_TLS}.{key}", why)


def _check_tls(document: Document, given: Mapping[str, Any]) -> None:
    """What only shows when keys are looked at together."""
    found = [*_doubled_or_missing(given), *_contradicting(given)]
    if document.sound(f"{_TLS}.client_auth_type"):
        found += _without_effect(given)
    for key, text in found:
        if all(document.sound(f"{_TLS}.{name}") for name in (key, _INLINE.get(key, key))):
            document.wrong(f"{_TLS}.{key}", text)


def _doubled_or_missing(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, inline in _INLINE.items():
        if name in given and inline in given:
            yield name, f"is given, and so is {inline}; keep one of the two"
    for name, what in (("cert_file", "the certificate"), ("key_file", "the private key")):
        if name not in given and _INLINE[name] not in given:
            yield name, f"is missing; name the file of {what} of this server, or give it as {_INLINE[name]}"


def _without_effect(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    kind = given.get("client_auth_type", ssl.CERT_NONE)
    if kind == ssl.CERT_NONE:
        for name in ("client_ca_file", "client_ca", "client_allowed_sans"):
            if name in given:
                yield name, "has no effect without client_auth_type: RequireAndVerifyClientCert"
    elif kind == ssl.CERT_OPTIONAL and "client_allowed_sans" in given:
        yield (
            "client_allowed_sans",
            ("keeps nobody out who comes without a certificate; write client_auth_type: RequireAndVerifyClientCert"),
        )


def _contradicting(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    oldest, newest = (given.get(name) for name in ("min_version", "max_version"))
    if oldest is not None and newest is not None and oldest > newest:
        yield "min_version", "is newer than max_version"
    if given.get("cipher_suites") == () and newest == ssl.TLSVersion.TLSv1_2:
        yield "cipher_suites", "names suites of TLS 1.3 alone, but max_version is TLS12"


def _identity(given: Mapping[str, Any]) -> Identity:
    oldest = given.get("min_version", ssl.TLSVersion.TLSv1_2)
    ciphers = given.get("cipher_suites")
    curves = given.get("curve_preferences", ())
    return Identity(
        certificate=_pem(given, "cert_file") or b"",
        key=_pem(given, "key_file") or b"",
        client_ca=_pem(given, "client_ca_file"),
        client_auth=given.get("client_auth_type", ssl.CERT_NONE),
        # Suites of TLS 1.3 alone leave none for a client of TLS 1.2.
        oldest=ssl.TLSVersion.TLSv1_3 if ciphers == () else oldest,
        newest=given.get("max_version", ssl.TLSVersion.TLSv1_3),
        ciphers=ciphers or (),
        curve=curves[0] if curves else None,
        server_chooses=given.get("prefer_server_cipher_suites", True),
    )


def _pem(given: Mapping[str, Any], name: str) -> bytes | None:
    inline: str | Secret | None = given.get(_INLINE[name])
    if inline is not None:
        return (inline.reveal() if isinstance(inline, Secret) else inline).encode()
    path: Path | None = given.get(name)
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable([(_INLINE[name], f"cannot be read: {error.strerror}")]) from None


def _text(scalar: Scalar) -> str:
    """A text of several lines."""
    if scalar.kind != "str" or not scalar.text.strip():
        raise Wrong("must be text in PEM")
    return scalar.text


def _secret(scalar: Scalar) -> Secret:
    return Secret(_text(scalar))


def _client_auth(scalar: Scalar) -> ssl.VerifyMode:
    word = scalar.words()
    if word in certificates.UNVERIFIED:
        raise Wrong(
            f"{scalar.shown()} takes a client's certificate without verifying it, which Python cannot; write "
            "RequireAndVerifyClientCert"
        )
    return _one_of(scalar, certificates.CLIENT_AUTH)


def _version(scalar: Scalar) -> ssl.TLSVersion:
    if scalar.words() in certificates.OLD_VERSIONS:
        raise Wrong(f"{scalar.shown()} is switched off in OpenSSL, being unsafe (RFC 8996); write TLS12 or TLS13")
    return _one_of(scalar, certificates.VERSIONS)


def _one_of(scalar: Scalar, words: Mapping[str, T]) -> T:
    word = scalar.words()
    if word not in words:
        raise Wrong(f"{scalar.shown()} is not known here; known are {', '.join(words)}")
    return words[word]


def _cipher(scalar: Scalar) -> str:
    """OpenSSL's word; empty for a suite of TLS 1.3, which is always there."""
    if scalar.words() in certificates.CIPHERS_13:
        return ""
    return _one_of(scalar, certificates.CIPHERS)


def _ciphers(place: Place) -> Any:
    suites = many(_cipher)(place)
    return tuple(filter(None, suites)) if suites else msgspec.UNSET


def _curves(place: Place) -> Any:
    curves = many(lambda scalar: _one_of(scalar, certificates.CURVES))(place)
    if place.size > 1:
        place.wrong("names several curves, but Python's ssl can be told one alone; name one, or leave it out")
    return curves or msgspec.UNSET


def _no_http2(scalar: Scalar) -> bool:
    if readers.boolean(scalar):
        raise Wrong("cannot be true: this server speaks HTTP/1.1; write false, or leave it out")
    return False


def _header(allowed: tuple[str, ...] = ()) -> Any:
    def read(scalar: Scalar) -> str:
        value = scalar.text.strip()
        if not _HEADER_VALUE.fullmatch(value):
            raise Wrong("holds a character that no HTTP header can carry")
        if value and allowed and value not in allowed:
            raise Wrong(f"{scalar.shown()} is not allowed; write {' or '.join(allowed)}")
        return value

    return one(read)


def _users(place: Place) -> Any:
    if place.is_null():
        return msgspec.UNSET
    users = {}
    for name, value in place.entries().items():
        if not name or ":" in name or not name.isprintable():
            value.wrong("cannot be the name of a user: basic authentication allows no colon and no control character")
        users[name] = value.read(_hash, secret=True)
        if users[name] is msgspec.UNSET and place.document.sound(value.path):
            value.wrong("has no password; write its bcrypt hash")
    return {name: hashed for name, hashed in users.items() if hashed is not msgspec.UNSET}


def _hash(scalar: Scalar) -> Secret:
    found = _BCRYPT.fullmatch(scalar.text)
    if found is None or int(found[1]) < _LEAST_WORK:
        raise Wrong("is not a bcrypt hash; make one with: htpasswd -nBC 10 USER")
    if int(found[1]) > MOST_WORK:
        raise Wrong(
            f"is a bcrypt hash of cost {int(found[1])}, which takes longer to check than a scrape can wait; "
            f"take a cost of {MOST_WORK} at most"
        )
    return Secret(scalar.text)


def _interval(scalar: Scalar) -> float:
    """Seconds of a duration as Go writes it."""
    text = scalar.text.strip()
    if text == "0":
        return 0.0
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise Wrong(f"{scalar.shown()} is not a duration; write for example 1s or 500ms, or 0 for no limit")
    seconds = sum(float(part[0].removesuffix(part[1])) * _UNITS[part[1]] for part in parts)
    if seconds > _LONGEST_INTERVAL:
        raise Wrong(f"{scalar.shown()} is too long; a day is the most")
    return seconds


def _limit(place: Place) -> Any:
    if place.is_null():
        return msgspec.UNSET
    values = read_section(place, _RATE_LIMIT)
    limits = values.get("interval") or not place.document.sound(f"{place.path}.interval")
    if limits and "burst" not in values and place.document.sound(f"{place.path}.burst"):
        place.wrong("has an interval but no burst: no request would pass; write for example burst: 20")
    return values


_TLS_KEYS: Final[Section] = {
    "cert": one(_text),
    "key": one(_secret, secret=True),
    "client_ca": one(_text),
    "cert_file": file,
    "key_file": file,
    "client_auth_type": one(_client_auth),
    "client_ca_file": file,
    "client_allowed_sans": many(readers.text),
    "min_version": one(_version),
    "max_version": one(_version),
    "cipher_suites": _ciphers,
    "prefer_server_cipher_suites": one(readers.boolean),
    "curve_preferences": _curves,
}
_HEADERS: Final[Section] = {
    "Content-Security-Policy": _header(),
    "X-Frame-Options": _header(_FRAME_OPTIONS),
    "X-Content-Type-Options": _header(("nosniff",)),
    "X-XSS-Protection": _header(),
    "Strict-Transport-Security": _header(),
}
_HTTP: Final[Section] = {"http2": one(_no_http2), "headers": section(_HEADERS)}
_RATE_LIMIT: Final[Section] = {"interval": one(_interval), "burst": one(readers.at_least(1))}
_ROOT: Final[Section] = {
    _TLS: section(_TLS_KEYS),
    "http_server_config": section(_HTTP),
    "basic_auth_users": _users,
    "rate_limit": _limit,
}
_SECTIONS: Final[Mapping[str, Section]] = {
    _TLS: _TLS_KEYS,
    "http_server_config": _HTTP,
    "http_server_config.headers": _HEADERS,
    "rate_limit": _RATE_LIMIT,
}
