"""What a page must be for whoever looks at it."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import LOOKS

AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CLIPPED = """() => [...document.querySelectorAll("main *")]
    .filter((one) => [...one.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()))
    .filter((one) => !one.closest(".unseen, thead, svg") && getComputedStyle(one).display !== "inline")
    .filter((one) => one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.outerHTML.slice(0, 120))"""


async def looks(page: Page, look: str) -> None:
    """Lets a page look otherwise."""
    await page.set_viewport_size(LOOKS[look]["viewport"])
    await page.emulate_media(color_scheme=LOOKS[look]["color_scheme"])


async def is_for_everybody(page: Page, axe: str, *only: str) -> None:
    """Whatever it looks like (``only`` in these looks, or in all): axe finds nothing wrong with it, nothing sticks out
    of it, and no text is cut off."""
    # Past the Content-Security-Policy, which allows nothing but the page's own script.
    await page.evaluate(axe)
    for name in only or LOOKS:
        await looks(page, name)
        found = await page.evaluate("(rules) => axe.run(document, {runOnly: rules})", AXE_RULES)
        assert len(found["passes"]) > 20
        faults = [
            f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]
        assert faults == [], name
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        assert await page.evaluate(CLIPPED) == [], name


async def is_seen_at_once(found: Locator) -> bool:
    """Whether it lies as a whole on the first screen."""
    await expect(found).to_be_visible()
    is_inside: bool = await found.evaluate("""(one) => {
        const box = one.getBoundingClientRect();
        return scrollY === 0 && box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    }""")
    return is_inside
