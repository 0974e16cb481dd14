"""Somebody who never saw the page is called in the night: what is broken, and why, stands where one looks first."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import LOOKS
from tests.browser.looking import is_for_everybody, is_seen_at_once, looks
from tests.browser.scenes import COLLECTIONS, OFFICE, SALES, SCENES, SUPPORT

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTS = {
    "bad-token": ("All 5 agents are failing", "The platform refuses the API token", OFFICE),
    "no-access": ("1 of 5 agents is failing", "No access to the agent's space", COLLECTIONS),
    "platform-down": ("All 5 agents are failing", "The platform cannot be reached", OFFICE),
    "rate-limited": ("1 of 5 agents is failing", "The platform says: too many requests", SALES),
    "unreadable-tasks": (
        "All 5 agents are polled, but 3 tasks cannot be delivered",
        "Some tasks cannot be delivered",
        SUPPORT,
    ),
    "first-reading": ("2 of 5 agents are being read for the first time", "Being read for the first time", COLLECTIONS),
}
ITS_OWN = {
    "full-disk": (
        "All 5 agents are fine, but the state cannot be written",
        "The state cannot be written",
        "state file unpod-exporter.db cannot be written",
    ),
    "bad-settings": (
        "All 5 agents are fine, but the settings could not be reloaded",
        "The settings could not be reloaded",
        'polling.interval: "often" is not a duration',
    ),
    "bad-web-config": (
        "All 5 agents are fine, but the web config could not be reloaded",
        "The web config could not be reloaded",
        "key_file: does not belong to the certificate",
    ),
    "stretched": (
        "All 5 agents are fine, but polled less often than they should be",
        "Agents are polled less often than they should be",
        "instead of every 60 s",
    ),
    "slow-platform": (
        "All 5 agents are fine, but polls take too long",
        "Polls take too long for their interval",
        "an agent is polled 120 s later than its interval has it",
    ),
    "set-aside": (
        "All 5 agents are fine, but a damaged state was set aside",
        "A damaged state was set aside",
        "1 damaged state beside unpod-exporter.db",
    ),
    "old-certificate": (
        "All 5 agents are fine, but the exporter's certificate expires soon",
        "The exporter's certificate expires soon",
        "it expires in 6 d",
    ),
    "expired-certificate": (
        "All 5 agents are fine, but the exporter's certificate has expired",
        "The exporter's certificate has expired",
        "Expired for 2 d",
    ),
}
"""What is wrong with the exporter itself: the sentence on top, the card, and what it was told."""


@pytest.mark.parametrize("name", FAULTS)
async def test_the_broken_agent_and_the_reason_are_seen_in_one_look(browser: Browser, name: str) -> None:
    headline, reason, agent = FAULTS[name]
    async with SCENES[name](history=12.0) as played:
        for look in ("light", "narrow"):
            context = await browser.new_context(**LOOKS[look])
            page = await context.new_page()
            await page.goto(played.url)
            main = page.get_by_role("main")
            assert await is_seen_at_once(main.get_by_role("heading", level=1, name=headline, exact=True))
            assert await is_seen_at_once(main.get_by_role("heading", name=reason).first)
            assert await is_seen_at_once(main.get_by_role("link", name=agent, exact=True).first)
            await context.close()


@pytest.mark.parametrize("name", ITS_OWN)
async def test_what_is_wrong_with_the_exporter_itself_is_seen_in_one_look(
    browser: Browser, axe: str, name: str
) -> None:
    headline, reason, told = ITS_OWN[name]
    async with SCENES[name](history=1.0) as played:
        # Nobody whom a browser trusts has issued the certificates of a scene.
        context = await browser.new_context(ignore_https_errors=True)
        page = await context.new_page()
        await page.goto(played.url)
        main = page.get_by_role("main")
        for look in ("light", "dark", "narrow"):
            await looks(page, look)
            assert await is_seen_at_once(main.get_by_role("heading", level=1, name=headline, exact=True))
            assert await is_seen_at_once(main.get_by_role("heading", level=3, name=reason))
        (card,) = await main.get_by_role("article").all()
        await expect(card).to_contain_text(reason)
        await expect(card).to_contain_text(told)
        await expect(card).to_contain_text("What to do")
        await is_for_everybody(page, axe, "narrow")
        await context.close()


async def test_when_all_is_well_nothing_else_is_said(browser: Browser) -> None:
    async with SCENES["fine"](history=12.0) as played:
        context = await browser.new_context(**LOOKS["narrow"])
        page = await context.new_page()
        await page.goto(played.url)
        assert await is_seen_at_once(page.get_by_role("heading", level=1, name="All 5 agents are fine", exact=True))
        await expect(page.get_by_role("heading", name="What is wrong")).to_have_count(0)
        await page.get_by_role("link", name=SALES).click()
        await expect(page.get_by_role("heading", name="This agent is fine")).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text="history read")).to_have_count(1)
        await context.close()
