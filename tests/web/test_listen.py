"""Addresses to listen on, and the sockets behind them."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.listen import Address, ListenError, parse_listen_address, serve


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":10130", (None, 10130)),
        (":0", (None, 0)),
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),  # noqa: S104 -- an address like any other
        ("localhost:9000", ("localhost", 9000)),
        ("exporter-1.example.org:9000", ("exporter-1.example.org", 9000)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::]:9000", ("::", 9000)),
    ],
)
def test_addresses_are_read_as_prometheus_writes_them(text: str, address: tuple[str | None, int]) -> None:
    assert parse_listen_address(text) == address
    assert str(parse_listen_address(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not an address to listen on"),
        ("10130", "is not an address to listen on"),
        ("localhost", "is not an address to listen on"),
        ("localhost:", "is not an address to listen on"),
        ("localhost:http", "is not an address to listen on"),
        ("::1:9000", "is not an address to listen on"),
        ("::1", "is not an address to listen on"),
        ("http://localhost:9000", "is not an address to listen on"),
        ("127.0.0.1:9000/metrics", "is not an address to listen on"),
        (":-1", "is not an address to listen on"),
        (":65536", "a port is a number up to 65535"),
        ("a host:1", "'a host' is not a host"),
        ("-a:1", "'-a' is not a host"),
        ("[::g]:1", "'::g' is not a host"),
        ("[]:1", "'' is not a host"),
        ("[127.0.0.1]:1", "'127.0.0.1' is not a host"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_right(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="write for example :10130") as caught:
        parse_listen_address(text)
    assert reason in str(caught.value)


@given(st.text(st.sampled_from("ab1.:[]-/ ٣\n")))
def test_no_text_is_too_odd(text: str) -> None:
    with suppress(ValueError):
        address = parse_listen_address(text)
        assert parse_listen_address(str(address)) == address
        assert text.endswith(f"{address.port}")


@pytest.fixture
def app() -> web.Application:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", hello)])
    return app


async def get(address: Address) -> str:
    async with ClientSession() as session, session.get(f"http://{address}/") as answer:
        return await answer.text()


async def test_every_address_is_served(app: web.Application) -> None:
    async with serve(app, [Address("127.0.0.1", 0), Address("localhost", 0)]) as bound:
        assert len(bound) >= 2
        assert all(address.port > 0 for address in bound)
        assert [await get(address) for address in bound] == ["hello"] * len(bound)


async def test_no_host_means_all_of_them(app: web.Application) -> None:
    async with serve(app, [parse_listen_address(":0")]) as bound:
        port = next(address.port for address in bound if address.host == "0.0.0.0")  # noqa: S104 -- what is asked for
        assert await get(Address("127.0.0.1", port)) == "hello"


async def test_when_the_context_ends_nothing_listens_any_more(app: web.Application) -> None:
    async with serve(app, [Address("127.0.0.1", 0)]) as (bound,):
        pass
    with socket.socket() as taken:
        taken.bind(bound)


async def test_an_address_that_is_taken_is_named_and_the_others_are_freed(app: web.Application) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        first, second = Address(*free.getsockname()), Address(*taken.getsockname())
        free.close()
        with pytest.raises(ListenError, match=f"cannot listen on {second}: Address already in use"):
            async with serve(app, [first, second]):
                pass
    with socket.socket() as again:
        again.bind(first)


async def test_a_host_that_is_not_here_is_named(app: web.Application) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on nowhere\.invalid:0: "):
        async with serve(app, [Address("nowhere.invalid", 0)]):
            pass
