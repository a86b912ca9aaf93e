"""npipe.aio.start_server and create_server: the life of a server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket
import sys
import weakref

import pytest

import npipe.aio
from npipe import address as addresses

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="a Unix socket")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def ask(address: str, question: bytes = b"ping", **options: object) -> bytes:
    reader, writer = await npipe.aio.open_connection(address, **options)
    try:
        writer.write(question)
        return await reader.readexactly(len(question))
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_serves_clients_and_closes(address):
    async with await npipe.aio.start_server(echo, address) as server:
        assert server.is_serving()
        assert server.address == addresses.parse(address)
        assert server.get_loop() is asyncio.get_running_loop()
        assert await asyncio.gather(*(ask(address) for _ in range(20))) == [b"ping"] * 20
    assert not server.is_serving()
    assert server.sockets == ()
    server.close()
    await server.wait_closed()
    with pytest.raises(FileNotFoundError):
        await npipe.aio.open_connection(address)


async def test_has_what_asyncio_servers_have(address):
    public = {name for name in dir(asyncio.Server) if not name.startswith("_")}
    async with await npipe.aio.start_server(echo, address) as server:
        assert public <= set(dir(server))
        assert isinstance(server, asyncio.AbstractServer)


@posix_only
async def test_sockets_are_what_asyncio_gives(address):
    async with await npipe.aio.start_server(echo, address) as server:
        (listening,) = server.sockets
        assert isinstance(listening, asyncio.trsock.TransportSocket)
        assert listening.getsockname() == address


@posix_only
async def test_closing_removes_the_socket(address):
    async with await npipe.aio.start_server(echo, address):
        assert os.path.exists(address)
    assert not os.path.exists(address)


@posix_only
async def test_closing_leaves_a_file_that_is_not_ours(address):
    server = await npipe.aio.start_server(echo, address)
    os.unlink(address)
    async with await npipe.aio.start_server(echo, address) as successor:
        server.close()
        await server.wait_closed()
        assert os.path.exists(address)
        assert await ask(address) == b"ping"
        assert successor.is_serving()


@posix_only
async def test_b38_socket_is_never_wider_than_asked(address):
    for access, mode in (("owner", 0o600), ("group", 0o660), ("everyone", 0o666)):
        async with await npipe.aio.start_server(echo, address, access=access):
            assert os.stat(address).st_mode & 0o777 == mode


@posix_only
async def test_b38_live_server_is_never_taken_over(address):
    async with await npipe.aio.start_server(echo, address):
        with pytest.raises(OSError) as caught:
            await npipe.aio.start_server(echo, address)
        assert caught.value.errno == errno.EADDRINUSE
        assert await ask(address) == b"ping"


@posix_only
async def test_stale_socket_is_reclaimed(address):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    async with await npipe.aio.start_server(echo, address):
        assert await ask(address) == b"ping"


async def test_start_serving_later_serves_those_who_came_before(address):
    server = await npipe.aio.start_server(echo, address, start_serving=False)
    async with server:
        assert not server.is_serving()
        early = asyncio.ensure_future(ask(address))
        await asyncio.sleep(0)
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        assert await early == b"ping"
    with pytest.raises(RuntimeError):
        await server.start_serving()


async def test_server_that_never_served_closes(address):
    server = await npipe.aio.start_server(echo, address, start_serving=False)
    server.close()
    await server.wait_closed()


async def test_serve_forever_ends_when_cancelled_and_closes_the_clients(address):
    server = await npipe.aio.start_server(echo, address, start_serving=False)
    serving = asyncio.ensure_future(server.serve_forever())
    reader, writer = await npipe.aio.open_connection(address)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    with pytest.raises(RuntimeError):
        await server.serve_forever()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await reader.read() == b""
    writer.close()


async def test_serve_forever_ends_when_closed_and_lets_the_clients_live(address):
    server = await npipe.aio.start_server(echo, address)
    serving = asyncio.ensure_future(server.serve_forever())
    reader, writer = await npipe.aio.open_connection(address)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    server.close()
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"
    writer.close()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_wait_closed_waits_for_the_connections(address):
    server = await npipe.aio.start_server(echo, address)
    reader, writer = await npipe.aio.open_connection(address)
    writer.write(b"x")
    await reader.readexactly(1)
    server.close()
    waiting = asyncio.ensure_future(server.wait_closed())
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"
    assert not waiting.done()
    writer.close()
    await waiting


@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_clients_can_be_closed(address, how):
    server = await npipe.aio.start_server(echo, address)
    reader, writer = await npipe.aio.open_connection(address)
    writer.write(b"x")
    await reader.readexactly(1)
    server.close()
    getattr(server, how)()
    await server.wait_closed()
    assert await reader.read() == b""
    writer.close()


async def test_a_cancelled_server_leaves_nothing(address):
    async def serve() -> None:
        async with await npipe.aio.start_server(echo, address) as server:
            ready.set_result(None)
            await server.serve_forever()

    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve())
    await ready
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(FileNotFoundError):
        await npipe.aio.open_connection(address)


async def test_protocol_that_cannot_be_made_costs_one_client_only(address, reported):
    class Fickle(asyncio.Protocol):
        failing = True

        def __init__(self) -> None:
            if Fickle.failing:
                Fickle.failing = False
                raise RuntimeError("not today")

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(b"hello")
            transport.close()

    async with await npipe.aio.create_server(Fickle, address):
        reader, writer = await npipe.aio.open_connection(address)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await npipe.aio.open_connection(address)
        assert await reader.read() == b"hello"
        writer.close()
    assert [str(context["exception"]) for context in reported] == ["not today"]


async def test_b22_clients_that_come_and_go_leave_nothing_and_cost_no_real_client(address, flavour):
    clients = 50 if flavour.slow else 1000
    held: list[weakref.ref[asyncio.BaseProtocol]] = []

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            held.append(weakref.ref(self))
            transport.write(b"hello")

    class Leaver(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.abort()

    async def real_client() -> bytes:
        reader, writer = await npipe.aio.open_connection(address)
        try:
            return await reader.readexactly(5)
        finally:
            writer.close()

    async with await npipe.aio.create_server(Greeter, address) as server:
        burst = [
            npipe.aio.create_connection(Leaver, address) if each % 50 else real_client()
            for each in range(clients)
        ]
        results = await asyncio.gather(*burst)
        assert results[::50] == [b"hello"] * (clients // 50)
        server.close()
        async with asyncio.timeout(10):
            await server.wait_closed()
    gc.collect()
    assert not [ref for ref in held if ref() is not None]


@posix_only
async def test_b39_accept_errors_back_off_and_lose_no_client(address, reported):
    """With no descriptor left, accepting pauses; when there is one, the client is served."""
    resource = pytest.importorskip("resource")
    loop = asyncio.get_running_loop()
    accepted = loop.create_future()
    server = await npipe.aio.start_server(lambda r, w: accepted.set_result(w), address)
    async with server:
        client = socket.socket(socket.AF_UNIX)
        client.connect(address)  # in the backlog; the loop has not run since
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        turns = asyncio.ensure_future(count_turns(loop))
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
        try:
            await asyncio.sleep(0.2)
            assert not accepted.done()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        turns.cancel()
        async with asyncio.timeout(3):
            writer = await accepted
        writer.close()
        client.close()
    assert [context["exception"].errno for context in reported] == [errno.EMFILE]


async def count_turns(loop: asyncio.AbstractEventLoop) -> None:
    await asyncio.sleep(60)


@posix_only
async def test_server_closed_during_the_pause_stays_closed(address, reported):
    resource = pytest.importorskip("resource")
    server = await npipe.aio.start_server(echo, address)
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), limits[1]))
    try:
        await asyncio.sleep(0.02)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)
    client.close()
    assert len(reported) == 1
