import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.quantities import format_duration, parse_duration, parse_moment, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("7d", 604800),
        ("1w", 604800),
        ("1y", 31536000),
        ("500ms", 0.5),
        ("1s500ms", 1.5),
        ("0", 0),
        ("0s", 0),
        ("1y2w3d4h5m6s7ms", 31536000 + 2 * 604800 + 3 * 86400 + 4 * 3600 + 5 * 60 + 6.007),
    ],
)
def test_durations_are_read_as_prometheus_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "10x", "1.5h", "-1s", "30m1h", "1h 30m", "1:30", "٣s", "s", "1S", "all"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-01", 1_777_593_600),
        ("2026-05-01T08:00:00", 1_777_622_400),
        ("2026-05-01T08:00:00Z", 1_777_622_400),
        ("2026-05-01T13:30:00+05:30", 1_777_622_400),
        ("90d", 1_800_000_000 - 90 * 86_400),
        ("1h30m", 1_800_000_000 - 5_400),
    ],
)
def test_moments_are_dates_in_utc_or_so_long_ago(text: str, moment: float) -> None:
    assert parse_moment(text, 1_800_000_000.0) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "1764000000", "01.05.2026", "-90d"])
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write for example"):
        parse_moment(text, 1_800_000_000.0)


@pytest.mark.parametrize("text", ["300y", "9" * 30 + "s", "9" * 5000 + "ms"])
def test_a_duration_that_prometheus_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@given(st.integers(0, 2**43))
def test_a_written_duration_is_read_as_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text())
def test_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize(
    ("text", "size"), [("1B", 1), ("512KiB", 524288), ("64MiB", 67108864), ("2GiB", 2147483648), ("3 MiB", 3145728)]
)
def test_sizes_are_powers_of_two(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64MB", "64M", "1.5GiB", "-1B", "64mib", "9" * 30 + "B"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)
