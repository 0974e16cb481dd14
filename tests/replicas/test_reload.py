"""Other settings while replicas run, of one after the other: agents come and go, and what is shared stays shared."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.service.running import (
    LEGACY,
    SALES,
    SUPPORT,
    Platform,
    Process,
    counts_of,
    kept,
    platform,
    started,
    until,
    written,
)

LEASE: Final = 5.0
TWO = [SALES.handle, SUPPORT.handle]
ALL = [*TWO, LEGACY.handle]


class Pair:
    """Two replicas of one platform, and the database that they share."""

    def __init__(self, made: Platform, folder: Path, database: str) -> None:
        self.made = made
        self.replicas: list[Process] = []
        self._folder, self._database = folder, database

    def settings(self, **sections: Any) -> dict[str, Any]:
        shared = {"url": self._database, "replicas": True, "lease": f"{LEASE:g}s"}
        return self.made.settings(**{"agents": TWO, **sections, "state": shared | sections.get("state", {})})

    def config(self, place: int, **sections: Any) -> Path:
        return written(self._folder, self.settings(**sections), f"{place}.yaml")

    async def reloads(self, place: int, **sections: Any) -> str:
        """One of them has other settings from now on; its answer."""
        self.config(place, **sections)
        answer = await self.replicas[place].get("/-/reload", method="POST")
        assert answer.status == 200, answer.text
        return answer.text

    async def shown(self) -> list[dict[str, float]]:
        return [await one.numbers() for one in self.replicas]

    async def until_shown(self, agents: Sequence[str], *, moves: bool = True) -> dict[str, int]:
        """Waits until exactly these agents are shown, each by one, after a poll that went well; by which one."""
        before = await self.holders()
        found: dict[str, int] = {}

        async def is_so() -> bool:
            nonlocal found
            ups = [counts_of(numbers, "unpod_agent_up") for numbers in await self.shown()]
            told = [(key.split('"')[1], place) for place, up in enumerate(ups) for key in up]
            found = dict(told)
            assert moves or found.items() >= before.items(), "an agent has moved that need not"
            return len(told) == len(agents) and found.keys() == set(agents) and all(all(up.values()) for up in ups)

        await until(is_so)
        return found

    async def holders(self) -> dict[str, int]:
        told = [counts_of(numbers, "unpod_agent_up") for numbers in await self.shown()]
        return {key.split('"')[1]: place for place, up in enumerate(told) for key in up}

    async def counters(self) -> dict[str, float]:
        """What has been counted, whoever shows it."""
        found: dict[str, float] = {}
        for numbers in await self.shown():
            found |= {key: value for key, value in kept(numbers).items() if 'agent="' in key}
        return found

    async def shares(self) -> list[float]:
        family = "unpod_exporter_api_requests_share_per_minute"
        return [sum(counts_of(numbers, family).values()) for numbers in await self.shown()]

    def leased(self) -> set[str]:
        with psycopg.connect(self._database) as connection:
            return {agent for (agent,) in connection.execute("SELECT agent FROM unpod_exporter.leases")}


@asynccontextmanager
async def pair(folder: Path, database: str, **sections: Any) -> AsyncIterator[Pair]:
    """They show SALES and SUPPORT, one each."""
    async with AsyncExitStack() as stack:
        made = Pair(await stack.enter_async_context(platform(SALES, SUPPORT, LEGACY)), folder, database)
        for place in range(2):
            words = ("run", "--config.file", str(made.config(place, **sections)), "--web.listen-address", "127.0.0.1:0")
            made.replicas.append(await stack.enter_async_context(started(folder, *words)))

        async def is_even() -> bool:
            return sorted((await made.holders()).values()) == [0, 1]

        await until(is_even)
        await made.until_shown(TWO)
        yield made
        for one in made.replicas:
            assert "Traceback" not in one.err
            assert not one.events("replica does not do its part")
            assert (await one.stop()).code == 0


async def test_an_agent_that_is_named_is_polled_by_one_of_them_and_no_other_moves(
    tmp_path: Path, database: str
) -> None:
    async with pair(tmp_path, database) as made:
        before = await made.counters()
        assert (await made.reloads(0, agents=ALL)) == "reloaded; changed: agents\n"
        await made.until_shown(ALL, moves=False)
        made.config(1, agents=ALL)
        made.replicas[1].send(signal.SIGHUP)
        await made.replicas[1].until(lambda: made.replicas[1].events("reloaded"))
        await made.until_shown(ALL, moves=False)
        assert before.items() <= (await made.counters()).items()


async def test_an_agent_that_is_named_no_more_is_shown_and_leased_by_nobody(tmp_path: Path, database: str) -> None:
    async with pair(tmp_path, database) as made:
        before = await made.counters()
        holder = (await made.holders())[SALES.handle]
        for place in (holder, 1 - holder):
            await made.reloads(place, agents=[SUPPORT.handle])
        await made.until_shown([SUPPORT.handle])
        await until(lambda: _is(made.leased() == {SUPPORT.handle}))
        for place in (0, 1):
            await made.reloads(place)
        await made.until_shown(TWO)
        assert await made.counters() == before, "counted once, not twice"


async def test_an_agent_that_is_taken_away_and_named_again_at_once_is_polled_on(tmp_path: Path, database: str) -> None:
    async with pair(tmp_path, database) as made:
        for _ in range(5):
            for place in (0, 1):
                await made.reloads(place, agents=[LEGACY.handle])
            for place in (0, 1):
                await made.reloads(place)
        await made.until_shown(TWO)


async def test_another_interval_moves_no_agent_and_leaves_each_its_share_of_the_requests(
    tmp_path: Path, database: str
) -> None:
    async with pair(tmp_path, database, api={"requests_per_minute": 6000}) as made:
        await until(lambda: _shares(made, [3000.0, 3000.0]))
        for place in (0, 1):
            changed = {"api": {"requests_per_minute": 6000}, "polling": {"interval": "100ms"}}
            assert (await made.reloads(place, **changed)) == "reloaded; changed: polling.interval\n"
        for one in made.replicas:
            await one.polled(3)
        assert await made.shares() == [3000.0, 3000.0]
        await made.until_shown(TWO, moves=False)


async def test_another_limit_is_shared_out_once_all_of_them_know_it(tmp_path: Path, database: str) -> None:
    async with pair(tmp_path, database, api={"requests_per_minute": 6000}) as made:
        await until(lambda: _shares(made, [3000.0, 3000.0]))
        await made.reloads(0, api={"requests_per_minute": 4000})
        await until(lambda: _shares(made, [2000.0, 3000.0]))
        await made.reloads(1, api={"requests_per_minute": 4000})
        await until(lambda: _shares(made, [2000.0, 2000.0]))
        await made.until_shown(TWO, moves=False)


async def test_another_database_needs_a_restart_and_all_else_holds(tmp_path: Path, database: str) -> None:
    async with pair(tmp_path, database) as made:
        elsewhere = {"url": "postgresql://postgres@127.0.0.1:1/elsewhere", "lease": "10s"}
        for place in (0, 1):
            answer = await made.reloads(place, agents=ALL, state=elsewhere)
            assert answer.splitlines() == [
                "reloaded; changed: agents",
                "not changed, since it needs a restart: state.url, state.lease",
            ]
        await made.until_shown(ALL, moves=False)
        for one in made.replicas:
            assert "elsewhere" not in (await one.get("/config")).text


async def test_settings_that_are_bad_change_nothing(tmp_path: Path, database: str) -> None:
    async with pair(tmp_path, database) as made:
        made.config(0, agents=ALL, polling={"interval": "never"})
        assert (await made.replicas[0].get("/-/reload", method="POST")).status == 500
        await made.replicas[0].polled(2)
        await made.until_shown(TWO, moves=False)


async def _is(found: bool) -> bool:
    return found


async def _shares(made: Pair, wanted: list[float]) -> bool:
    return await made.shares() == wanted
