"""The made-up platform, with the exporter beside it or alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence

from exporter.config import Api, Config, Polling, Secret, State
from exporter.simulator.faults import Faults
from exporter.simulator.profiles import DEFAULT_PROFILES, Profile, profiles
from exporter.simulator.runner import serve
from exporter.simulator.world import World
from exporter.web.listen import Address, ListenError

Say = Callable[[str], None]
Listening = Callable[[tuple[Address, ...]], None]
"""Is told where the exporter listens."""
Export = Callable[[Config, asyncio.Event, Listening], Awaitable[None]]
"""Runs the exporter until the event is set."""
StopSignals = Callable[[], asyncio.Event]
"""Gives what is set once the process shall end."""
_TOKEN = "demo-token"  # noqa: S105 - of the made-up platform
_ORGANISATION = "demo-org"


def profiles_for(agents: int | None, tasks: int | None) -> Sequence[Profile]:
    """The agents of a made-up platform: those of the demo, or so many with about so many past tasks each."""
    if agents is None and tasks is None:
        return DEFAULT_PROFILES
    return profiles(agents or len(DEFAULT_PROFILES), 500 if tasks is None else tasks)


async def run(export: Export, stop_signals: StopSignals, *, seed: int, say: Say) -> None:
    """The made-up platform and the exporter until they are stopped. Raises what ``export`` raises."""
    stop = stop_signals()
    world = World(seed=seed, now=time.time(), agents=DEFAULT_PROFILES)
    async with serve(world, clock=time.time, token=_TOKEN, org=_ORGANISATION) as platform:

        def listening(bound: Sequence[Address]) -> None:
            say(_where_to_look(bound[0], platform))

        await export(_config(platform), stop, listening)


async def simulate(
    listen: Address,
    agents: Sequence[Profile],
    faults: Faults,
    stop_signals: StopSignals,
    *,
    speed: float,
    seed: int,
    say: Say,
) -> None:
    """The made-up platform alone, its time running ``speed`` times as fast from now on, until it is stopped.

    Raises ``ListenError``.
    """
    stop = stop_signals()
    begin, started = time.time(), time.monotonic()

    def clock() -> float:
        return begin + (time.monotonic() - started) * speed

    world = World(seed=seed, now=begin, agents=agents)
    host = listen.host or "0.0.0.0"  # noqa: S104 - asked for by an address without a host
    try:
        async with serve(
            world, clock=clock, host=host, port=listen.port, token=_TOKEN, org=_ORGANISATION, faults=faults
        ) as platform:
            say(_how_to_use(platform, len(world.handles)))
            await stop.wait()
    except OSError as error:
        raise ListenError(f"cannot listen on {listen}: {os.strerror(error.errno or 0)}") from error


def _config(platform: str) -> Config:
    return Config(
        api=Api(base_url=platform, token=Secret(_TOKEN), org_handle=_ORGANISATION, requests_per_minute=6000),
        polling=Polling(interval=2.0, max_staleness=60.0),
        state=State(path=None),
        source="the demo",
    )


def _how_to_use(platform: str, agents: int) -> str:
    return (
        f"A made-up platform with {agents} agent{'' if agents == 1 else 's'} at {platform}\n"
        f"  export UNPOD_BASE_URL={platform} UNPOD_API_TOKEN={_TOKEN} UNPOD_ORG_HANDLE={_ORGANISATION}\n"
        f"  what really happened: {platform}/_truth\n"
        f"Stop with Ctrl-C."
    )


def _where_to_look(bound: Address, platform: str) -> str:
    anywhere = bound.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    exporter = f"http://{bound._replace(host='localhost') if anywhere else bound}"
    return (
        f"A made-up Unpod platform, and the exporter beside it:\n"
        f"  status page  {exporter}/\n"
        f"  metrics      {exporter}/metrics\n"
        f"  platform     {platform} (what really happened: {platform}/_truth)\n"
        f"Stop with Ctrl-C."
    )
