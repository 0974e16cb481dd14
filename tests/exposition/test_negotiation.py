"""Who gets which format and which encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition.lines import Format
from exporter.exposition.negotiation import choose, wants_gzip

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
PROMETHEUS = {
    "2.5": ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format.TEXT),
    "2.42": (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        Format.OPENMETRICS,
    ),
    "2.42 with native histograms": (
        f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,"
        "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        Format.OPENMETRICS,
    ),
    "2.55": (
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        Format.OPENMETRICS,
    ),
    "2.55, only PrometheusText0.0.4": ("text/plain;version=0.0.4;q=0.5,*/*;q=0.4", Format.TEXT),
    "3.5": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        Format.OPENMETRICS,
    ),
    "3.5 with native histograms": (
        f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
        "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        Format.OPENMETRICS,
    ),
    "3.5, only PrometheusProto and PrometheusText0.0.4": (
        f"{PROTOBUF};q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
        Format.TEXT,
    ),
    "3.5, only PrometheusText1.0.0": ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5", Format.TEXT),
    "3.5, names escaped": (
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        Format.OPENMETRICS,
    ),
}
"""The header Accept of Prometheus by version and configuration, and what it is to get."""


@pytest.mark.parametrize("version", PROMETHEUS)
def test_prometheus_gets_the_best_that_it_understands(version: str) -> None:
    accept, form = PROMETHEUS[version]
    assert choose(accept) is form


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, Format.TEXT),
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/*", Format.TEXT),
        ("application/*", Format.OPENMETRICS),
        ("*/*, application/openmetrics-text;q=0.9", Format.TEXT),
        ("text/plain;q=0.1, */*;q=0.5", Format.OPENMETRICS),
        ("text/plain;q=0, */*", Format.OPENMETRICS),
        ("text/plain;q=0, text/plain;version=0.0.4, application/openmetrics-text;q=0.9", Format.TEXT),
        ("text/plain;version=0.0.4;charset=utf-8, application/openmetrics-text;q=0.9", Format.TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.TEXT),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ("Application/OpenMetrics-Text; Version=1.0.0", Format.OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"; q=0.9, text/plain; q=0.8', Format.OPENMETRICS),
        ("text/plain;q=0.8, application/openmetrics-text;q=0.9", Format.OPENMETRICS),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.8", Format.TEXT),
        ("text/plain, application/openmetrics-text", Format.TEXT),
        ("application/openmetrics-text, text/plain", Format.OPENMETRICS),
        ("application/openmetrics-text;q=0", Format.TEXT),
        ("application/openmetrics-text;q=0.000, */*;q=0.1", Format.TEXT),
        ("application/openmetrics-text;version=2.0.0", Format.TEXT),
        ("application/openmetrics-text;q=high", Format.TEXT),
        ("application/openmetrics-text;q=nan, text/plain;q=0.1", Format.TEXT),
        ("application/vnd.google.protobuf", Format.TEXT),
        ("application/json", Format.TEXT),
        (",;=;,", Format.TEXT),
    ],
)
def test_the_best_liked_format_that_exists_is_chosen(accept: str | None, form: Format) -> None:
    assert choose(accept) is form


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("br, zstd", False),
        ("zstd", False),
        ("zstd, gzip;q=0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip; q=0.000", False),
        ("gzip;q=0.001", True),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("gzipped", False),
    ],
)
def test_gzip_is_used_where_it_is_wanted(accept_encoding: str | None, gzip: bool) -> None:
    assert wants_gzip(accept_encoding) is gzip


@given(st.text(st.sampled_from('aq=;,/*. 01"-')))
def test_no_header_is_too_odd(header: str) -> None:
    assert choose(header) in Format
    assert wants_gzip(header) in (True, False)
