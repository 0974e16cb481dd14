"""Other settings while the exporter runs: all of them or none, told in words, and no number lost for it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from exporter.config import Config, load
from exporter.service.assembly import assembled
from exporter.service.entrance import Entrance
from exporter.service.reloading import Reloader, Source
from exporter.systemd import Notifier
from exporter.tracking.plan import Plan
from tests.service.running import (
    LEGACY,
    PATIENCE,
    SALES,
    SUPPORT,
    TOKEN,
    Answer,
    Platform,
    Process,
    counts_of,
    exporting,
    kept,
    platform,
    started,
    until,
    written,
)
from tests.truth.harness import Notes

GOOD, AT = "unpod_exporter_config_last_reload_successful", "unpod_exporter_config_last_reload_success_timestamp_seconds"


async def reload(process: Process, method: str = "POST") -> Answer:
    return await process.get("/-/reload", method=method)


@asynccontextmanager
async def running(folder: Path, *words: str, **sections: Any) -> AsyncIterator[tuple[Platform, Process]]:
    """An exporter of three agents, of whom the third is not named, that has polled them."""
    async with platform(SALES, SUPPORT, LEGACY) as made:
        agents = [SALES.handle, SUPPORT.handle]
        async with exporting(folder, made.settings(**{"agents": agents, **sections}), *words) as process:
            await process.ready()
            yield made, process


def agents_in(shown: dict[str, float]) -> set[str]:
    return {key.split('"')[1] for key in counts_of(shown, "unpod_agent_up")}


async def test_agents_come_and_go_and_the_numbers_of_the_others_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        before = kept(await process.numbers())
        written(tmp_path, made.settings(agents=[SUPPORT.handle, {"handle": LEGACY.handle, "labels": {"team": "old"}}]))
        answer = await reload(process)
        assert (answer.status, answer.text) == (200, "reloaded; changed: agents\n")
        shown = await process.until_shown(lambda shown: agents_in(shown) == {SUPPORT.handle, LEGACY.handle})
        assert {key: value for key, value in before.items() if SUPPORT.handle in key}.items() <= kept(shown).items()
        assert not [key for key in shown if f'agent="{SALES.handle}"' in key]
        assert any('team="old"' in key for key in shown)

        written(tmp_path, made.settings(agents=[SALES.handle]))
        await reload(process)
        shown = await process.until_shown(lambda shown: agents_in(shown) == {SALES.handle})
        again = {key: value for key, value in kept(shown).items() if SALES.handle in key}
        assert again == {key: value for key, value in before.items() if SALES.handle in key}, "counted once, not twice"


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        before = await process.numbers()
        config = (await process.get("/config")).text
        assert (before[GOOD], before[AT] > 0) == (1.0, True)
        written(tmp_path, "api: {token: s3cr3t-in-a-bad-file, page_size: 0}\npolling: {interval: x}\n")
        answer = await reload(process)
        assert answer.status == 500
        assert [line.split(": ")[1] for line in answer.text.splitlines()] == ["api.page_size", "polling.interval"]
        (told,) = process.events("not reloaded, the settings before stay in force")
        assert (told["level"], told["why"]) == ("error", "asked for over HTTP")
        assert "api.page_size" in told["error"]
        after = await process.polled(2)
        assert (after[GOOD], after[AT]) == (0.0, before[AT])
        assert agents_in(after) == agents_in(before)
        assert (await process.get("/config")).text == config
        assert "s3cr3t" not in process.err + answer.text

        written(tmp_path, made.settings(agents=[SALES.handle, SUPPORT.handle]))
        assert (await reload(process)).text == "reloaded; changed: nothing\n"
        assert (await process.numbers())[GOOD] == 1.0


async def test_only_a_request_that_means_it_reloads(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, process):
        for method in ("GET", "DELETE"):
            answer = await reload(process, method)
            assert (answer.status, answer.headers["Allow"]) == (405, "POST,PUT")
        assert (await process.get("/-/reload", method="POST", Sec_Fetch_Site="cross-site")).status == 403
        assert process.events("reloaded") == []
        assert (await process.get("/-/reload", method="POST", Sec_Fetch_Site="same-origin")).status == 200
        assert (await reload(process, "PUT")).status == 200


async def test_a_hangup_reloads(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        written(tmp_path, made.settings(agents=[LEGACY.handle]))
        process.send(signal.SIGHUP)
        await process.until(lambda: process.events("reloaded"))
        (told,) = process.events("reloaded")
        assert (told["why"], told["changed"]) == ("SIGHUP", "agents")
        await process.until_shown(lambda shown: agents_in(shown) == {LEGACY.handle})
        assert process.alive


async def test_a_change_of_the_file_reloads_where_that_is_wanted_and_what_is_bad_is_told_once(
    tmp_path: Path,
) -> None:
    flags = ("--config.enable-auto-reload", "--config.auto-reload-interval", "50ms")
    async with running(tmp_path, *flags) as (made, process):
        written(tmp_path, made.settings(agents=[LEGACY.handle], api={"token": None, "token_file": "later"}))
        (told,) = await process.until(lambda: process.events("not reloaded, the settings before stay in force"))
        assert "api.token_file" in told["error"]
        await process.polled(5)
        assert len(process.events("not reloaded, the settings before stay in force")) == 1
        assert process.events("reloaded") == []
        (tmp_path / "later").write_text(TOKEN)
        (told,) = await process.until(lambda: process.events("reloaded"))
        assert told["why"] == "the file has changed"
        await process.until_shown(lambda shown: agents_in(shown) == {LEGACY.handle})


async def test_without_being_told_to_nobody_looks_at_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        written(tmp_path, made.settings(agents=[LEGACY.handle]))
        await process.polled(3)
        assert process.events("reloaded") == []


async def test_what_needs_a_restart_is_said_and_all_else_holds(tmp_path: Path) -> None:
    async with platform(SALES, SUPPORT) as made:
        path = written(tmp_path, made.settings(state={"path": str(tmp_path / "one.db")}))
        words = ("run", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
        async with started(tmp_path, *words) as process:
            await process.ready()
            changed = made.settings(agents=[SALES.handle], state={"path": str(tmp_path / "two.db")})
            written(tmp_path, changed)
            answer = await reload(process)
            assert answer.status == 200
            assert answer.text.splitlines() == [
                "reloaded; changed: agents",
                "not changed, since it needs a restart: state.path",
            ]
            (told,) = process.events("some changes need a restart")
            assert told["keys"] == "state.path"
            assert "one.db" in (await process.get("/config")).text
            assert not (tmp_path / "two.db").exists()


async def test_another_token_and_another_platform_hold_at_once_and_who_failed_is_asked_again(tmp_path: Path) -> None:
    async with running(tmp_path, polling={"interval": "1h", "max_staleness": "1d"}) as (made, process):
        wrong = made.settings(api={"token": "wrong"}, agents=[SALES.handle], polling={"interval": "1h"})
        wrong["polling"]["max_staleness"] = "1d"
        written(tmp_path, {**wrong, "polling": {"interval": "200ms", "max_staleness": "1d"}})
        assert (await reload(process)).text == "reloaded; changed: api.token, polling.interval, agents\n"
        await process.until_shown(lambda shown: not any(counts_of(shown, "unpod_agent_up").values()))
        written(tmp_path, {**wrong, "api": wrong["api"] | {"token": TOKEN}})
        assert (await reload(process)).text == "reloaded; changed: api.token, polling.interval\n"
        shown = await process.until_shown(lambda shown: all(counts_of(shown, "unpod_agent_up").values()))
        assert counts_of(shown, "unpod_agent_up")
        async with platform(SALES, seed=8) as other:
            (tmp_path / "ca.pem").write_text("no certificate")
            unusable = other.settings(agents=[SALES.handle], api={"tls": {"ca_file": "ca.pem"}})
            written(tmp_path, unusable)
            answer = await reload(process)
            assert (answer.status, "ca.pem cannot be used" in answer.text) == (500, True)
            assert made.url in (await process.get("/config")).text
            written(tmp_path, other.settings(agents=[SALES.handle]))
            assert "api.base_url" in (await reload(process)).text
            await process.polled(2)
            assert process.events("poll failed by a defect") == []


async def test_other_buckets_hold_at_once_and_begin_that_histogram_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        before = await process.numbers()
        agents = [SALES.handle, SUPPORT.handle]
        written(tmp_path, made.settings(agents=agents, metrics={"call_duration_buckets": [60, 600]}))
        assert (await reload(process)).text == "reloaded; changed: metrics.call_duration_buckets\n"
        after = await process.numbers()
        bounds = {key.split('le="')[1] for key in counts_of(after, "unpod_call_duration_seconds_bucket")}
        assert bounds == {'60.0"}', '600.0"}', '+Inf"}'}
        others = {key: value for key, value in kept(before).items() if "call_duration" not in key}
        assert {key: after[key] for key in others} == others


async def test_a_shard_stays_the_shard_that_it_is(tmp_path: Path) -> None:
    async with platform(SALES, SUPPORT, LEGACY) as made:
        settings = made.settings()
        async with exporting(tmp_path, settings, "--shard.index", "1", "--shard.count", "2") as process:
            shown = agents_in(await process.ready())
            assert shown < {SALES.handle, SUPPORT.handle, LEGACY.handle}
            written(tmp_path, settings | {"polling": {"interval": "100ms"}})
            assert (await reload(process)).text == "reloaded; changed: polling.interval\n"
            assert agents_in(await process.polled(2)) == shown


async def test_many_who_ask_at_once_are_answered_and_served_one_after_the_other(tmp_path: Path) -> None:
    async with running(tmp_path) as (made, process):
        written(tmp_path, made.settings(agents=[LEGACY.handle]))
        answers = await asyncio.gather(*(reload(process) for _ in range(40)))
        assert {answer.status for answer in answers} == {200}
        assert 1 <= len(process.events("reloaded")) <= 40
        await process.until_shown(lambda shown: agents_in(shown) == {LEGACY.handle})
        assert "Traceback" not in process.err


async def test_the_settings_in_force_are_shown_as_the_file_that_brings_them_about(tmp_path: Path) -> None:
    async with running(tmp_path, discovery={"enabled": True, "exclude": ["$x"]}) as (_, process):
        answer = await process.get("/config")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert TOKEN not in answer.text
        told = yaml.safe_load(answer.text)
        assert told["api"]["token"] == "<secret>"
        path = tmp_path / "again.yaml"
        path.write_text(answer.text)

        def known(config: Config) -> Config:
            api = msgspec.structs.replace(config.api, token=None)
            return msgspec.structs.replace(config, api=api, source="")

        flagged = load(tmp_path / "config.yaml", {}, state_path="state.db")
        assert known(load(path, {})) == known(flagged)


async def test_behind_a_proxy_everything_is_below_its_path(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        words = ("--web.external-url", "https://example.com/ops/unpod/")
        async with exporting(tmp_path, made.settings(), *words) as process:
            for path in ("/ops/unpod/metrics", "/ops/unpod/-/healthy", "/ops/unpod/", "/ops/unpod/api/agents"):
                assert (await process.get(path)).status == 200
            assert (await process.get("/metrics")).status == 404
            assert b"Unpod exporter" in (await process.get("/")).body
            assert (await process.get("/ops/unpod/-/reload", method="POST")).status == 200

            async def known() -> bool:
                return (await process.get(f"/ops/unpod/api/agents/{SALES.handle}")).status == 200

            await until(known)


async def test_a_defect_ends_a_reload_in_words_and_neither_the_watch_nor_the_next_reload(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        config = load(written(tmp_path, made.settings(agents=[SALES.handle])), {})
        log, hangup, said = Notes(), asyncio.Event(), asyncio.Queue[str]()
        async with asyncio.timeout(PATIENCE), assembled(config, log) as exporter:
            entrance = Entrance(None, log, elapsed=lambda: 0.0, told=lambda problem: None)
            again = msgspec.structs.replace(config, polling=msgspec.structs.replace(config.polling, interval=30.0))
            reloader = Reloader(
                exporter, entrance, Source(read=lambda: again), log, Notifier({}, 1), read=said.put_nowait
            )
            watching = asyncio.create_task(reloader.watch(hangup, asyncio.sleep))
            replan = exporter.fleet.replan

            async def broken(plan: Plan) -> None:
                raise KeyError(TOKEN)

            exporter.fleet.replan = broken  # type: ignore[method-assign]
            hangup.set()
            assert (await said.get()).startswith("a defect of the exporter ended the reload")
            answer = await reloader.reload("asked for over HTTP")
            assert (answer.ok, answer.text) == (False, await said.get())
            assert "KeyError < test_reload.py:" in answer.text
            told = log.told("reload ended by a defect")
            assert [line["why"] for line in told] == ["SIGHUP", "asked for over HTTP"]
            assert TOKEN not in str(told) + answer.text
            exporter.fleet.replan = replan  # type: ignore[method-assign]
            hangup.set()
            assert await said.get() == ""
            (line,) = log.told("reloaded")
            assert line["changed"] == "polling.interval", "what the broken one has not brought about"
            watching.cancel()
            await asyncio.wait([watching])
