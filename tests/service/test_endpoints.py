"""What a running exporter answers, from its first second on."""

from __future__ import annotations

import gzip
import html
import json
import re
from pathlib import Path

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter import __version__
from tests.service.running import (
    SALES,
    SUPPORT,
    TOKEN,
    counts_of,
    exporting,
    fetched,
    kept,
    platform,
    samples,
    started,
    until,
)

CLOSED = msgspec.structs.replace(SUPPORT, handle="closed", no_access=True)


async def test_it_is_healthy_at_once_and_ready_when_each_agent_has_been_polled(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made:
        made.fails("black_hole", agent=SALES.handle)
        async with exporting(tmp_path, made.settings()) as process:
            assert (await process.get("/-/healthy")).status == 200

            async def one_polled() -> bool:
                answer = await process.get("/-/ready")
                assert answer.status == 503
                return answer.text == "1 of 2 agents have not been polled yet\n"

            await until(one_polled)
            assert (await process.get()).status == 200, "the metrics do not wait"
            made.faults.clear()
            await process.stop()
        async with exporting(tmp_path, made.settings()) as process:

            async def all_polled() -> bool:
                return (await process.get("/-/ready")).status == 200

            await until(all_polled)
            shown = await process.numbers()
            assert shown['unpod_agent_up{agent="closed"}'] == 0, "a poll that failed has ended too"


async def test_with_discovery_it_is_ready_only_after_the_list(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        made.fails("black_hole", endpoint="agents", times=1)
        flags = ("--web.listen-address", "127.0.0.1:0", "--state.path", "memory")
        async with started(tmp_path, "run", *flags, environ=made.environ()) as process:
            answer = await process.get("/-/ready")
            assert (answer.status, answer.text) == (503, "the list of agents has not been read yet\n")


async def test_why_there_are_no_agents_stands_on_the_page(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        made.fails("forbidden", endpoint="agents")
        flags = ("--web.listen-address", "127.0.0.1:0", "--state.path", "memory")
        async with started(tmp_path, "run", *flags, environ=made.environ()) as process:
            assert not counts_of(await process.ready(), "unpod_agent_up")
            notice = json.loads((await process.get("/api/agents")).body)["notice"]
            assert re.fullmatch(r"The list of agents could not be read: \S+ answered HTTP 403: .+", notice)
            assert html.escape(notice) in (await process.get("/")).text


async def test_the_metrics_come_in_both_formats_packed_or_not(tmp_path: Path) -> None:
    async with platform() as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        plain = await process.get()
        assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert not re.search(r"_created[ {]", plain.text)
        strict = await process.get(Accept="application/openmetrics-text; version=1.0.0")
        assert strict.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert strict.text.endswith("\n# EOF\n")
        families = {family.name: family for family in text_string_to_metric_families(strict.text)}
        created = [one for one in families["unpod_calls"].samples if one.name == "unpod_calls_created"]
        assert created
        for accept in ("text/plain", "application/openmetrics-text"):
            packed = await process.get(Accept=accept, Accept_Encoding="gzip")
            assert packed.headers["Content-Encoding"] == "gzip"
            text = gzip.decompress(packed.body).decode()
            assert kept(samples(text)) == kept(samples(plain.text))


async def test_the_metrics_of_one_agent_can_be_asked_for_alone(tmp_path: Path) -> None:
    async with platform() as made, exporting(tmp_path, made.settings()) as process:
        await process.ready()
        shown = samples((await process.get(f"/metrics?agent={SALES.handle}")).text)
        assert shown
        assert all(f'agent="{SALES.handle}"' in key for key in shown)
        assert (await process.get("/metrics?agent=nobody")).status == 404


async def test_a_person_sees_each_agent_with_its_state_and_its_last_error_in_words(tmp_path: Path) -> None:
    async with platform(SALES, CLOSED) as made, exporting(tmp_path, made.settings()) as process:
        shown = await process.ready()
        status = json.loads((await process.get("/api/agents")).body)
        assert status["version"] == __version__
        agents = {agent["handle"]: agent for agent in status["agents"]}
        sales, closed = agents[SALES.handle], agents["closed"]
        assert (sales["name"], sales["state"], sales["up"], sales["last_error"]) == (SALES.name, "up", True, None)
        assert sales["tasks"] == made.world.tasks(SALES.handle).count
        assert sales["calls"] == sum(counts_of(shown, "unpod_calls_total").values())
        assert sales["last_poll"] >= sales["last_success"] > status["started"]
        assert (closed["state"], closed["up"], closed["tasks"], closed["last_success"]) == (
            "failing",
            False,
            None,
            None,
        )
        assert "HTTP 206" in closed["last_error"]
        page = await process.get("/")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for piece in (SALES.handle, SALES.name, "closed", "failing", "HTTP 206", f"{sales['tasks']:,}"):
            assert piece in page.text


async def test_other_paths_and_methods_are_refused(tmp_path: Path) -> None:
    async with platform(SALES) as made, exporting(tmp_path, made.settings()) as process:
        assert (await process.get("/nonsense")).status == 404
        assert (await process.get("/metrics", method="POST")).status == 405


async def test_a_first_reading_shows_how_far_it_is_and_numbers_only_at_its_end(tmp_path: Path) -> None:
    async with platform(SALES, history=8.0) as made:
        total = made.world.tasks(SALES.handle).count
        ratio, complete = (
            f'unpod_agent_history_{name}{{agent="{SALES.handle}"}}' for name in ("read_ratio", "complete")
        )
        # Of so many requests a minute a tenth go at once, the others one after the other.
        pace = {"page_size": 4, "requests_per_minute": 450}
        async with exporting(tmp_path, made.settings(api=pace)) as process:
            seen = []

            async def read() -> bool:
                shown = await process.numbers()
                if shown[complete]:
                    return True
                assert not counts_of(shown, "unpod_tasks_created_total"), "half a history is no number"
                assert not counts_of(shown, "unpod_tasks")
                seen.append(shown[ratio])
                return False

            await until(read)
            shown = await process.numbers()
            assert seen == sorted(seen), "it never goes back"
            assert len({value for value in seen if 0 < value < 1}) >= 3
            assert shown[ratio] == 1
            assert sum(counts_of(shown, "unpod_tasks_created_total").values()) == total


async def test_several_addresses_are_listened_on_and_all_are_told(tmp_path: Path) -> None:
    async with platform(SALES) as made:
        words = ("--web.listen-address", "127.0.0.1:0", "--web.listen-address", "[::1]:0")
        async with exporting(tmp_path, made.settings(), *words) as process:
            await process.url()
            (event,) = process.events("listening")
            addresses = event["addresses"].split(", ")
            assert len(addresses) == 3
            for address in addresses:
                assert (await fetched(f"http://{address}/-/healthy")).status == 200


async def test_an_agent_that_has_no_token_to_ask_with_is_told_apart_from_a_token_that_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with platform(SALES) as made:
        settings = made.settings()
        del settings["api"]["token"]
        settings["api"]["token_file"] = "token"
        async with exporting(tmp_path, settings) as process:
            await process.ready()
            problems = []
            for token in ("", "refused"):
                (tmp_path / "token").write_text(token)
                await process.polled(2)
                (agent,) = json.loads((await process.get("/api/agents")).body)["agents"]
                problems.append((agent["problem"], "is empty" in agent["last_error"]))
    assert problems == [("token", True), ("unauthorized", False)]
