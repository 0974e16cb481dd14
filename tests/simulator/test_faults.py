"""Every fault, observed over real HTTP by a plain client."""

from __future__ import annotations

import contextlib
import json
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from exporter.simulator.faults import KINDS, Fault, Faults

QUERY = "?page_size=10"
TESTED: set[str] = set()
"""Kinds that a test below observes; the last test compares it with all there are."""


def observes(*kinds: str) -> Any:
    TESTED.update(kinds)
    return lambda test: test


@observes("server_error", "bad_gateway", "unavailable", "gateway_timeout")
@pytest.mark.parametrize(
    ("kind", "status"), [("server_error", 500), ("bad_gateway", 502), ("unavailable", 503), ("gateway_timeout", 504)]
)
async def test_crashes_and_proxies_answer_in_html(visitor: Any, kind: str, status: int) -> None:
    answer = await visitor.under(kind)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert b"<html>" in answer.body


@observes("rate_limited")
async def test_rate_limited_tells_seconds_or_a_date_or_nothing(visitor: Any) -> None:
    answer = await visitor.under("rate_limited", retry_after=12)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "12")
    assert answer.json == {"message": "Request was throttled. Expected available in 12 seconds.", "status_code": 429}
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers)
    answer = await visitor.under("rate_limited", retry_after=90, http_date=True)
    assert parsedate_to_datetime(answer.headers["Retry-After"]).timestamp() == visitor.now + 90
    assert "Retry-After" not in (await visitor.under("rate_limited", retry_after=None)).headers


@observes("unauthorized", "forbidden", "not_found", "no_access", "business_error", "bad_request")
@pytest.mark.parametrize(
    ("kind", "bare", "status", "keys"),
    [
        ("unauthorized", False, 401, {"message", "status_code"}),
        ("unauthorized", True, 401, {"message", "error"}),
        ("forbidden", False, 403, {"message", "status_code"}),
        ("not_found", False, 404, {"message"}),
        ("no_access", False, 206, {"message", "status_code", "data"}),
        ("business_error", False, 206, {"message", "status_code", "data", "errors"}),
        ("business_error", True, 206, {"message", "errors"}),
        ("bad_request", False, 400, {"message", "status_code", "data"}),
    ],
)
async def test_refusals_have_the_platforms_shapes(
    visitor: Any, kind: str, bare: bool, status: int, keys: set[str]
) -> None:
    answer = await visitor.under(kind, bare=bare)
    assert (answer.status, set(answer.json)) == (status, keys)
    assert not isinstance(answer.json.get("data"), list)


@observes("status_in_body")
async def test_status_in_body_is_a_200_that_says_otherwise(visitor: Any) -> None:
    answer = await visitor.under("status_in_body")
    assert (answer.status, answer.json["status_code"]) == (200, 500)


@observes("html")
async def test_html_comes_with_200(visitor: Any) -> None:
    answer = await visitor.under("html")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@observes("redirect")
async def test_redirect_leads_elsewhere(visitor: Any) -> None:
    answer = await visitor.under("redirect", location="https://other.example/x")
    assert (answer.status, answer.headers["Location"]) == (302, "https://other.example/x")


@observes("reset")
async def test_reset_breaks_the_connection_in_the_middle_of_the_body(visitor: Any) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await visitor.under("reset")


@observes("close", "refuse")
@pytest.mark.parametrize("kind", ["close", "refuse"])
async def test_close_ends_the_connection_before_any_byte(visitor: Any, kind: str) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await visitor.under(kind)


@observes("black_hole")
async def test_a_black_hole_answers_nothing_until_the_client_leaves(visitor: Any) -> None:
    visitor.faults.add(Fault(kind="black_hole"))
    with pytest.raises(TimeoutError):
        await visitor.ask("/api/v2/platform/agents/small/tasks/", timeout=aiohttp.ClientTimeout(total=0.1))


@observes("slow_drip")
async def test_a_slow_drip_arrives_whole_in_many_pieces(visitor: Any) -> None:
    whole = (await visitor.tasks(QUERY)).body
    assert (await visitor.under("slow_drip", piece=2000, pause=0.0005)).body == whole


