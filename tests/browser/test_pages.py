"""The pages in a real browser: in the light and in the dark, on a phone, by keyboard, with a script and without one."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from exporter.web.pages import AgentStatus, BadFile, Certificate, Requests, State, Status
from tests.browser.conftest import LOOKS, Open, Served
from tests.browser.looking import is_for_everybody
from tests.web.made import NOW, failing, fine, reading, status, waiting

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVERY = 5_000
"""Milliseconds between two looks of the script."""
LONG = "a" * 300
RIGHT_TO_LEFT = "وكيل المبيعات‮evil"
EXAMPLES: dict[str, Status] = {
    "all fine": status(fine("sales", name="Tara"), fine("support")),
    "everything wrong": status(
        failing("closed", "no_access"),
        failing("gone", "connection"),
        fine("slow", last_success=NOW - 400),
        fine("odd", unreadable=3),
        fine("old", last_success=NOW - 5000, fresh_until=NOW - 4000),
        reading(),
        waiting(),
        fine("sales"),
        notice="The list of agents could not be read: HTTP 403",
        requests=Requests(begun=60, per_minute=60, paused=40.0),
    ),
    "hostile names": status(
        failing(LONG, name=LONG, last_error=LONG),
        failing("<img src=x onerror=alert(1)>", name="<script>alert(2)</script>", last_error="<b>bold</b>"),
        reading(LONG + "b"),
        fine(RIGHT_TO_LEFT, name=RIGHT_TO_LEFT),
        fine("'\"><svg onload=alert(3)>"),
    ),
    "the exporter in trouble": status(
        fine(),
        state=State(
            path=LONG, created=NOW, unwritable_since=NOW - 300, unwritable=LONG, uncommitted=12_345, set_aside=2
        ),
        bad_files=(
            BadFile(file="settings", problem="\n".join([LONG] * 9), since=NOW - 60),
            BadFile(file="web config", problem=RIGHT_TO_LEFT, since=NOW - 60),
        ),
        certificate=Certificate(begins=NOW - 90 * 86_400, ends=NOW - 60),
        lag=600.0,
    ),
    "nobody": status(notice="Discovery wants none of the agents that the platform lists (12)."),
    "hundreds": status(
        *(fine(f"agent-{number:03d}") for number in range(186)), *(failing(f"bad-{n}") for n in range(20))
    ),
}


FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
    one.dataset.reached = "yes";
    return [one.outerHTML, style.outlineStyle, parseFloat(style.outlineWidth), box.left >= 0 && box.width > 0];
}"""
LISTENING = """() => {
    window.told = 0;
    new MutationObserver((changes) => { window.told += changes.length; }).observe(
        document.querySelector("[role=status]"), {subtree: true, childList: true, characterData: true});
}"""


@pytest.mark.parametrize("example", EXAMPLES)
async def test_everybody_can_use_the_status_page(served: Served, opened: Open, axe: str, example: str) -> None:
    served.status = EXAMPLES[example]
    page = await opened("/?page=99")
    for summary in await page.locator("summary").all():
        await summary.click()
    await is_for_everybody(page, axe)


AGENTS = (fine(name="Tara"), failing(), reading(), failing(LONG, name=RIGHT_TO_LEFT))


@pytest.mark.parametrize("agent", AGENTS, ids=["fine", "failing", "reading", "with a long name"])
async def test_everybody_can_use_the_page_of_an_agent(
    served: Served, opened: Open, axe: str, agent: AgentStatus
) -> None:
    served.status = status(agent)
    await is_for_everybody(await opened(f"/agents/{agent.handle}"), axe)


async def test_everybody_can_use_the_page_of_an_agent_that_is_not_polled(opened: Open, axe: str) -> None:
    await is_for_everybody(await opened("/agents/nobody", complains_of="404"), axe)


