"""npipe.aio.open_connection and create_connection: finding, waiting for, verifying a server."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
import uuid

import pytest

import npipe.aio
from npipe import address as addresses
from npipe.security import PeerIdentity

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="a Unix socket")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux has abstract sockets")


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\n")
    writer.close()


async def greeting(address: str, **options: object) -> bytes:
    reader, writer = await npipe.aio.open_connection(address, **options)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def test_b26_no_server_is_an_error_at_once(address):
    with pytest.raises(FileNotFoundError):
        await npipe.aio.open_connection(address)


@pytest.mark.parametrize(
    "wrong", [{"verify_server": "root"}, {"verify_server": 0}, {"impersonation": "everything"}]
)
async def test_wrong_options_are_refused_though_nobody_serves(address, wrong):
    with pytest.raises(ValueError, match="give"):
        await npipe.aio.open_connection(address, **wrong)
    with pytest.raises(ValueError, match="give"):
        npipe.connect(address, **wrong)


async def test_waiting_for_a_server_ends_at_the_deadline(address):
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await npipe.aio.open_connection(address, wait=True, timeout=0.1)
    assert 0.09 < time.monotonic() - start < 5


async def test_waiting_for_a_server_finds_the_one_that_comes(address):
    waiting = asyncio.ensure_future(greeting(address, wait=True, timeout=60))
    await asyncio.sleep(0.01)
    async with await npipe.aio.start_server(greet, address):
        assert await waiting == b"hello\n"


@posix_only
async def test_stale_socket_refuses(address):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
    with pytest.raises(ConnectionRefusedError):
        await npipe.aio.open_connection(address)


async def test_b28_a_timeout_of_zero_tries_once(address):
    async with await npipe.aio.start_server(greet, address):
        assert await greeting(address, timeout=0) == b"hello\n"


async def test_bad_address_is_a_value_error():
    for call in (
        npipe.aio.open_connection("x\0y"),
        npipe.aio.start_server(greet, "x\0y"),
    ):
        with pytest.raises(ValueError):
            await call


async def test_cancelled_while_waiting_leaves_nothing(address):
    waiting = asyncio.ensure_future(npipe.aio.open_connection(address, wait=True))
    await asyncio.sleep(0.005)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_asyncio_timeout_while_waiting(address):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await npipe.aio.open_connection(address, wait=True)


async def test_cancelled_at_any_turn_leaves_nothing(address):
    """Cancel a connect after 0, 1, 2 ... turns of the loop, until one is done before."""
    async with await npipe.aio.start_server(greet, address):
        for turns in range(50):
            connecting = asyncio.ensure_future(npipe.aio.open_connection(address))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():
                _, writer = connecting.result()
                writer.close()
                break
        else:
            pytest.fail("it never connected")


@posix_only
async def test_full_backlog_is_waited_for(address):
    """A connect that finds the backlog full gets its turn, not a socket that is not connected."""
    server = await npipe.aio.start_server(greet, address, backlog=1, start_serving=False)
    async with server:
        clients = [asyncio.ensure_future(greeting(address)) for _ in range(20)]
        await asyncio.sleep(0.01)
        await server.start_serving()
        assert await asyncio.gather(*clients) == [b"hello\n"] * 20


@posix_only
async def test_full_backlog_is_waited_for_until_the_deadline(address):
    server = await npipe.aio.start_server(greet, address, backlog=0, start_serving=False)
    async with server:
        clients = [asyncio.ensure_future(greeting(address, timeout=0.05)) for _ in range(20)]
        results = await asyncio.gather(*clients[5:], return_exceptions=True)
        assert {type(result) for result in results} == {TimeoutError}
        for client in clients[:5]:
            client.cancel()
        await asyncio.wait(clients[:5])


async def test_streams_know_their_peer_and_addresses(address):
    there: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await npipe.aio.start_server(lambda reader, writer: there.set_result(writer), address)
    async with server:
        _, here = await npipe.aio.open_connection(address)
        for writer in (here, await there):
            peer = writer.get_extra_info("peer")
            assert isinstance(peer, PeerIdentity)
            assert peer.pid == os.getpid()
            if sys.platform != "win32":
                assert peer.uid == os.getuid()
                assert writer.get_extra_info("socket").family == socket.AF_UNIX
            else:
                assert writer.get_extra_info("pipe").fileno() > 0
            assert writer.get_extra_info("peername") == addresses.parse(address)
            assert writer.get_extra_info("sockname") == addresses.parse(address)
            assert writer.get_extra_info("nonsense", "default") == "default"
            writer.close()


async def test_protocols_know_their_peer_when_the_connection_is_made(address):
    class Protocol(asyncio.Protocol):
        def __init__(self) -> None:
            self.lost = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.peer = transport.get_extra_info("peer")

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    made: list[Protocol] = []

    def factory() -> Protocol:
        made.append(Protocol())
        return made[-1]

    async with await npipe.aio.create_server(factory, address):
        transport, protocol = await npipe.aio.create_connection(factory, address)
        assert transport is protocol.transport
        assert transport.get_protocol() is protocol
        transport.close()
        await asyncio.gather(*(protocol.lost for protocol in made))
    assert [protocol.peer.pid for protocol in made] == [os.getpid()] * 2


async def test_buffered_protocols_work(address):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(100)
            self.received = asyncio.get_running_loop().create_future()

        def get_buffer(self, hint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, count: int) -> None:
            self.received.set_result(bytes(self.buffer[:count]))

    async with await npipe.aio.start_server(greet, address):
        transport, protocol = await npipe.aio.create_connection(Buffered, address)
        assert await protocol.received == b"hello\n"
        transport.close()


async def test_limit_bounds_a_line(address):
    async with await npipe.aio.start_server(greet, address):
        reader, writer = await npipe.aio.open_connection(address, limit=3)
        with pytest.raises(ValueError):
            await reader.readline()
        writer.close()


async def test_server_that_is_verified_is_used(address):
    async with await npipe.aio.start_server(greet, address):
        assert await greeting(address, verify_server="owner") == b"hello\n"
        assert await greeting(address, verify_server=lambda peer: True) == b"hello\n"


async def test_server_that_fails_verification_gets_no_byte(address):
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.read())
        writer.close()

    class Eager(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.write(b"secret")

    async with await npipe.aio.start_server(listen, address):
        with pytest.raises(PermissionError):
            await npipe.aio.create_connection(Eager, address, verify_server=lambda peer: False)
        _, writer = await npipe.aio.open_connection(address)
        writer.write(b"meant for it")
        writer.close()
        async with asyncio.timeout(5):
            arrived = [await received.get()]
            while arrived[-1] != b"meant for it":  # a pipe's server may not see who left again
                assert arrived.pop() == b""
                arrived.append(await received.get())


@pytest.fixture
def abstract() -> addresses.Address:
    return addresses.parse(f"@npipe-test-{uuid.uuid4()}", abstract=True)


@linux_only
async def test_abstract_socket(abstract):
    async with await npipe.aio.start_server(greet, abstract):
        assert await greeting(abstract) == b"hello\n"


@linux_only
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
@pytest.mark.parametrize(("access", "answer"), [("owner", b""), ("everyone", b"hello\n")])
async def test_abstract_socket_is_for_those_it_is_meant_for(abstract, access, answer):
    """It has no file whose mode could keep others out: another user's client is sent away."""
    made = 0

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal made
            made += 1
            transport.write(b"hello\n")
            transport.close()

    client = f"""
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("\\0{abstract.path}")
    sys.stdout.buffer.write(sock.recv(100))
"""
    async with await npipe.aio.create_server(Greeter, abstract, access=access):
        other = await asyncio.to_thread(
            subprocess.run, ["python3", "-Ic", client], user=65534, capture_output=True, check=True
        )
        await asyncio.get_running_loop().shutdown_default_executor()
        assert other.stdout == answer
        assert made == bool(answer)
        assert await greeting(abstract) == b"hello\n"


