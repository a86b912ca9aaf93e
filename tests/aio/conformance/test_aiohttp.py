"""aiohttp's client and server, which know nothing of npipe, over our transports."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import npipe.aio

aiohttp = pytest.importorskip("aiohttp")
from aiohttp import web  # noqa: E402

LARGE = os.urandom(1 << 20)


class PipeConnector(aiohttp.BaseConnector):
    """What aiohttp's own UnixConnector does, with our create_connection."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    async def _create_connection(self, *_: object) -> Any:
        _, protocol = await npipe.aio.create_connection(self._factory, self._address)
        return protocol


async def who(request: web.Request) -> web.Response:
    return web.json_response(
        {"pid": request.transport.get_extra_info("peer").pid, "remote": request.remote}
    )


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def count(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(100):
        await response.write(b"%d\n" % number)
    return response


async def itself(request: web.Request) -> web.FileResponse:
    return web.FileResponse(__file__)


async def talk(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data.upper())
    return socket


@contextlib.asynccontextmanager
async def site(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of an aiohttp application served at ``address``."""
    application = web.Application(client_max_size=4 << 20)
    application.router.add_get("/who", who)
    application.router.add_post("/echo", echo)
    application.router.add_get("/count", count)
    application.router.add_get("/talk", talk)
    application.router.add_get("/file", itself)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        async with await npipe.aio.create_server(runner.server, address) as server:
            connector = PipeConnector(address)
            async with aiohttp.ClientSession("http://pipe", connector=connector) as session:
                yield session
            server.close()
            await runner.cleanup()
    finally:
        await runner.cleanup()


async def test_requests(address):
    async with site(address) as session:
        async with session.get("/who") as response:
            assert await response.json() == {"pid": os.getpid(), "remote": address}
        async with session.get("/nowhere") as response:
            assert response.status == 404


async def test_large_bodies_both_ways(address):
    async with site(address) as session, session.post("/echo", data=LARGE) as response:
        assert await response.read() == LARGE


async def test_file(address):
    async with site(address) as session, session.get("/file") as response:
        assert await response.read() == await asyncio.to_thread(Path(__file__).read_bytes)
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_streamed_answer(address):
    async with site(address) as session, session.get("/count") as response:
        assert await response.text() == "".join(f"{number}\n" for number in range(100))


async def test_many_at_once(address):
    async with site(address) as session:

        async def one(number: int) -> bytes:
            async with session.post("/echo", data=str(number).encode()) as response:
                return await response.read()

        answers = await asyncio.gather(*(one(number) for number in range(50)))
        assert answers == [str(number).encode() for number in range(50)]


async def test_websocket(address):
    async with site(address) as session, session.ws_connect("/talk") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "HELLO"


async def test_cancelled_request(address):
    async with site(address) as session:
        request = asyncio.ensure_future(session.post("/echo", data=LARGE))
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])
        async with session.post("/echo", data=b"still here") as response:
            assert await response.read() == b"still here"
