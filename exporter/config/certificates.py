"""Certificates and keys -> what the server speaks TLS with; and the words of Go's TLS for it in those of OpenSSL."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
OLD_VERSIONS: Final = ("TLS10", "TLS11")
CLIENT_AUTH: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
"""Kinds of client authentication that take a certificate without verifying it, which Python cannot."""
CURVES: Final = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
CIPHERS: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Of TLS 1.2, by Go's names: those that ``tls.CipherSuites`` lists."""
CIPHERS_13: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Of TLS 1.3, where neither Go nor Python lets anybody choose."""

_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"
_KEY: Final = "PRIVATE KEY-----"


_Found = tuple[str, str]
"""What cannot be used: the key of the file that is to blame, and why."""


class Unusable(Exception):
    """Certificates, keys or choices that cannot be used."""

    def __init__(self, found: Sequence[_Found]) -> None:
        super().__init__("; ".join(why for _, why in found))
        self.found = found


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What the server shows of itself and asks of its clients, as PEM texts."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None
    """None: the certificates that the system trusts."""
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: tuple[str, ...] = ()
    """Of TLS 1.2, in OpenSSL's words, the best first; empty: Python's own choice."""
    curve: str | None = None
    """In OpenSSL's words; None: OpenSSL's own choice."""
    server_chooses: bool = True
    """The order of the ciphers is the server's, not the client's."""


def context_of(identity: Identity) -> ssl.SSLContext:
    """What new connections are made with. Raises ``Unusable`` with all that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = identity.oldest, identity.newest
    # A client that asks for another handshake again and again would keep the server busy.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if not identity.server_chooses:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    found = [*_show(context, identity), *_choose(context, identity), *_trust(context, identity)]
    if found:
        raise Unusable(found)
    return context


def _show(context: ssl.SSLContext, identity: Identity) -> Iterator[_Found]:
    wrong = [*_wrong_certificates(identity.certificate, "cert"), *_wrong_key(identity.key)]
    yield from wrong
    if wrong:
        return
    try:
        with _as_file(identity.certificate) as certificate, _as_file(identity.key) as private:
            context.load_cert_chain(certificate, private, password="")
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        other = f"cannot be used with the certificate: {_reason(error)}"
        yield "key", "does not belong to the certificate" if mismatch else other
    except (OSError, ValueError):
        yield "key", "cannot be used: it is no private key"


def _wrong_key(pem: bytes) -> Iterator[_Found]:
    key = pem.decode("utf-8", "replace")
    if _KEY not in key:
        yield "key", "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)"
    elif "ENCRYPTED" in key:
        yield "key", "is encrypted, and nobody is there to enter its password; give a key without one"


def _choose(context: ssl.SSLContext, identity: Identity) -> Iterator[_Found]:
    if identity.ciphers:
        try:
            context.set_ciphers(":".join(identity.ciphers))
        except ssl.SSLError:
            yield "cipher_suites", "this machine's OpenSSL has none of them"
    if identity.curve is not None:
        try:
            context.set_ecdh_curve(identity.curve)
        except (ssl.SSLError, ValueError):
            yield "curve_preferences", "this machine's OpenSSL does not have that curve"


def _trust(context: ssl.SSLContext, identity: Identity) -> Iterator[_Found]:
    context.verify_mode = identity.client_auth
    if identity.client_auth == ssl.CERT_NONE:
        return
    if identity.client_ca is None:
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    wrong = [*_wrong_certificates(identity.client_ca, "client_ca")]
    yield from wrong
    if not wrong:
        context.load_verify_locations(cadata=identity.client_ca.decode("ascii", "ignore"))


def _wrong_certificates(pem: bytes, key: str) -> Iterator[_Found]:
    text = pem.decode("ascii", "ignore")
    if _CERTIFICATE not in text:
        yield key, f"holds no certificate in PEM ({_CERTIFICATE})"
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        yield key, f"holds a certificate that cannot be read: {_reason(error)}"


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or "it is damaged").replace("_", " ").lower()


@contextmanager
def _as_file(pem: bytes) -> Iterator[str]:
    """The path of a text that is on no disk, where the system can do that: OpenSSL takes certificates from files alone.

    What was read once is what is used: a file could change between two looks at it.
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pem"
            path.touch(mode=0o600)
            path.write_bytes(pem)
            yield str(path)
        return
    number = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(number, pem)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
