"""aiohttp's client and server over a pipe, and aiodocker, which stands on the client."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

import npipe
from integrations.conftest import NODE, PATIENCE, WINDOWS, identity, node_http
from peers.require import run_node

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import web  # noqa: E402

from npipe.integrations.aiohttp import Connector, Site  # noqa: E402

LARGE = os.urandom(1_000_000)  # aiohttp warns above 1 MiB


async def who(request: web.Request) -> web.Response:
    peer = identity(request.transport.get_extra_info("peer"))
    return web.json_response({"peer": peer, "host": request.host})


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def never(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def upper(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


@contextlib.asynccontextmanager
async def serving(address: str, routes: list[Any] | None = None) -> AsyncIterator[None]:
    app = web.Application(client_max_size=1 << 24)
    app.add_routes(
        routes
        or [
            web.get("/who", who),
            web.post("/echo", echo),
            web.get("/never", never),
            web.get("/upper", upper),
        ]
    )
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = Site(address, runner)
    try:
        await site.start()
        assert site.name == f"npipe:{address}"
        yield
    finally:
        await runner.cleanup()


def session_of(address: str, **options: Any) -> Any:
    timeout = aiohttp.ClientTimeout(PATIENCE)
    connector = Connector(address, **options)
    return aiohttp.ClientSession("http://shop", connector=connector, timeout=timeout)


def test_requests(address: str, me: str) -> None:
    async def main() -> None:
        async with serving(address), session_of(address, limit=5) as session:
            async with session.get("/who") as response:
                assert await response.json() == {"peer": me, "host": "shop"}
            async with session.post("/echo", data=LARGE) as response:
                assert await response.read() == LARGE

            async def status() -> int:
                async with session.get("/who") as response:
                    return int(response.status)

            assert await asyncio.gather(*(status() for _ in range(30))) == [200] * 30
        npipe.listen(address).close()  # the name is free again

    asyncio.run(main())


def test_websocket(address: str) -> None:
    async def main() -> None:
        async with (
            serving(address),
            session_of(address) as session,
            session.ws_connect("/upper") as socket,
        ):
            await socket.send_str("hello")
            assert await socket.receive_str() == "HELLO"

    asyncio.run(main())


def test_timeouts(address: str) -> None:
    async def main() -> None:
        async with serving(address), session_of(address) as session:
            with pytest.raises(TimeoutError):
                await session.get("/never", timeout=aiohttp.ClientTimeout(total=0.1))
            async with session.get("/who") as response:
                assert response.status == 200
        short = aiohttp.ClientTimeout(sock_connect=0.05)
        async with session_of(address, wait=True) as session:
            with pytest.raises(aiohttp.ConnectionTimeoutError):
                await session.get("/who", timeout=short)

    asyncio.run(main())


def test_errors_are_the_library_s_and_name_ours(address: str) -> None:
    async def main() -> None:
        async with session_of(address) as session:
            with pytest.raises(aiohttp.ClientConnectorError, match="no server") as caught:
                await session.get("/who")
            assert isinstance(caught.value.__cause__, FileNotFoundError)
        async with aiohttp.ClientSession(connector=Connector(address)) as session:
            with pytest.raises(aiohttp.InvalidURL, match="http://"):
                await session.get("https://shop/")

    asyncio.run(main())


def test_a_name_that_is_taken(address: str) -> None:
    async def main() -> None:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        with npipe.listen(address):
            with pytest.raises(OSError):
                await Site(address, runner).start()
            assert not runner.sites
        await Site(address, runner).start()  # and it can be tried again
        await runner.cleanup()

    asyncio.run(main())


def test_node_s_server(address: str) -> None:
    async def main() -> None:
        async with session_of(address) as session, session.put("/x?y=1", data=LARGE) as response:
            assert await response.text() == f"PUT /x?y=1 {len(LARGE)}"
            assert response.headers["x-host"] == "shop"

    with node_http(address):
        asyncio.run(main())


def test_node_s_client(address: str) -> None:
    async def main() -> Any:
        async with serving(address):
            return await asyncio.to_thread(
                run_node, str(NODE / "http.cjs"), "request", address, "/echo"
            )

    assert asyncio.run(main()) == {"status": 200, "length": 200_000, "same": True}


def test_aiodocker_against_a_fake_engine(address: str) -> None:
    """For Windows, too, where no engine starts; the real one is in peers/test_podman.py."""
    aiodocker = pytest.importorskip("aiodocker")

    async def version(request: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.44", "Version": "0"})

    async def containers(request: web.Request) -> web.Response:
        return web.json_response([{"Id": "abc", "Names": ["/x"]}])

    routes = [
        web.get("/{prefix:(v[^/]*/)?}version", version),
        web.get("/{version}/containers/json", containers),
    ]

    async def main() -> None:
        url = "npipe://localhost" if WINDOWS else "unix://localhost"
        async with (
            serving(address, routes),
            Connector(address) as connector,  # which aiodocker leaves open
            aiodocker.Docker(url=url, connector=connector) as docker,
        ):
            assert (await docker.version())["ApiVersion"] == "1.44"
            assert [each.id for each in await docker.containers.list()] == ["abc"]

    asyncio.run(main())


def test_the_private_names_that_are_used_exist() -> None:
    assert asyncio.iscoroutinefunction(aiohttp.BaseConnector._create_connection)
    assert "_server" in web.BaseSite.__slots__
    assert "_runner" in web.BaseSite.__slots__

    async def factory() -> None:
        async with aiohttp.UnixConnector("x") if not WINDOWS else Connector("x") as connector:
            assert callable(connector._factory)

    asyncio.run(factory())
