"""The page of one agent as HTML, at its address."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from exporter.web.agent import render
from exporter.web.pages import AgentDetail
from exporter.web.templating import segment
from tests.web.html import Page
from tests.web.made import LINKS, NOW, UNAUTHORIZED, detail, failing, fine, reading, waiting

ODD = [
    "support",
    "back office/mail",
    "a%2Fb",
    "50%",
    "ünïcödé 🤖",
    "<script>",
    "..",
    ".",
    "a?b#c&d=e",
    "\\",
    "a\nb",
    "a+b",
]


def page_of(shown: AgentDetail) -> Page:
    return Page(render(shown, LINKS))


def test_it_says_how_the_agent_does_how_old_its_numbers_are_and_what_comes_next() -> None:
    page = page_of(detail(fine(name="Tara")))
    assert page.title == "sales: This agent is fine · Unpod exporter"
    assert "sales Tara This agent is fine Numbers from 12 s ago . Next poll in 48 s: reads what can have" in page.words
    assert "What is wrong" not in page.words


def test_of_a_failing_agent_it_says_why_and_what_to_do() -> None:
    words = page_of(detail(failing())).words
    assert "This agent is failing" in words
    assert "The platform refuses the API token" in words
    assert "What to do Get a valid token" in words
    assert UNAUTHORIZED in words


def test_each_of_the_last_polls_is_a_row_in_words_the_newest_first() -> None:
    polls = [row for row in page_of(detail(fine())).rows if len(row) == 6]
    assert polls == [
        ["Ended, UTC", "Result", "Found", "Took", "Pages", "Tasks read"],
        ["13:49:48 12 s ago", "succeeded", "1 new task, 3 calls, 1 retry", "250 ms", "2", "40"],
        [
            "13:48:48 1 min ago",
            "The platform does not answer in time no complete answer within 40 s",
            "–",  # noqa: RUF001 -- as the page writes it
            "40.0 s",
            "0",
            "0",
        ],
        ["13:47:48 2 min ago", "history read", "17,900 new tasks", "1 min", "90", "17,900"],
        ["13:46:48 3 min ago", "succeeded", "nothing new", "100 ms", "1", "20"],
    ]


def test_its_numbers_have_units_and_parts_of_a_whole_have_bars() -> None:
    page = page_of(detail(fine()))
    rows = [[cell for cell in row if cell] for row in page.rows if len(row) in (2, 3)]
    assert rows == [["completed", "943"], ["failed", "112"], ["cost of calls", "$31.70"], ["mean duration", "1 min"]]
    bars = [one["width"] for one in page.attributes("rect") if "%" in (one["width"] or "")]
    assert bars == ["100.0%", "11.9%"]


def test_while_its_history_is_read_it_shows_how_far() -> None:
    page = page_of(detail(reading(), polls=(), numbers=()))
    assert "38 % of its history read, about 1 min left" in page.words
    assert "A poll is under way since 1 min." in page.words
    assert "None has ended since the exporter was started." in page.words


def test_an_agent_that_waits_says_so() -> None:
    assert "This agent is waiting for its first poll" in page_of(detail(waiting(), polls=())).words


def test_a_pause_is_told() -> None:
    assert "no request for 40 s." in page_of(detail(fine(), paused=40.0)).words


@settings(deadline=None)
@given(st.text(min_size=1), st.text())
def test_no_text_breaks_out(handle: str, name: str) -> None:
    page = page_of(detail(fine(handle, name=name)))
    plain = page_of(detail(fine("handle", name=name and "name")))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]


@pytest.mark.parametrize("handle", ODD)
async def test_every_handle_has_an_address(client: TestClient, handle: str) -> None:
    answer = await client.get(URL(f"/agents/{segment(handle)}", encoded=True))
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert f"{' '.join(handle.split())} This agent is" in Page(await answer.text()).words


@settings(deadline=None)
@given(st.text(min_size=1))
def test_an_address_has_neither_folders_nor_anything_that_a_path_cannot_hold(handle: str) -> None:
    path, _, query = segment(handle).partition("?")
    assert quote(path, safe="%") == path
    assert path.strip(".") or query == f"handle={handle}"


async def test_its_links_lead_back_and_to_the_same_places(client: TestClient) -> None:
    page = Page(await (await client.get("/agents/back%20office%2Fmail")).text())
    assert len(page.links) > 5
    for link in page.links:
        address = URL("http://host/agents/back%20office%2Fmail", encoded=True).join(URL(link, encoded=True))
        if address.fragment != "main":
            assert (await client.get(address.relative())).status == 200


async def test_an_agent_that_is_not_polled_is_not_found_and_says_so(client: TestClient) -> None:
    answer = await client.get("/agents/nobody")
    assert (answer.status, answer.content_type) == (404, "text/html")
    page = Page(await answer.text())
    assert "No such agent is polled None has the handle nobody :" in page.words
    assert page.title == "No such agent · Unpod exporter"


def test_moments_are_there_for_machines_too() -> None:
    stamps = [one["datetime"] for one in page_of(detail(fine())).attributes("time")]
    assert "2025-11-21T13:50:00Z" in stamps
    assert NOW == 1_763_733_000.0
