"""The network backends under httpx and httpx2, through both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS, Library, identity

LARGE = os.urandom(3_000_000)
Serve = Callable[..., Any]


def test_the_server_of_a_response(
    library: Library, address: str, serve: Serve, both: tuple[str, str]
) -> None:
    def check(stream: Any) -> None:
        assert identity(stream.get_extra_info("peer")) == both[1]
        assert stream.get_extra_info("server_addr") == (address, 0)
        assert stream.get_extra_info("ssl_object") is None

    async def main() -> None:
        async with library.async_client(address) as client, client.stream("GET", "/who") as got:
            check(got.extensions["network_stream"])

    with serve(address), library.client(address) as client:
        with client.stream("GET", "/who") as response:
            check(response.extensions["network_stream"])
        asyncio.run(main())


def test_a_write_times_out(library: Library, address: str) -> None:
    short = library.httpx.Timeout(PATIENCE, write=0.1)

    async def main() -> None:
        async with library.async_client(address) as client:
            with pytest.raises(library.httpx.WriteTimeout):
                await client.post("/echo", content=LARGE, timeout=short)

    with npipe.listen(address), library.client(address) as client:  # nobody accepts or reads
        with pytest.raises(library.httpx.WriteTimeout):
            client.post("/echo", content=LARGE, timeout=short)
        asyncio.run(main())


def test_tls_is_refused(library: Library, address: str, serve: Serve) -> None:
    async def main() -> None:
        async with library.async_client(address) as client:
            with pytest.raises(library.httpx.UnsupportedProtocol, match="http://"):
                await client.get("https://shop/who")

    with serve(address), library.client(address) as client:
        with pytest.raises(library.httpx.UnsupportedProtocol, match="http://"):
            client.get("https://shop/who")
        asyncio.run(main())


def test_a_server_restarts_under_an_idle_pool(library: Library, address: str, serve: Serve) -> None:
    async def twice() -> None:
        async with library.async_client(address) as client:
            for _ in range(2):
                server = serve(address)
                await elsewhere(server.__enter__)
                assert (await client.get("/who")).status_code == 200
                await elsewhere(lambda server=server: server.__exit__(None, None, None))

    with library.client(address) as client:
        for _ in range(2):  # the second would fail on the connection of the first
            with serve(address):
                assert client.get("/who").status_code == 200
    asyncio.run(twice())


async def elsewhere(work: Callable[[], Any]) -> None:
    """Do ``work`` while the loop waits: where that can be, without the loop noticing anything."""
    if WINDOWS:  # there only the loop itself can find that a server has gone
        await asyncio.to_thread(work)
    else:
        work()