async def test_dark_is_dark_and_light_is_light(served: Served, opened: Open) -> None:
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + +part, 0)"
    light, dark = [await (await opened(**LOOKS[look])).evaluate(brightness) for look in ("light", "dark")]
    assert dark < 100 < 700 < light


async def test_without_a_script_everything_is_there_and_the_browser_looks_again_by_itself(
    served: Served, opened: Open
) -> None:
    served.status = EXAMPLES["everything wrong"]
    page = await opened(java_script_enabled=False)
    await expect(page.get_by_role("heading", level=1)).to_have_text("2 of 8 agents are failing")
    await expect(page.locator("noscript meta[http-equiv=refresh]")).to_have_count(1)
    await expect(page.get_by_role("button", name="Pause refreshing")).to_have_count(0)
    await page.get_by_role("link", name="closed").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("closed")


async def test_what_an_agent_is_called_runs_nothing_and_leads_to_its_page(served: Served, opened: Open) -> None:
    handles = ["<img src=x onerror=alert(1)>", "back office/mail", "a%2Fb", "..", "?x#y", "\\", RIGHT_TO_LEFT, "ünï 🤖"]
    served.status = status(*map(fine, handles))
    page = await opened()
    for handle in handles:
        await page.get_by_role("row").get_by_role("link", name=handle, exact=True).click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(handle)
        await page.get_by_role("link", name="All agents").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("All 8 agents are fine")


