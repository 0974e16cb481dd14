"""Until when certificates are valid, as those tell it who make them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.validity import Validity, validity

KEY = ec.generate_private_key(ec.SECP256R1())
MOMENTS = st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def certificate(begins: datetime, ends: datetime, name: str = "localhost") -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@given(MOMENTS, st.integers(1, 10**9), st.text("abcdefgh ", min_size=1, max_size=60))
def test_it_is_what_was_signed(begins: datetime, seconds: int, name: str) -> None:
    ends = begins + timedelta(seconds=seconds)
    assert validity(certificate(begins, ends, name)) == Validity(begins.timestamp(), ends.timestamp())


def test_a_chain_is_valid_as_long_as_each_of_its_links() -> None:
    first, second, third, fourth = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
    chain = certificate(second, fourth) + "# the one above it\n" + certificate(first, third)
    assert validity(chain) == Validity(second.timestamp(), third.timestamp())


@pytest.mark.parametrize("text", ["", "nothing", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----"])
def test_of_what_is_none_nothing_is_told(text: str) -> None:
    assert validity(text) is None


@given(st.binary(max_size=80))
def test_whatever_bytes_there_are_nothing_breaks(noise: bytes) -> None:
    block = base64.b64encode(noise).decode()
    validity(f"-----BEGIN CERTIFICATE-----\n{block}\n-----END CERTIFICATE-----")
