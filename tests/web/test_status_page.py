"""The status page as HTML: what it says, in which order, and that whatever it is given stays text."""

from __future__ import annotations

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.unpod.errors import REASONS
from exporter.web.advice import PROBLEMS
from exporter.web.pages import BadFile, Certificate, Requests, State, Status
from exporter.web.status import Look, render
from exporter.web.words import UNKNOWN
from tests.web.html import Page
from tests.web.made import LINKS, NOW, UNAUTHORIZED, failing, fine, reading, status, waiting


def page_of(shown: Status, **look: object) -> Page:
    return Page(render(shown, LINKS, Look(**look)))


def test_it_says_at_once_whether_all_is_well_in_words_and_in_the_title() -> None:
    page = page_of(status(failing(), fine()))
    assert "1 of 2 agents is failing" in page.words
    assert page.title == "1 of 2 agents is failing · Unpod exporter"


def test_each_agent_has_a_row_the_worst_first() -> None:
    page = page_of(status(fine("b", name="Bea"), waiting(), reading(), fine("a", unreadable=2), failing()))
    assert page.rows == [
        ["Agent", "State", "Numbers from", "Tasks", "Calls", "Next poll"],
        ["support", "failing The platform refuses the API token", "13 min ago", "1,234,567", "890", "in 4 min"],
        ["a", "incomplete", "12 s ago", "1,234,567", "890", "in 48 s"],
        ["new", "first reading 38 %", UNKNOWN, UNKNOWN, UNKNOWN, "under way"],
        ["idle", "waiting", "5 min ago", UNKNOWN, UNKNOWN, UNKNOWN],
        ["b Bea", "fine", "12 s ago", "1,234,567", "890", "in 48 s"],
    ]


def test_a_problem_is_told_once_with_all_that_have_it_why_and_what_to_do() -> None:
    other = fine("c", last_success=NOW - 721, interval=600.0)
    words = page_of(status(failing("a"), failing("b", failing_since=NOW - 60), other)).words
    card = words[words.index("What is wrong") : words.index("Agents Agents, the worst first")]
    assert card.count("The platform refuses the API token 2 agents a b") == 1
    assert "What to do Get a valid token from the platform and put it where api.token_file" in card
    assert "Failing for 12 min · Next poll in 4 min : looks whether somebody has mended it" in card
    assert card.count(UNAUTHORIZED) == 1
    assert " c " not in card


def test_the_problem_with_most_agents_comes_first_and_warnings_last() -> None:
    shown = status(
        fine("w", unreadable=1), failing("a", "timeout"), failing("b", "no_access"), failing("c", "no_access")
    )
    words = page_of(shown).words
    titles = [PROBLEMS[word].title for word in ("no_access", "timeout")] + ["Some tasks cannot be delivered"]
    places = [words.index(title) for title in titles]
    assert places == sorted(places)


@pytest.mark.parametrize("reason", [*REASONS, "state", "token"])
def test_there_is_a_remedy_for_each_reason_why_a_poll_can_fail(reason: str) -> None:
    assert PROBLEMS[reason].title in page_of(status(failing(problem=reason))).words


def test_a_reason_that_is_not_foreseen_is_told_like_a_defect() -> None:
    assert PROBLEMS["internal"].title in page_of(status(failing(problem="gremlins"))).words


def test_many_agents_with_one_problem_are_counted_and_some_are_named() -> None:
    page = page_of(status(*(failing(f"agent-{number:04d}") for number in range(1000))))
    assert "The platform refuses the API token 1,000 agents agent-0000 agent-0001" in page.words
    assert "and 988 more" in page.words
    assert "?show=failing#agents" in page.links


def test_when_all_is_well_nothing_is_said_to_be_wrong() -> None:
    assert "What is wrong" not in page_of(status(fine(), reading(), waiting())).words


def test_a_first_reading_shows_how_far_it_is_and_how_long_it_will_take() -> None:
    page = page_of(status(reading(), reading("unknown", 0.0, history_left=None)))
    first, second = page.attributes("progress")
    assert (first["max"], float(first["value"] or ""), first["aria-label"]) == ("100", 38.6, "History of new read")
    assert float(second["value"] or "x") == 0.0
    assert "new 38 % about 1 min left" in page.words