@pytest.mark.skipif(sys.platform == "win32", reason="one-way pipes are for threads there")
async def test_one_way_streams(address):
    async def serve(reader, writer):
        writer.write(b"news")
        assert await reader.read() == b""
        writer.close()

    async with await npipe.aio.start_server(serve, address, mode="w"):
        reader, writer = await npipe.aio.open_connection(address, mode="r")
        assert await reader.read() == b"news"
        writer.close()

    got = asyncio.get_running_loop().create_future()

    async def collect(reader, writer):
        got.set_result(await reader.read())
        writer.close()

    async with await npipe.aio.start_server(collect, address, mode="r"):
        reader, writer = await npipe.aio.open_connection(address, mode="w")
        assert await reader.read() == b""
        writer.write(b"log line")
        writer.close()
        assert await got == b"log line"


@pytest.mark.skipif(sys.platform == "win32", reason="one-way pipes are for threads there")
async def test_a_protocol_that_only_writes_is_not_closed_by_the_end_that_it_would_read(address):
    lost = []

    class Writes(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.append(exc)

    with npipe.listen(address) as listener:
        transport, _ = await npipe.aio.create_connection(Writes, address, mode="w")
        with listener.accept(60) as server:
            for _ in range(10):
                await asyncio.sleep(0)
            transport.write(b"still there")
            assert server.read(99) == b"still there"
            assert not lost
        transport.close()


async def test_t19_a_timeout_is_a_number_of_seconds(address):
    for timeout in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="or None to wait for ever"):
            await npipe.aio.open_connection(address, wait=True, timeout=timeout)
    for call in (npipe.aio.open_connection, lambda a, **o: npipe.aio.start_server(print, a, **o)):
        with pytest.raises(ValueError, match='"r", "w" or "rw"'):
            await call(address, mode="rb")
