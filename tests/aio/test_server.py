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
from typing import Any

import pytest

import npipe.aio
from npipe import address as addresses
from npipe.aio.server import AcceptRetry

if sys.platform != "win32":
    import fcntl

    from npipe.transport.posix.lock_file import lock_path

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
@pytest.mark.parametrize(
    "wrong", [{"access": "all"}, {"backlog": -1}, {"buffer_size": -1}, {"buffer_size": "big"}]
)
async def test_wrong_options_are_refused(address, wrong):
    with pytest.raises(ValueError, match="give"):
        await npipe.aio.start_server(echo, address, **wrong)


@posix_only
async def test_a_name_that_is_being_taken_is_waited_for_without_blocking_the_loop(address):
    with open(lock_path(address), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starting = asyncio.ensure_future(npipe.aio.start_server(echo, address))
        for _ in range(100):  # a loop that is blocked would not come this far
            await asyncio.sleep(0)
        assert not starting.done()
    async with asyncio.timeout(60), await starting as server:
        assert server.is_serving()


@posix_only
async def test_a_name_that_is_never_given_free_is_told(address, monkeypatch):
    monkeypatch.setattr("npipe.transport.posix.files.LOCK_PATIENCE", 0.02)
    with open(lock_path(address), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another process has been taking this address"):
            await npipe.aio.start_server(echo, address)


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


async def test_leaving_the_block_by_an_exception_does_not_wait_for_clients(address):
    with pytest.raises(ZeroDivisionError):
        async with await npipe.aio.start_server(echo, address):
            reader, writer = await npipe.aio.open_connection(address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            raise ZeroDivisionError
    assert await reader.read() == b""
    writer.close()


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


async def test_b22_clients_that_come_and_go_leave_nothing_and_cost_no_real_client(address):
    clients = 1000
    waves = clients // 50 if sys.platform == "win32" else 1
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
        # A pipe that is busy is polled for: a thousand at once would ask nothing but Wine's server.
        for _ in range(waves):
            burst = [
                npipe.aio.create_connection(Leaver, address) if each % 50 else real_client()
                for each in range(clients // waves)
            ]
            results = await asyncio.gather(*burst)
            assert results[::50] == [b"hello"] * (clients // waves // 50)
        server.close()
        async with asyncio.timeout(60):
            await server.wait_closed()
    gc.collect()
    assert not [ref for ref in held if ref() is not None]


class Shortage:
    """No descriptor is left for a new socket, while the block lasts; counts what accept tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries = 0
        failed = AcceptRetry.failed

        def count(*arguments: Any) -> asyncio.TimerHandle:
            self.tries += 1
            return failed(*arguments)

        monkeypatch.setattr(AcceptRetry, "failed", count)

    def __enter__(self) -> Shortage:
        import resource

        self._limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as sock:
            lowest_free = sock.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, self._limits[1]))
        return self

    def __exit__(self, *exc: object) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, self._limits)


@posix_only
async def test_b39_accept_errors_back_off_and_lose_no_client(address, reported, monkeypatch):
    """While no descriptor is left, accepting pauses; when there is one, the client is served."""
    accepted = asyncio.get_running_loop().create_future()
    server = await npipe.aio.start_server(lambda r, w: accepted.set_result(w), address)
    async with server:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)  # in the backlog: the loop has not run since
            with Shortage(monkeypatch) as shortage:
                await asyncio.sleep(0.3)  # a real wait: how often it tries meanwhile
                assert not accepted.done()
            assert 2 <= shortage.tries <= 6  # after 0, 5, 15, 35, 75, 155 ms
            async with asyncio.timeout(3):
                writer = await accepted
            writer.close()
    assert [context["exception"].errno for context in reported] == [errno.EMFILE]


@posix_only
async def test_server_closed_during_the_pause_stays_closed(address, reported, monkeypatch):
    server = await npipe.aio.start_server(echo, address)
    with socket.socket(socket.AF_UNIX) as client, Shortage(monkeypatch) as shortage:
        client.connect(address)
        while not shortage.tries:
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
    assert await scheduled_soon() == []
    assert len(reported) == 1


async def scheduled_soon() -> list[asyncio.TimerHandle]:
    """The timers that the loop still has; empty where the loop does not show them."""
    timers = getattr(asyncio.get_running_loop(), "_scheduled", [])
    return [timer for timer in timers if not timer.cancelled()]


async def test_start_cancelled_at_any_turn_leaves_nothing(address):
    for turns in range(20):
        starting = asyncio.ensure_future(npipe.aio.start_server(echo, address))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            starting.result().close()
            break
        with pytest.raises(FileNotFoundError):
            await npipe.aio.open_connection(address)
    else:
        pytest.fail("it never started")


async def test_a_timeout_works_at_each_await_of_a_server(address):
    server = await npipe.aio.start_server(echo, address)
    _, writer = await npipe.aio.open_connection(address)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.wait_closed()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await server.serve_forever()
    assert not server.is_serving()
    writer.close()


async def test_closing_the_clients_ends_those_that_are_just_arriving(address):
    """Also a client whose transport the loop is about to make."""
    lost = asyncio.Event()

    class Protocol(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    server = await npipe.aio.create_server(Protocol, address)
    reader, writer = await npipe.aio.open_connection(address)
    while not server._connections:
        await asyncio.sleep(0)
    server.close()
    server.close_clients()
    async with asyncio.timeout(5):
        await server.wait_closed()
        assert await reader.read() == b""
    writer.close()