@pytest.mark.parametrize(
    ("agents", "changes", "said"),
    [
        ((fine(),), {}, "Agents cannot be discovered"),
        ((fine(),), {"discovers": False}, "The names of the agents cannot be read"),
        ((), {}, "Agents cannot be discovered"),
        ((failing("a"), fine("b")), {}, "Agents cannot be discovered"),
    ],
)
def test_a_list_that_cannot_be_read_is_told(agents: tuple[object, ...], changes: dict[str, object], said: str) -> None:
    words = page_of(status(*agents, notice="The list of agents could not be read: HTTP 403", **changes)).words
    assert said in words
    assert "The list of agents could not be read: HTTP 403" in words


def test_where_nothing_can_be_read_the_list_is_not_told_as_well() -> None:
    words = page_of(status(failing(), notice="The list of agents could not be read: HTTP 401")).words
    assert "discovered" not in words


def test_it_shows_how_much_is_asked_of_the_platform() -> None:
    page = page_of(status(fine()))
    (meter,) = page.attributes("meter")
    assert (meter["min"], meter["max"], meter["value"]) == ("0", "60", "12")
    assert "12 of 60 in the last minute No pause is asked for" in page.words


def test_a_pause_that_the_platform_asks_for_is_told_and_no_poll_is_promised_before_its_end() -> None:
    words = page_of(status(fine(), requests=Requests(begun=3, per_minute=60, paused=300.0))).words
    assert "The platform asks for a pause: no request for 5 min." in words
    assert "Next poll in 5 min sales reads what can have changed" in words


def test_it_shows_where_the_state_is_and_since_when() -> None:
    assert "4.2 MiB in unpod-exporter.db begun 3 d ago" in page_of(status(fine())).words
    assert "in memory lost when the exporter ends" in page_of(status(state=State(path=None, created=NOW))).words


def test_a_token_that_is_refused_for_some_agents_alone_is_no_matter_of_the_account() -> None:
    others = (fine("b"), failing("b"), fine("b", last_success=NOW - 721))
    some, *all_of_them = (page_of(status(failing("a"), other)).words for other in others)
    assert "The platform refuses the API token for some agents" in some
    assert "Get a valid token" not in some
    assert not [words for words in all_of_them if "for some agents" in words]


UNWRITABLE = State(
    path="x.db", created=NOW, unwritable_since=NOW - 300, unwritable="the disk is full", uncommitted=7, set_aside=1
)
SETTINGS = BadFile(file="settings", problem="config.yaml is bad:\n  polling.interval: no", since=NOW - 60)
WEB = BadFile(file="web config", problem="web.yml: tls_server_config.cert_file: no", since=NOW - 60)
DAY = 86_400.0


def test_a_state_that_cannot_be_written_is_told_with_what_would_be_lost() -> None:
    page = page_of(status(fine(), state=UNWRITABLE))
    assert page.title == "The agent is fine, but the state cannot be written · Unpod exporter"
    assert "Not written for 5 min" in page.words
    assert "the disk is full 7 tasks known in memory only" in page.words
    assert "cannot be written for 5 min; 7 tasks in memory only" in page.words
    assert "A damaged state was set aside" in page.words
    assert "1 damaged state beside x.db" in page.words


def test_a_state_that_fails_the_agents_is_told_once() -> None:
    page = page_of(status(failing(problem="state"), state=UNWRITABLE))
    assert "The state cannot be read or written" in page.words
    assert "do not kill the exporter" not in page.words


def test_a_failed_reload_is_told_with_its_file_what_is_wrong_and_since_when() -> None:
    page = page_of(status(fine(), bad_files=(SETTINGS, WEB)))
    assert "The agent is fine, but the settings could not be reloaded" in page.words
    assert "The settings could not be reloaded" in page.words
    assert "Bad for 1 min" in page.words
    assert "config.yaml is bad: polling.interval: no" in page.words
    assert "The web config could not be reloaded" in page.words
    assert WEB.problem in page.words


def test_of_many_mistakes_the_first_are_shown_and_the_others_counted() -> None:
    lines = tuple(f"config.yaml:{number}: wrong" for number in range(1, 9))
    few, many = (
        page_of(status(fine(), bad_files=(msgspec.structs.replace(SETTINGS, problem="\n".join(lines[:amount])),)))
        for amount in (4, 8)
    )
    assert "config.yaml:4: wrong" in few.words
    assert "and 1 more" not in few.words
    assert "config.yaml:3: wrong and 5 more" in many.words
    assert "config.yaml:4" not in many.words