async def test_a_client_that_leaves_a_slow_drip_leaves_no_complaint(
    visitor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    visitor.faults.add(Fault(kind="slow_drip", piece=1, pause=0.001))
    with pytest.raises(TimeoutError):
        await visitor.ask("/api/v2/platform/agents/small/tasks/", timeout=aiohttp.ClientTimeout(total=0.1))
    visitor.faults.clear()
    # The server answers again, and by then has noticed.
    for _ in range(20):
        await visitor.tasks(QUERY)
    assert caplog.records == []


@observes("truncated")
@pytest.mark.parametrize("cut", ["plain", "chunked"])
async def test_a_truncated_transfer_ends_early(visitor: Any, cut: str) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await visitor.under("truncated", cut=cut)


@pytest.mark.parametrize("cut", ["gzip", "json"])
async def test_a_truncated_body_looks_complete_and_is_not(visitor: Any, cut: str) -> None:
    whole = (await visitor.tasks(QUERY)).body
    answer = await visitor.under("truncated", cut=cut)
    assert answer.status == 200
    assert 0 < len(answer.body) < len(whole)
    assert whole.startswith(answer.body)
    assert ("Content-Encoding" in answer.headers) == (cut == "gzip")
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        assert answer.json


@observes("wrong_json")
async def test_wrong_json_is_no_json(visitor: Any) -> None:
    answer = await visitor.under("wrong_json")
    assert answer.headers["Content-Type"].startswith("application/json")
    with pytest.raises(json.JSONDecodeError):
        assert answer.json


@observes("nan", "control_characters", "lone_surrogate", "bad_utf8")
@pytest.mark.parametrize(
    ("kind", "mark"),
    [("nan", b":NaN"), ("control_characters", b"\x01"), ("lone_surrogate", b"\\ud83d "), ("bad_utf8", b"\xff\xfe")],
)
async def test_spoilt_text_leaves_every_task_readable_for_the_tolerant(visitor: Any, kind: str, mark: bytes) -> None:
    ids = (await visitor.tasks(QUERY)).ids
    answer = await visitor.under(kind, QUERY)
    assert answer.body.count(mark) >= len(ids)
    tolerant = json.loads(answer.body.decode(errors="replace"), strict=False)
    assert [task["task_id"] for task in tolerant["data"]] == ids
    assert list(visitor.served[-1][1]) == ids


@observes("wrong_count")
@pytest.mark.parametrize("by", [5, -5])
async def test_wrong_count_says_more_or_fewer(visitor: Any, by: int) -> None:
    true = (await visitor.tasks(QUERY)).json["count"]
    assert (await visitor.under("wrong_count", by=by)).json["count"] == true + by


@observes("duplicate_tasks", "missing_tasks", "short_page")
async def test_pages_may_repeat_miss_or_cut_tasks(visitor: Any) -> None:
    ids = (await visitor.tasks(QUERY)).ids
    assert (await visitor.under("duplicate_tasks", QUERY)).ids == [*ids[:-1], ids[0]]
    assert (await visitor.under("missing_tasks", QUERY, by=3)).ids == ids[3:]
    assert (await visitor.under("short_page", QUERY)).ids == ids[:5]


@observes("data_is_object", "item_not_object")
async def test_data_or_a_task_may_be_of_another_type(visitor: Any) -> None:
    assert (await visitor.under("data_is_object")).json["data"] == {}
    assert (await visitor.under("item_not_object")).json["data"][0] is None
    answer = await visitor.under("item_not_object", item="gone")
    assert answer.json["data"][0] == "gone"
    assert list(visitor.served[-1][1]) == [task["task_id"] for task in answer.json["data"][1:]]


@observes("ignore_paging")
@pytest.mark.parametrize("count", [True, False])
async def test_a_server_that_ignores_paging_gives_everything_each_time(visitor: Any, count: bool) -> None:
    everything = (await visitor.tasks("?page_size=0")).ids
    for page in (1, 2, 50):
        answer = await visitor.under("ignore_paging", f"?page={page}&page_size=10", count=count)
        assert answer.ids == everything
        assert answer.json.get("count") == (len(everything) if count else None)


@observes("huge")
@pytest.mark.parametrize("declared", [True, False])
async def test_a_huge_answer_is_as_large_as_wanted(visitor: Any, declared: bool) -> None:
    answer = await visitor.under("huge", size=3_000_000, declared=declared)
    assert len(answer.body) > 3_000_000
    assert ("Content-Length" in answer.headers) == declared
    assert len(answer.json["data"]) == 10


@pytest.mark.parametrize("kind", KINDS)
async def test_only_answers_that_can_be_read_are_told_as_served(visitor: Any, kind: str) -> None:
    readable = ("nan", "control_characters", "lone_surrogate", "bad_utf8", "duplicate_tasks", "item_not_object")
    visitor.faults.add(Fault(kind=kind, piece=100_000, pause=0.0, size=1000))
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        timeout = aiohttp.ClientTimeout(total=0.2 if kind == "black_hole" else 5.0)
        await visitor.ask("/api/v2/platform/agents/small/tasks/", timeout=timeout)
    assert bool(visitor.served) == (kind in (*readable, "ignore_paging", "slow_drip"))


async def test_faults_strike_only_whom_they_name(visitor: Any) -> None:
    visitor.faults.add(Fault(kind="server_error", agent="another"))
    visitor.faults.add(Fault(kind="bad_gateway", page=2))
    visitor.faults.add(Fault(kind="unavailable", endpoint="agents"))
    assert (await visitor.tasks("?page=1")).status == 200
    assert (await visitor.tasks("?page=2")).status == 502
    assert (await visitor.ask("/api/v2/platform/agents/")).status == 503
    visitor.faults.clear()
    visitor.faults.add(Fault(kind="server_error", agent="small", times=2, endpoint=None))
    assert [(await visitor.tasks()).status for _ in range(3)] == [500, 500, 200]


def test_a_probability_strikes_about_as_often_and_the_same_way_for_the_same_seed() -> None:
    def struck() -> list[bool]:
        faults = Faults([Fault(kind="html", probability=0.25)], seed=3)
        return [faults.strike("tasks", "any", 1) is not None for _ in range(2000)]

    assert struck() == struck()
    assert 400 < sum(struck()) < 600


def test_the_command_line_names_kinds_and_probabilities() -> None:
    faults = Faults.parse("server_error:0.02, rate_limited:0.01,nan")
    assert [(fault.kind, fault.probability) for fault in faults.active] == [
        ("server_error", 0.02),
        ("rate_limited", 0.01),
        ("nan", 1.0),
    ]
    assert Faults.parse("").active == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("servererror:0.1", 'unknown fault "servererror": did you mean server_error?'),
        ("zzz", 'unknown fault "zzz": known are server_error, bad_gateway'),
        ("reset:often", '"often" of fault reset is not a probability; write a number from 0 to 1'),
        ("reset:2", "2.0 is not a probability; write a number from 0 to 1"),
        ("reset:nan", "nan is not a probability; write a number from 0 to 1"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"fault|probability") as caught:
        Faults.parse(text)
    assert str(caught.value).startswith(message)


async def test_people_switch_faults_on_and_off_over_http(visitor: Any) -> None:
    answer = await visitor.ask("/_faults", method="POST", data=b'[{"kind": "server_error", "times": 1}]')
    assert (answer.status, answer.json[0]["kind"]) == (200, "server_error")
    assert [(await visitor.tasks()).status for _ in range(2)] == [500, 200]
    await visitor.ask("/_faults", method="POST", data=b'[{"kind": "forbidden"}]')
    assert (await visitor.ask("/_faults", method="DELETE")).json == []
    assert (await visitor.tasks()).status == 200
    answer = await visitor.ask("/_faults", method="POST", data=b'[{"kind": "forbiden"}]')
    assert answer.status == 400
    assert "did you mean forbidden?" in answer.json["message"]


def test_every_kind_of_fault_is_observed_by_a_test() -> None:
    assert set(KINDS) == TESTED
