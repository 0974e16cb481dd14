"""A real Prometheus in a process of its own, and what it answers over its HTTP API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.service.running import PATIENCE, fetched, json_line, until

Labels = tuple[tuple[str, str], ...]


class Prometheus:
    """A Prometheus that scrapes every second."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def asks(self, query: str) -> dict[Labels, float]:
        """The result of a PromQL query now, by labels without job and instance."""
        found = await self.api("query", query=query)
        return {
            tuple(sorted((name, value) for name, value in one["metric"].items() if name not in ("job", "instance"))): (
                float(one["value"][1])
            )
            for one in found["result"]
        }

    async def ranges(self, query: str, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a PromQL query over a span: each its labels (``metric``) and its ``values``."""
        found = await self.api("query_range", query=query, start=str(begin), end=str(end), step=str(step))
        series: list[dict[str, Any]] = found["result"]
        return series

    async def number(self, query: str) -> float | None:
        """The result of a query that gives one number, or none."""
        found = await self.asks(query)
        assert len(found) <= 1, found
        return next(iter(found.values()), None)

    async def until(self, query: str, wanted: float) -> None:
        """Waits until a query gives this number."""
        last: float | None = None

        async def asked() -> bool:
            nonlocal last
            last = await self.number(query)
            return last == pytest.approx(wanted)

        try:
            await until(asked)
        except AssertionError:
            raise AssertionError(f"{query} is {last}, not {wanted}") from None

    async def scraped(self, times: int = 2) -> None:
        """Waits until the target has been scraped so many times more."""

        async def count() -> float:
            return await self.number("count_over_time(up[1h])") or 0.0

        before = await count()

        async def asked() -> bool:
            return await count() >= before + times

        await until(asked)

    async def api(self, what: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API; an error is an error."""
        answer = await fetched(f"{self.url}/api/v1/{what}?{urlencode(parameters)}")
        told = json_line(answer.text)
        assert told["status"] == "success", (parameters, told)
        return told["data"]


@asynccontextmanager
async def scraping(folder: Path, address: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes one target."""
    scrape = {"job_name": "unpod", "static_configs": [{"targets": [address]}]}
    async with prometheus(folder, {"scrape_configs": [scrape]}) as running:
        yield running


@asynccontextmanager
async def prometheus(folder: Path, config: Mapping[str, Any], *flags: str) -> AsyncIterator[Prometheus]:
    """A Prometheus with this configuration, which keeps what it knows in ``folder``/tsdb."""
    every_second = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"global": every_second, **config}), encoding="utf-8")
    log = folder / "prometheus.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            "--web.listen-address=127.0.0.1:0",
            *flags,
            stdout=file,
            stderr=file,
        )
    try:

        async def listening() -> str | None:
            assert process.returncode is None, log.read_text()
            found = re.search(r'"Listening on" address=(\S+)', log.read_text())
            return found and found[1]

        url = f"http://{await until(listening)}"

        async def ready() -> bool:
            return (await fetched(f"{url}/-/ready")).status == 200

        await until(ready)
        yield Prometheus(url)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()
