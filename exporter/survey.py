"""What the token can see: every agent of the list, and whether its tasks can be read."""

from __future__ import annotations

import msgspec

from exporter.unpod.client import Client
from exporter.unpod.errors import UnpodError
from exporter.unpod.facts import Agent


class Readable(msgspec.Struct, frozen=True):
    """An agent that the token can see, and what it may be asked."""

    agent: Agent
    tasks: int | None
    """How many it has; None where it cannot be read or does not tell."""
    error: UnpodError | None = None
    """Why it cannot be read."""


async def survey(client: Client) -> list[Readable]:
    """Every agent of the list, and whether its tasks can be read. Raises ``UnpodError`` where the list cannot."""
    return [await _readable(client, agent) for agent in (await client.agents()).agents]


async def _readable(client: Client, agent: Agent) -> Readable:
    try:
        page = await client.tasks(agent.handle, page=1, page_size=1)
    except UnpodError as error:
        return Readable(agent, None, error)
    # A platform that knows no paging answers with all tasks, perhaps without counting them.
    return Readable(agent, page.received if page.whole else page.total)