def test_of_many_different_errors_the_first_are_shown_and_the_others_counted() -> None:
    agents = [failing(f"a{number}", last_error=f"error {number}") for number in range(6)]
    words = page_of(status(*agents)).words
    assert "error 2 and 3 more" in words
    assert "error 3" not in words


def test_settings_that_fail_for_the_web_config_alone_are_told_once() -> None:
    same = msgspec.structs.replace(SETTINGS, problem=WEB.problem)
    words = page_of(status(fine(), bad_files=(same, WEB))).words
    assert words.count(WEB.problem) == 1
    assert "The web config could not be reloaded" in words


@pytest.mark.parametrize(
    ("lived", "left", "headline"),
    [
        (76 * DAY, 14.1 * DAY, "The agent is fine"),
        (76 * DAY, 13.9 * DAY, "The agent is fine, but the exporter's certificate expires soon"),
        (0.5 * DAY, 0.5 * DAY, "The agent is fine"),
        (0.8 * DAY, 0.2 * DAY, "The agent is fine, but the exporter's certificate expires soon"),
        (90 * DAY, -1.0, "The agent is fine, but the exporter's certificate has expired"),
    ],
)
def test_a_certificate_is_told_of_before_it_expires(lived: float, left: float, headline: str) -> None:
    shown = Certificate(begins=NOW - lived, ends=NOW + left)
    assert page_of(status(fine(), certificate=shown)).title == f"{headline} · Unpod exporter"


def test_a_certificate_that_has_expired_is_told_with_since_when() -> None:
    words = page_of(status(fine(), certificate=Certificate(begins=NOW - 90 * DAY, ends=NOW - 2 * DAY))).words
    assert "Expired for 2 d" in words
    assert "Failing" not in words


def test_stretched_intervals_are_told_and_those_that_matter_stand_on_top() -> None:
    none, some, many = (page_of(status(fine(), lag=lag)).words for lag in (0.0, 40.0, 70.0))
    assert "Interval" not in none
    assert "100 s between two polls of an agent stretched from 60 s" in some
    assert "less often" not in some
    assert "The agent is fine, but polled less often than it should be" in many
    assert "polled every 130 s instead of every 60 s" in many


def test_polls_that_take_too_long_are_told_apart_from_requests_that_do_not_suffice() -> None:
    some, many = (page_of(status(fine(), late=late)).words for late in (59.0, 120.0))
    assert "take too long" not in some
    assert "The agent is fine, but polls take too long" in many
    assert "an agent is polled 120 s later than its interval has it, each time" in many
    assert "do not suffice" not in many


def test_what_makes_polls_late_together_is_told_though_neither_alone_would_be() -> None:
    both = page_of(status(fine(), lag=42.0, late=41.0)).words
    assert "polled every 102 s instead of every 60 s" in both
    assert "an agent is polled 41 s later than its interval has it, each time" in both
    only = page_of(status(fine(), lag=55.0, late=6.0)).words
    assert "polled every 115 s instead of every 60 s" in only
    assert "6 s later" not in only


def test_it_says_which_version_polls_what_since_when() -> None:
    assert "1.2.3 running for 2 h, polling https://unpod.example" in page_of(status()).words


def test_without_agents_it_says_so() -> None:
    words = page_of(status()).words
    assert "Looking for agents" in words
    assert "No agents are known yet." in words


