"""httpx and httpx2 over a pipe, against uvicorn's server and node's."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS, App, identity, node_http

LARGE = os.urandom(3_000_000)
Serve = Callable[..., Any]


class Library:
    """One of the two packages, and our file for it."""

    def __init__(self, name: str) -> None:
        self.httpx = pytest.importorskip(name)
        self.ours = importlib.import_module(f"npipe.integrations.{name}")

    def client(self, address: str, **options: Any) -> Any:
        transport = self.ours.Transport(address, wait=True, **options)
        return self.httpx.Client(transport=transport, base_url="http://shop", timeout=PATIENCE)

    def async_client(self, address: str, **options: Any) -> Any:
        transport = self.ours.AsyncTransport(address, wait=True, **options)
        return self.httpx.AsyncClient(transport=transport, base_url="http://shop", timeout=PATIENCE)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


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


def test_a_read_times_out(library: Library, address: str, app: App, serve: Serve) -> None:
    short = library.httpx.Timeout(PATIENCE, read=0.1)
    with serve(address), library.client(address) as client:
        with pytest.raises(library.httpx.ReadTimeout):
            client.get("/never", timeout=short)
        assert app.given_up.wait(PATIENCE)  # the connection was closed, and not used again
        assert client.get("/who").status_code == 200


def test_an_asyncio_read_times_out(library: Library, address: str, app: App, serve: Serve) -> None:
    async def main() -> None:
        async with library.async_client(address) as client:
            with pytest.raises(library.httpx.ReadTimeout):
                await client.get("/never", timeout=library.httpx.Timeout(PATIENCE, read=0.1))
            assert await asyncio.to_thread(app.given_up.wait, PATIENCE)
            assert (await client.get("/who")).status_code == 200

    with serve(address):
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


def test_websocket(address: str, serve: Serve, me: str) -> None:
    library = Library("httpx2")
    pytest.importorskip("websockets")

    async def main() -> None:
        async with (
            library.async_client(address) as client,
            client.websocket("ws://shop/") as socket,
        ):
            await socket.send_text("hello")
            assert await socket.receive_text() == f"{me} hello"

    with serve(address, ws="websockets-sansio"):
        asyncio.run(main())
        with library.client(address) as client, client.websocket("ws://shop/") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == f"{me} hello"


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
