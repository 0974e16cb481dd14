"""A process that goes on where another one ended: the same numbers at once, and no bunch of polls."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import msgspec
import pytest

from tests.service.running import SALES, SUPPORT, exporting, platform, samples

AGENTS = tuple(
    msgspec.structs.replace(profile, handle=f"{profile.handle}-{number}")
    for profile in (SALES, SUPPORT)
    for number in range(6)
)
HOUR = 3600.0
OF_THE_PROCESS = re.compile(r"unpod_agent_(?:polls|poll_failures|last_poll)|unpod_exporter_|process_|python_")
"""What begins anew with each process."""


def of_the_agents(text: str) -> dict[str, float]:
    """The samples that tell of the agents and not of the process."""
    return {key: value for key, value in samples(text).items() if not OF_THE_PROCESS.match(key)}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_shows_what_was_shown_and_asks_for_nothing_before_its_time(
    tmp_path: Path, end: signal.Signals
) -> None:
    async with platform(*AGENTS, history=0.5) as made:
        settings = made.settings(polling={"interval": "1h", "max_staleness": "3h"})
        # Whoever is discovered has its name from the first commit on.
        discovering = {name: section for name, section in settings.items() if name != "agents"}
        async with exporting(tmp_path, discovering) as process:
            await process.ready()
            before = (await process.get()).text
            await process.stop(end)
        made.clock.now += 60.0
        asked: list[None] = []
        made.hears = lambda: asked.append(None)
        async with exporting(tmp_path, settings) as process:
            assert (await process.get("/-/ready")).status == 200, "it has numbers to show as soon as it listens"
            assert of_the_agents((await process.get()).text) == of_the_agents(before)
            status = json.loads((await process.get("/api/agents")).body)
            polls = sorted(agent["next_poll"] - agent["last_success"] for agent in status["agents"])
            assert len(polls) == len(AGENTS)
            assert polls[0] >= HOUR / 2
            assert polls[-1] <= 1.5 * HOUR
            assert polls[-1] - polls[0] > HOUR / 2, "they are spread over the interval"
            assert {agent["state"] for agent in status["agents"]} == {"up"}
            assert asked == []
