"""npipe.aio.open_connection and create_connection: finding, waiting for, verifying a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

import pytest

import npipe
import npipe.aio


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
        await npipe.aio.open_connection(address, wait=True, connect_timeout=0.1)
    assert 0.09 < time.monotonic() - start < 5


async def test_waiting_for_a_server_finds_the_one_that_comes(address):
    waiting = asyncio.ensure_future(greeting(address, wait=True, connect_timeout=60))
    await asyncio.sleep(0)  # the first attempt
    async with await npipe.aio.start_server(greet, address):
        assert await waiting == b"hello\n"


async def test_b28_a_timeout_of_zero_tries_once(address):
    async with await npipe.aio.start_server(greet, address):
        assert await greeting(address, connect_timeout=0) == b"hello\n"


async def test_bad_address_is_a_value_error():
    for call in (
        npipe.aio.open_connection("x\0y"),
        npipe.aio.start_server(greet, "x\0y"),
    ):
        with pytest.raises(ValueError):
            await call


async def test_cancelled_while_waiting_leaves_nothing(address):
    waiting = asyncio.ensure_future(npipe.aio.open_connection(address, wait=True))
    await asyncio.sleep(0)  # the first attempt
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


async def test_a_protocol_of_a_pipe_that_only_writes_goes_on(address):
    lost = []

    class Writes(asyncio.Protocol):
        def connection_lost(self, exc):
            lost.append(exc)

    with npipe.listen(address, mode="r") as listener:
        transport, _ = await npipe.aio.create_connection(Writes, address, mode="w")
        with listener.accept(60) as server:
            transport.pause_reading()
            transport.resume_reading()
            for _ in range(10):
                await asyncio.sleep(0)
            transport.write(b"still there")
            assert await asyncio.to_thread(server.read, 99) == b"still there"
            assert not lost
        transport.close()
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_t19_a_timeout_is_a_number_of_seconds(address):
    for timeout in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="or None to wait for ever"):
            await npipe.aio.open_connection(address, wait=True, connect_timeout=timeout)
    for call in (npipe.aio.open_connection, lambda a, **o: npipe.aio.start_server(print, a, **o)):
        with pytest.raises(ValueError, match='"r", "w" or "rw"'):
            await call(address, mode="rb")


@pytest.mark.skipif("WINEPREFIX" in os.environ, reason="Wine does not tell what is unread")
async def test_disconnect_frees_the_name_and_takes_no_byte(address):
    served: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.put_nowait(writer)

    async with await npipe.aio.start_server(serve, address) as server:
        with npipe.connect(address) as client:
            writer = await served.get()
            writer.write(b"unread")
            assert not await npipe.aio.disconnect(writer)
            assert client.read(100) == b"unread"
            is_pipe = sys.platform == "win32"
            assert await npipe.aio.disconnect(writer.transport, 60) is is_pipe
            writer.close()
            assert not await npipe.aio.disconnect(writer, 60)  # closed
            server.close()
            with contextlib.suppress(BrokenPipeError):
                await writer.wait_closed()
            async with await npipe.aio.start_server(serve, address):  # the client keeps its handle
                assert client.read(1) == b""


async def test_a_client_has_nothing_to_disconnect(address):
    async with await npipe.aio.start_server(greet, address):
        reader, writer = await npipe.aio.open_connection(address)
        assert not await npipe.aio.disconnect(writer)
        assert await reader.readline() == b"hello\n"
        writer.close()
