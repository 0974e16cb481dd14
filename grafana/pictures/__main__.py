"""``python -m grafana.pictures``: pictures of the dashboards in docs/images, of the demo's platform.

A real Prometheus is given the past of a real exporter, as the tests do it (``tests.prometheus.stage``), and asked every
query of every panel. Nothing is made up but the platform itself. It takes Prometheus, Chromium and some minutes.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from playwright.async_api import async_playwright

from grafana.__main__ import boards
from grafana.asking import View, sent, step
from grafana.pictures.draw import Answer, Series
from grafana.pictures.page import WIDTH, page
from tests.prometheus.running import Prometheus
from tests.prometheus.stage import SCRAPE_INTERVAL, staged

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
HOURS: Final = 4.0
"""What the pictures show."""
BEFORE: Final = 1.0
"""Hours before that, so that the first rates have something to begin with."""
SHARPNESS: Final = 1.5
_CHOSEN: Final[Mapping[str, Mapping[str, str]]] = {"unpod-agent": {"agent": "sales-agent-v1"}}


async def answered(prometheus: Prometheus, panel: Mapping[str, Any], view: View) -> Answer:
    """What the queries of a panel return."""
    seconds = step(panel, view)
    begin = view.begin // seconds * seconds + seconds
    found = []
    for target in panel["targets"]:
        expr = sent(target["expr"], view, seconds)
        if target.get("instant"):
            told = await prometheus.api("query", query=expr, time=str(view.end))
            series = [{"metric": one["metric"], "values": [one["value"]]} for one in told["result"]]
        else:
            series = await prometheus.ranges(expr, begin, view.end, seconds)
        found.append([_series(one, target.get("legendFormat", "")) for one in series])
    return Answer(found, view.begin, view.end, seconds)


def _series(one: Mapping[str, Any], legend: str) -> Series:
    labels = one["metric"]
    name = legend
    for label, value in labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return Series(name, labels, [(float(at), float(value)) for at, value in one["values"]])


async def main(hours: float, folder: Path) -> None:
    """Draws all dashboards."""
    with tempfile.TemporaryDirectory() as scratch:
        async with (
            staged(Path(scratch), span=(hours + BEFORE) * 3600, replicas=("exporter:10130",)) as stage,
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for board in boards():
                end = time.time()
                view = View(end - hours * 3600, end, SCRAPE_INTERVAL, _CHOSEN.get(board["uid"], {}))
                shown = [panel for panel in board["panels"] if panel["type"] != "row"]
                answers = {panel["id"]: await answered(stage.prometheus, panel, view) for panel in shown}
                sheet = await browser.new_page(viewport={"width": WIDTH, "height": 400}, device_scale_factor=SHARPNESS)
                await sheet.set_content(page(board, view, answers))
                await sheet.screenshot(
                    path=folder / f"{board['uid'].replace('unpod', 'dashboard')}.png", full_page=True
                )
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if sys.argv[1:] else HOURS, Path(sys.argv[2]) if sys.argv[2:] else IMAGES))
