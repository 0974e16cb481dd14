"""Pictures for the documents: ``python -m tests.browser.screenshots docs/images``.

Each shows what a real exporter says while a made-up platform plays a scene. The fonts are those of the machine; the
ones in the documents are Noto Sans (Debian: fonts-noto-core and fonts-noto-ui-core).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from playwright.async_api import Browser

from tests.browser.chromium import chromium
from tests.browser.scenes import SALES, SCENES

DESK: Final[dict[str, Any]] = {"viewport": {"width": 1100, "height": 800}}
NIGHT: Final[dict[str, Any]] = DESK | {"color_scheme": "dark"}
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}
AGENTS: Final = "main > section[aria-labelledby=agents]"
POLLS: Final = "main > section[aria-labelledby=polls]"


class Picture(NamedTuple):
    """One picture of a scene."""

    name: str
    settings: dict[str, Any] = DESK
    path: str = "/"
    down_to: str = AGENTS
    """The last element that is shown; none: what fits the screen."""


PICTURES: Final = {
    "fine": (
        Picture("status-fine", down_to="main"),
        Picture("agent", path=f"/agents/{SALES}", down_to=POLLS),
    ),
    "no-access": (Picture("status-page"), Picture("status-phone", PHONE, down_to="")),
    "bad-token": (Picture("status-bad-token", NIGHT),),
    "platform-down": (Picture("status-platform-down"),),
    "rate-limited": (Picture("status-rate-limited"),),
    "unreadable-tasks": (Picture("status-unreadable-tasks"),),
    "first-reading": (Picture("status-first-reading"),),
    "bad-settings": (Picture("status-bad-settings"),),
    "full-disk": (Picture("status-full-disk"),),
}
"""By scene."""


async def take(browser: Browser, url: str, picture: Picture, folder: Path) -> None:
    """Opens the page and writes what is seen of it."""
    context = await browser.new_context(**picture.settings)
    page = await context.new_page()
    await page.goto(url + picture.path)
    clip = None
    if picture.down_to:
        box = await page.locator(picture.down_to).bounding_box()
        assert box is not None, picture.down_to
        width = picture.settings["viewport"]["width"]
        clip = {"x": 0.0, "y": 0.0, "width": float(width), "height": box["y"] + box["height"] + 24.0}
    await page.screenshot(path=folder / f"{picture.name}.png", full_page=clip is not None, clip=clip)  # type: ignore[arg-type]
    await context.close()


async def main(folder: Path) -> None:
    """Takes all of them."""
    async with chromium() as browser:
        for scene, pictures in PICTURES.items():
            async with SCENES[scene]() as played:
                for picture in pictures:
                    await take(browser, played.url, picture, folder)
                    sys.stdout.write(f"{folder / picture.name}.png\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve()))
