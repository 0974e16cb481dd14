from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from exporter.web.listen import serve
from exporter.web.pages import AgentDetail, Pages, Status
from exporter.web.server import create_app
from tests.browser.chromium import chromium
from tests.web.made import detail, status

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 720}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 320, "height": 640}, "color_scheme": "light"},
    "narrow and dark": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}


class Open(Protocol):
    """Opens a page of the server, as it looks with these settings of a browser. The browser may complain of nothing but
    what ``complains_of`` says."""

    def __call__(self, path: str = "/", complains_of: str = "", **settings: Any) -> Awaitable[Page]: ...


class Served:
    """A server that shows what it is given."""

    def __init__(self) -> None:
        self.url = ""
        self.status: Status = status()
        self.detail: Callable[[Any], AgentDetail] = detail

    def agent(self, handle: str) -> AgentDetail | None:
        agents = {agent.handle: agent for agent in self.status.agents}
        return self.detail(agents[handle]) if handle in agents else None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def served() -> AsyncIterator[Served]:
    shown = Served()

    async def metrics(*_: object) -> SimpleNamespace:
        return SimpleNamespace(body=b"", content_type="text/plain", content_encoding=None, status=200)

    pages = Pages(metrics=metrics, ready=lambda: None, status=lambda: shown.status, agent=shown.agent)
    async with serve(create_app(pages), [("127.0.0.1", 0)]) as (bound,):
        shown.url = f"http://{bound}"
        yield shown


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser, served: Served) -> AsyncIterator[Open]:
    """Opens pages. At the end none of them may have complained, about its policy or about anything else."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def open_page(path: str = "/", complains_of: str = "", **settings: Any) -> Page:
        def complained(text: str) -> None:
            if not complains_of or complains_of not in text:
                complaints.append(text)

        context = await browser.new_context(**LOOKS["light"] | settings)
        contexts.append(context)
        page = await context.new_page()
        page.on("console", lambda message: complained(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        if settings.get("java_script_enabled", True):
            await page.clock.install()
        await page.goto(served.url + path)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe() -> str:
    assert AXE.exists(), "axe-core is missing: `make axe` installs it"
    return AXE.read_text(encoding="utf-8")
