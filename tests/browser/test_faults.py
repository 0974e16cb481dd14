"""Somebody who never saw the page is called in the night: what is broken, and why, stands where one looks first."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.conftest import LOOKS
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


async def is_seen_at_once(found: Locator) -> bool:
    """Whether it lies as a whole on the first screen."""
    await expect(found).to_be_visible()
    is_inside: bool = await found.evaluate("""(one) => {
        const box = one.getBoundingClientRect();
        return scrollY === 0 && box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    }""")
    return is_inside


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
