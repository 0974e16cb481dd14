from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from exporter.web.pages import AgentDetail, Pages
from exporter.web.server import create_app
from tests.web.made import detail, failing, fine, status


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> TestClient:
    """A server with two agents, one of which is failing; each agent has a page unless it is called nobody."""

    def metrics(*_: object) -> SimpleNamespace:
        return SimpleNamespace(body=b"", content_type="text/plain", content_encoding=None, status=200)

    def agent(handle: str) -> AgentDetail | None:
        return None if handle in ("", "nobody") else detail(fine(handle))

    shown = status(fine("sales"), failing("back office/mail"))
    pages = Pages(metrics=metrics, ready=lambda: None, status=lambda: shown, agent=agent)
    return await aiohttp_client(create_app(pages))
