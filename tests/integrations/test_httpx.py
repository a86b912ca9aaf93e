"""httpx and httpx2 over a pipe, against uvicorn's server and node's."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, App, Library, node_http

LARGE = os.urandom(3_000_000)
Serve = Callable[..., Any]


def test_requests(library: Library, address: str, serve: Serve, me: str) -> None:
    with serve(address), library.client(address) as client:
        response = client.get("/who")
        assert response.json() == {"peer": me, "host": "shop", "server": [address, None]}
        assert client.post("/echo", content=LARGE).content == LARGE
        with client.stream("GET", "/stream") as response:
            assert sum(map(len, response.iter_bytes())) == 500_000
        assert client.get("/nothing").status_code == 404


def test_asyncio_requests(library: Library, address: str, serve: Serve, me: str) -> None:
    async def main() -> None:
        async with library.async_client(address) as client:
            responses = await asyncio.gather(*(client.get("/who") for _ in range(30)))
            assert {response.json()["peer"] for response in responses} == {me}
            assert (await client.post("/echo", content=LARGE)).content == LARGE
            async with client.stream("GET", "/stream") as response:
                assert sum([len(part) async for part in response.aiter_bytes()]) == 500_000

    with serve(address):
        asyncio.run(main())


def test_a_read_times_out(library: Library, address: str, app: App, serve: Serve) -> None:
    short = library.httpx.Timeout(PATIENCE, read=0.1)
    with serve(address), library.client(address) as client:
        with pytest.raises(library.httpx.ReadTimeout):
            client.get("/never", timeout=short)
        assert app.given_up.wait(PATIENCE)  # the connection was closed, and not used again
        assert client.get("/who").status_code == 200


def test_a_request_that_waits_does_not_poll(
    library: Library, address: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> int:
        turns: list[object] = []
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def counted(*args: Any, **options: Any) -> asyncio.Handle:
            turns.append(args)
            return call_soon(*args, **options)

        async with library.async_client(address) as client:
            await client.get("/who")
            monkeypatch.setattr(loop, "call_soon", counted)
            with pytest.raises(library.httpx.ReadTimeout):
                await client.get("/never", timeout=library.httpx.Timeout(PATIENCE, read=0.3))
        return len(turns)

    with serve(address):
        assert asyncio.run(main()) < 100


def test_an_asyncio_read_times_out(library: Library, address: str, app: App, serve: Serve) -> None:
    async def main() -> None:
        async with library.async_client(address) as client:
            with pytest.raises(library.httpx.ReadTimeout):
                await client.get("/never", timeout=library.httpx.Timeout(PATIENCE, read=0.1))
            assert await asyncio.to_thread(app.given_up.wait, PATIENCE)
            assert (await client.get("/who")).status_code == 200

    with serve(address):
        asyncio.run(main())


def test_errors_are_the_library_s_and_name_ours(library: Library, address: str) -> None:
    async def main() -> None:
        transport = library.ours.AsyncTransport(address)
        async with library.httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(library.httpx.ConnectError):
                await client.get("http://shop/")
            with pytest.raises(library.httpx.ConnectTimeout):
                waiting = library.ours.AsyncTransport(address, wait=True)
                await library.httpx.AsyncClient(transport=waiting, timeout=0.05).get("http://shop")

    asyncio.run(main())
    transport = library.ours.Transport(address)
    with (
        library.httpx.Client(transport=transport) as client,
        pytest.raises(library.httpx.ConnectError) as caught,
    ):
        client.get("http://shop/")
    assert "no server" in str(caught.value)
    cause = caught.value.__cause__
    assert cause is not None
    # httpcore raises its own errors again "from None", which leaves the context.
    assert isinstance(cause.__context__, FileNotFoundError)
    with library.client(address) as client, pytest.raises(library.httpx.ConnectTimeout):
        client.get("/", timeout=0.05)


def test_a_peer_that_verify_server_refuses(library: Library, address: str, serve: Serve) -> None:
    def refuse(peer: npipe.PeerIdentity) -> bool:
        return False

    with (
        serve(address),
        library.client(address, verify_server=refuse) as client,
        pytest.raises(library.httpx.ConnectError),
    ):
        client.get("/who")


def test_a_server_that_hangs_up_in_a_response(library: Library, address: str) -> None:
    with npipe.listen(address) as listener, library.client(address) as client:

        def serve() -> None:
            with listener.accept(PATIENCE) as connection:
                connection.read(65536)
                connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(library.httpx.RemoteProtocolError):
            client.get("/")
        server.join()


def test_node_s_server(library: Library, address: str) -> None:
    async def main() -> str:
        async with library.async_client(address) as client:
            return (await client.put("/async", content=LARGE)).text

    with node_http(address), library.client(address) as client:
        response = client.post("/path?q=1", content=LARGE)
        assert response.text == f"POST /path?q=1 {len(LARGE)}"
        assert response.headers["x-host"] == "shop"
        assert asyncio.run(main()) == f"PUT /async {len(LARGE)}"


def test_the_private_name_that_is_used_exists(library: Library) -> None:
    """The transports set ``_pool`` without the library's ``__init__``: it must be all there is."""
    for base in (library.httpx.HTTPTransport, library.httpx.AsyncHTTPTransport):
        assert set(vars(base())) == {"_pool"}
