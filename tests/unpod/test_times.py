from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod import times

MOMENT = datetime(2026, 2, 7, 5, 57, 45, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        pytest.param("2026-02-07T05:57:45Z", MOMENT, id="ISO with Z"),
        pytest.param("2026-02-07T05:57:45.123Z", MOMENT + 0.123, id="ISO with milliseconds and Z"),
        pytest.param("2026-02-07 05:57:45.067021", MOMENT + 0.067021, id="SQL with microseconds means UTC"),
        pytest.param("2026-02-07 05:57:45", MOMENT, id="SQL without fraction means UTC"),
        pytest.param("2026-02-07T05:57:45.671000", MOMENT + 0.671, id="naive ISO means UTC"),
        pytest.param("2026-02-07T05:57:45", MOMENT, id="naive ISO without fraction means UTC"),
        pytest.param("2026-02-07T11:27:45+05:30", MOMENT, id="ISO with an offset"),
        pytest.param("2026-02-07T11:27:45+0530", MOMENT, id="ISO with an offset without colon"),
        pytest.param("2026-02-07 05:57:45 +0000", MOMENT, id="an offset after a space"),
        pytest.param("2026-02-07 05:57:45 UTC", MOMENT, id="UTC in words"),
        pytest.param("2026-02-07T05:57:45.5Z", MOMENT + 0.5, id="a fraction of one digit"),
        pytest.param("2026-02-07T05:57:45.123456789Z", MOMENT + 0.123456, id="a fraction of nine digits"),
        pytest.param(" 2026-02-07T05:57:45Z\n", MOMENT, id="with white space around"),
        pytest.param(1770443865, MOMENT, id="epoch seconds"),
        pytest.param(1770443865.25, MOMENT + 0.25, id="epoch seconds with a fraction"),
        pytest.param("1770443865", MOMENT, id="epoch seconds as a string"),
        pytest.param("1770443865.25", MOMENT + 0.25, id="epoch seconds with a fraction as a string"),
        pytest.param(1770443865123, MOMENT + 0.123, id="epoch milliseconds"),
        pytest.param("1770443865123", MOMENT + 0.123, id="epoch milliseconds as a string"),
        pytest.param({"$date": "2026-02-07T05:57:45Z"}, MOMENT, id="a MongoDB date in words"),
        pytest.param({"$date": 1770443865123}, MOMENT + 0.123, id="a MongoDB date in milliseconds"),
    ],
)
def test_every_way_to_write_a_moment_is_understood(written: object, seconds: float) -> None:
    assert times.parse(written) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("written", [None, "", " ", "NULL", "None", "NA", "null", {"$date": None}])
def test_what_stands_for_no_moment_is_none(written: object) -> None:
    assert times.parse(written) is None
    assert times.due(written) is None


NEVER = [0, 0.0, "0", -1, "-5", -1e15, {"$date": 0}, "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"]


@pytest.mark.parametrize("written", NEVER)
def test_1970_and_before_is_due_at_no_time(written: object) -> None:
    assert times.due(written) is None


@pytest.mark.parametrize("written", NEVER)
def test_1970_and_before_is_no_time_at_which_anything_happened(written: object) -> None:
    with pytest.raises(ValueError, match="not a time of ours"):
        times.parse(written)


def test_a_task_is_due_at_any_other_moment() -> None:
    assert times.due(1770443865123) == times.parse("2026-02-07T05:57:45.123Z")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param("2000-01-01T00:00:00Z", "2200-01-01 00:00:00", id="ISO"),
        pytest.param(946684800, "7258118400", id="seconds"),
        pytest.param("946684800000", 7258118400000, id="milliseconds"),
    ],
)
def test_two_centuries_are_plausible(first: object, last: object) -> None:
    assert (times.parse(first), times.parse(last)) == (times.EARLIEST, times.LATEST)


@pytest.mark.parametrize(
    "written",
    [
        "soon",
        "2026-13-01T00:00:00",
        "2026-02-30",
        True,
        [],
        {},
        {"$date": {}},
        float("nan"),
        float("inf"),
        1e15,
        pytest.param(10**400, id="more than a float can hold"),
        pytest.param({"$date": 10**400}, id="a date of more than a float can hold"),
        "٣" * 10,
        1,
        "33",
        946684799,
        "1999-12-31T23:59:59Z",
        "2200-01-01T00:00:01Z",
        7258118400001,
        "5200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_nonsense_is_refused(written: object) -> None:
    for read in (times.parse, times.due):
        with pytest.raises(ValueError):  # noqa: PT011 - ValueError is the promise, its words are nobody's
            read(written)


def test_an_object_id_tells_when_it_was_made() -> None:
    assert times.of_object_id("697debb84c27faa892bfa0cc") == 0x697DEBB8
    assert times.of_object_id("697debb84c27faa892bfa0c") is None
    assert times.of_object_id("x97debb84c27faa892bfa0cc") is None
    assert times.of_object_id("000000014c27faa892bfa0cc") is None, "a second after 1970 was never meant as a time"


def test_a_task_id_with_a_uuid1_tells_when_it_was_made() -> None:
    made = times.of_task_id("T8ff2ccdffe9a11f0878d43cd8a99e069")
    assert made == pytest.approx(0x697DEBB8, abs=1), "the document's ObjectId says the same second"
    assert times.of_task_id("T8ff2ccdffe9a41f0878d43cd8a99e069") is None, "a random UUID holds no time"
    assert times.of_task_id("Tffffffffffff1fff878d43cd8a99e069") is None, "the year 5236 was never meant as a time"
    assert times.of_task_id("TASK123") is None


MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 2),  # noqa: DTZ001 - hypothesis wants naive ones
    max_value=datetime(2199, 12, 30),  # noqa: DTZ001 - hypothesis wants naive ones
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MOMENTS, st.sampled_from("T "))
def test_a_moment_written_as_iso_comes_back(moment: datetime, separator: str) -> None:
    assert times.parse(moment.isoformat(separator)) == pytest.approx(moment.timestamp(), abs=1e-6)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MOMENTS)
def test_a_moment_written_naively_comes_back_as_utc(moment: datetime) -> None:
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    assert times.parse(str(naive)) == pytest.approx(moment.timestamp(), abs=1e-6)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_whatever_is_written_is_a_plausible_moment_none_or_refused(written: object) -> None:
    try:
        seconds = times.parse(written)
    except ValueError:
        return
    assert seconds is None or times.EARLIEST <= seconds <= times.LATEST