class TestRefreshing:
    async def test_what_has_changed_is_shown_after_a_while(self, served: Served, opened: Open) -> None:
        served.status = status(fine("sales"), fine("support"))
        page = await opened()
        served.status = status(failing("sales"), fine("support"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("heading", level=1)).to_have_text("1 of 2 agents is failing")
        await expect(page).to_have_title("1 of 2 agents is failing · Unpod exporter")
        await expect(page.get_by_role("heading", name="The platform refuses the API token")).to_be_visible()
        served.status = status(fine("sales"), fine("support"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("heading", level=1)).to_have_text("All 2 agents are fine")
        await expect(page.get_by_role("heading", name="What is wrong")).to_have_count(0)

    async def test_it_leaves_focus_scroll_what_is_open_and_what_is_typed(self, served: Served, opened: Open) -> None:
        served.status = EXAMPLES["hundreds"]
        page = await opened()
        await page.get_by_text("What the states mean").click()
        await page.get_by_role("searchbox").fill("agent-1")
        link = page.get_by_role("row").get_by_role("link", name="agent-050")
        await link.focus()
        at = await page.evaluate("scrollY")
        assert at > 500
        # The one that fails now moves to the top, others move down.
        changed = {agent.handle: agent for agent in served.status.agents} | {"agent-051": failing("agent-051")}
        served.status = status(*changed.values())
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("heading", level=1)).to_have_text("21 of 206 agents are failing")
        await expect(link).to_be_focused()
        await expect(page.get_by_text("The last poll has failed. No number was changed")).to_be_visible()
        await expect(page.get_by_role("searchbox")).to_have_value("agent-1")
        assert abs(await page.evaluate("scrollY") - at) < 100

    async def test_an_agent_that_moves_to_the_top_keeps_the_focus(self, served: Served, opened: Open) -> None:
        served.status = status(*map(fine, "abcdef"))
        page = await opened()
        link = page.get_by_role("row").get_by_role("link", name="e", exact=True)
        await link.focus()
        served.status = status(*map(fine, "abcdf"), failing("e"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("heading", level=1)).to_have_text("1 of 6 agents is failing")
        await expect(link).to_be_focused()
        rows = await page.get_by_role("row").get_by_role("link").all_inner_texts()
        assert rows == ["e", "a", "b", "c", "d", "f"]

    async def test_only_a_change_of_the_sentence_is_read_aloud(self, served: Served, opened: Open) -> None:
        served.status = status(failing("a"), fine("b"))
        page = await opened()
        await expect(page.get_by_role("status")).to_have_text("1 of 2 agents is failing")
        await page.evaluate(LISTENING)
        served.status = status(failing("a"), fine("b", last_success=NOW - 50), now=NOW + 30)
        await page.clock.run_for(EVERY)
        await expect(page.get_by_text("from the last 1 min")).to_be_visible()
        assert await page.evaluate("told") == 0
        served.status = status(failing("a"), failing("b"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("status")).to_have_text("All 2 agents are failing")
        assert await page.evaluate("told") == 1

    async def test_a_page_that_cannot_be_refreshed_says_so_until_it_can_be(self, served: Served, opened: Open) -> None:
        page = await opened(complains_of="503")
        await page.route("**/*", lambda route: route.fulfill(status=503, body=""))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("alert")).to_contain_text("This page is not up to date.")
        await expect(page.get_by_role("alert")).to_contain_text("it answers HTTP 503")
        await page.unroute_all()
        await page.route("**/*", lambda route: route.fulfill(status=200, body="<title>Log in</title>"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("alert")).to_contain_text("something else answers in its place")
        await page.unroute_all()
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("alert")).to_have_count(0)

    async def test_an_agent_that_is_polled_no_more_is_told_so(self, served: Served, opened: Open) -> None:
        served.status = status(fine("a"), fine("b"))
        page = await opened("/agents/a", complains_of="404")
        served.status = status(fine("b"))
        await page.clock.run_for(EVERY)
        await expect(page.get_by_role("heading", level=1)).to_have_text("No such agent is polled")

    async def test_it_can_be_paused(self, served: Served, opened: Open) -> None:
        page = await opened()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.get_by_role("button", name="Pause refreshing").click()
        await page.clock.run_for(20 * EVERY)
        assert asked == []
        async with page.expect_response("**/"):
            await page.get_by_role("button", name="Refresh again").click()
        await expect(page.get_by_role("button", name="Pause refreshing")).to_be_visible()


async def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(served: Served, opened: Open) -> None:
    served.status = EXAMPLES["hundreds"]
    page = await opened(**LOOKS["narrow"])
    # A page that refreshes itself meanwhile forgets what was reached.
    await page.clock.pause_at(await page.evaluate("Date.now()") / 1000 + 1)
    reachable = page.locator("a, button, input:not([type=hidden]), summary, [tabindex='0']")
    for _ in range(await reachable.count()):
        await page.keyboard.press("Tab")
        html, line, width, visible = await page.evaluate(FOCUS)
        assert (line, width >= 2, visible) == ("solid", True, True), html
    assert await page.locator("[data-reached]").count() == await reachable.count() > 100


async def test_the_first_link_leads_past_the_navigation(served: Served, opened: Open) -> None:
    page = await opened()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()


async def test_agents_are_found_with_and_without_a_script(served: Served, opened: Open) -> None:
    served.status = EXAMPLES["hundreds"]
    for scripted in (True, False):
        page = await opened(java_script_enabled=scripted)
        await page.get_by_role("searchbox").fill("agent-07")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("row")).to_have_count(11)
        await page.get_by_role("link", name="failing 20").click()
        await expect(page.get_by_text("No agent is like that.")).to_be_visible()


async def test_landmarks_and_headings_tell_where_one_is(served: Served, opened: Open) -> None:
    served.status = EXAMPLES["everything wrong"]
    page = await opened()
    for role in ("banner", "main"):
        await expect(page.get_by_role(role)).to_have_count(1)
    await expect(page.get_by_role("navigation", name="Pages")).to_have_count(1)
    titles = await page.get_by_role("heading", level=2).all_inner_texts()
    assert titles == ["What is wrong", "Being read for the first time", "Agents", "The exporter", "Help"]
    headers = await page.get_by_role("columnheader").all_inner_texts()
    assert headers == ["Agent", "State", "Numbers from", "Tasks", "Calls", "Next poll"]
