"""What the platform lets the token see, asked step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from exporter.tracking.roster import Choice, chosen
from exporter.unpod.client import Client
from exporter.unpod.errors import BadRequest, ConnectionFailed, NoAccess, NotFound, Unauthorized, UnpodError
from exporter.unpod.facts import Agent


class Readable(msgspec.Struct, frozen=True):
    """An agent that the token can see, and what it may be asked."""

    agent: Agent
    tasks: int | None
    """How many it has; None where it cannot be read or does not tell."""
    error: UnpodError | None = None
    """Why it cannot be read."""


class Finding(msgspec.Struct, frozen=True):
    """What was asked, and what came of it."""

    what: str
    words: str
    well: bool = True


async def survey(client: Client) -> list[Readable]:
    """Every agent of the list, and whether its tasks can be read. Raises ``UnpodError`` where the list cannot."""
    return [await _readable(client, agent) for agent in (await client.agents()).agents]


async def probe(
    client: Client, *, named: Sequence[str], choice: Choice | None, organisation: str | None
) -> AsyncIterator[Finding]:
    """Whether the platform answers, knows the token and the organisation, and lets each agent be read that would be
    polled: the ``named`` ones and those of the list that ``choice`` wants (None: none of them).

    It ends where nothing more can come of asking: without a connection, and with a token that is refused.
    """
    listed: Sequence[Agent] = ()
    if organisation is None:
        yield Finding("list of agents", "cannot be asked for: set api.org_handle", well=choice is None)
    else:
        try:
            listed = (await client.agents()).agents
        except (Unauthorized, ConnectionFailed) as error:
            yield _refusal(error)
            return
        except UnpodError as error:
            yield Finding("list of agents", f"{error}{_LIST_HINTS.get(type(error), '')}", well=False)
            if not named:
                # Which agents there are, nobody knows.
                return
        else:
            yield Finding("token", "accepted")
            yield Finding("organisation", f"{organisation} is known")
            yield Finding("list of agents", f"{len(listed)} agents")
    async for finding in _probe_each(client, chosen(named, listed, choice)):
        yield finding


async def _probe_each(client: Client, handles: Iterable[str]) -> AsyncIterator[Finding]:
    asked = False
    for handle in handles:
        asked = True
        one = await _readable(client, Agent(handle=handle))
        if isinstance(one.error, Unauthorized | ConnectionFailed):
            yield _refusal(one.error)
            return
        if one.error is not None:
            yield Finding(handle, f"{one.error}{_HINTS.get(type(one.error), '')}", well=False)
        else:
            yield Finding(handle, "readable" if one.tasks is None else f"{one.tasks:,} tasks")
    if not asked:
        yield Finding("agents", "there is none to poll: name some, or see the filters of discovery", well=False)


_HINTS = {
    NoAccess: "; let that user into the space, or take the agent out of the settings",
    NotFound: "; `unpod-exporter agents` lists the handles that there are",
}

_LIST_HINTS = {NotFound: "; is api.org_handle right?", BadRequest: "; is api.org_handle right?"}


def _refusal(error: UnpodError) -> Finding:
    return Finding("token" if isinstance(error, Unauthorized) else "platform", str(error), well=False)


async def _readable(client: Client, agent: Agent) -> Readable:
    try:
        page = await client.tasks(agent.handle, page=1, page_size=1)
    except UnpodError as error:
        return Readable(agent, None, error)
    # A platform that knows no paging answers with all tasks, perhaps without counting them.
    return Readable(agent, page.received if page.whole else page.total)
