"""The simulated platform on a port of its own, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from exporter.simulator.faults import Faults
from exporter.simulator.server import OnServed, create_app
from exporter.simulator.world import World


@asynccontextmanager
async def serve(
    world: World,
    *,
    clock: Callable[[], float],
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "demo-token",  # noqa: S107 - a made-up token of a made-up platform
    org: str | None = "demo-org",
    faults: Faults | None = None,
    on_served: OnServed | None = None,
    gzip: bool = False,
) -> AsyncIterator[str]:
    """Serves ``create_app`` of the same arguments; gives the base URL. Port 0 is any free one.

    Raises OSError where the address is in use.
    """
    app = create_app(world, clock=clock, token=token, org=org, faults=faults, on_served=on_served, gzip=gzip)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
    finally:
        await runner.cleanup()