class TestManyAgents:
    EVERYBODY = status(*(fine(f"agent-{number:03d}", name=f"Number {number}") for number in range(250)), failing("zoe"))

    def test_a_page_holds_a_hundred_and_leads_to_the_others(self) -> None:
        first, last = page_of(self.EVERYBODY), page_of(self.EVERYBODY, page=3)
        assert (len(first.rows), len(last.rows)) == (101, 52)
        assert first.rows[1][0] == "zoe"
        assert "Page 1 of 3, 251 agents" in first.words
        assert "?find=&show=&page=2#agents" in first.links
        assert not [link for link in first.links if "page=0" in link]
        assert "?find=&show=&page=2#agents" in last.links
        assert not [link for link in last.links if "page=4" in link]

    def test_a_page_past_the_end_is_the_last_one(self) -> None:
        assert page_of(self.EVERYBODY, page=99).rows == page_of(self.EVERYBODY, page=3).rows

    @pytest.mark.parametrize("find", ["AGENT-007", "ber 7"])
    def test_agents_are_found_by_handle_and_by_name(self, find: str) -> None:
        page = page_of(self.EVERYBODY, find=find)
        assert "agent-007 Number 7" in [row[0] for row in page.rows]
        assert all("7" in row[0] for row in page.rows[1:])

    def test_those_that_are_in_one_state_can_be_shown_alone(self) -> None:
        page = page_of(self.EVERYBODY, show="failing")
        assert [row[0] for row in page.rows[1:]] == ["zoe"]
        assert "all 251 failing 1 fine 250" in page.words

    def test_where_none_is_found_it_says_so(self) -> None:
        assert "No agent is like that." in page_of(self.EVERYBODY, find="nobody").words

    def test_few_agents_need_no_search(self) -> None:
        assert not page_of(status(fine())).attributes("form")


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["find", "show", "page"]), st.text()))
def test_no_query_is_too_odd(query: dict[str, str]) -> None:
    page = Page(render(status(fine(), failing()), LINKS, Look.of(query)))
    assert "1 of 2 agents is failing" in page.words


@pytest.mark.parametrize(
    ("query", "look"),
    [
        ({"find": " a ", "show": "failing", "page": "2"}, Look(find="a", show="failing", page=2)),
        ({"show": "nonsense", "page": "-1"}, Look()),
        ({"page": "0"}, Look()),
        ({"page": "1" * 5000}, Look()),
        ({"page": "٣"}, Look()),
    ],
)
def test_nonsense_in_a_query_is_passed_over(query: dict[str, str], look: Look) -> None:
    assert Look.of(query) == look


ODD = "<script>alert(1)</script>\"'& {{ 7 * 7 }} `code`"


def test_whatever_comes_from_elsewhere_stays_text() -> None:
    agents = (
        failing(ODD, name=ODD, last_error=ODD),
        reading(ODD + "2"),
        *(fine(f"{ODD}{number}") for number in range(3, 30)),
    )
    state = msgspec.structs.replace(UNWRITABLE, path=ODD, unwritable=ODD)
    files = (BadFile(file="settings", problem=ODD + "3", since=NOW),)
    shown = status(*agents, version=ODD, notice=ODD, platform=ODD, state=state, bad_files=files)
    plain = page_of(status(failing(), reading(), *(fine(f"a{number}") for number in range(27)), notice="x"))
    page = page_of(shown, find=ODD[:3])
    assert len(page.attributes("script")) == len(plain.attributes("script")) == 1
    assert page.words.count(ODD) >= 8
    assert [row[0] for row in page.rows[1:2]] == [f"{ODD} {ODD}"]


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_text_breaks_out(handle: str, name: str, error: str) -> None:
    page = page_of(status(failing(handle, name=name, last_error=error)))
    plain = page_of(status(failing("handle", name=name and "name", last_error=error and "error")))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]


class TestServed:
    @pytest.fixture
    async def page(self, client: TestClient) -> Page:
        return Page(await (await client.get("/")).text())

    async def test_its_links_lead_somewhere(self, page: Page, client: TestClient) -> None:
        ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
        assert len(page.links) > 8
        for link in page.links:
            path, _, anchor = link.partition("#")
            assert (await client.get(f"/{path}")).status == 200
            assert not anchor or anchor in ids

    def test_nothing_comes_from_elsewhere_and_nothing_is_styled_or_run_in_place(self, page: Page) -> None:
        assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "embed", "base")]
        (icon,) = page.attributes("link")
        assert (icon["rel"], (icon["href"] or "")[:5]) == ("icon", "data:")
        in_place = {"style", "src", "srcset", "action"}
        assert not [
            name for _, attributes in page.tags for name in attributes if name in in_place or name.startswith("on")
        ]

    def test_without_a_script_the_browser_is_told_to_look_again(self, page: Page) -> None:
        (refresh,) = [one for one in page.attributes("meta") if "http-equiv" in one]
        assert (refresh["http-equiv"], refresh["content"]) == ("refresh", "15")
