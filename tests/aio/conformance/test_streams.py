"""The net.Conn cases (nettest's eleven, and ours) in asyncio's terms: streams and timeouts.

What a deadline is for a ``Connection``, ``asyncio.timeout`` is for a stream; what a close from
another thread is, a close or a cancellation from another task is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import sys
from collections.abc import AsyncIterator

import pytest

import npipe.aio

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MIB = 1 << 20
ROUNDS = 1000 if sys.platform != "win32" else 100  # each call of Wine's kernel is a round trip
STALL = 0.1  # seconds in which nothing goes, once the other end is full


@contextlib.asynccontextmanager
async def pair(address: str, **options: object) -> AsyncIterator[tuple[Stream, Stream]]:
    """Two ends of one connection: the client's, the server's."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
    server = await npipe.aio.start_server(
        lambda reader, writer: accepted.set_result((reader, writer)), address, **options
    )
    async with server:
        client = await npipe.aio.open_connection(address)
        ends = client, await accepted
        try:
            yield ends
        finally:
            for _, writer in ends:
                await shut(writer)


async def shut(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def fill(writer: asyncio.StreamWriter) -> None:
    """Write until nothing more goes: until one chunk alone is too long on its way."""
    with pytest.raises(TimeoutError):
        while True:
            writer.write(bytes(65536))
            async with asyncio.timeout(STALL):
                await writer.drain()


async def round_trip(one: Stream, other: Stream) -> None:
    for (_, writer), (reader, _) in ((one, other), (other, one)):
        writer.write(b"Hello, world!")
        await writer.drain()
        assert await reader.readexactly(13) == b"Hello, world!"


async def test_basic_io_close_loses_no_byte(address):
    data = random.Random(1).randbytes(MIB)
    async with pair(address) as ((_, writer), (reader, _)):

        async def send() -> None:
            for start in range(0, MIB, 1024):
                writer.write(data[start : start + 1024])
                await writer.drain()
            await shut(writer)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            received = await reader.read()
        assert received == data


async def test_ping_pong(address):
    async def side(stream: Stream, first: int) -> None:
        reader, writer = stream
        for value in range(first, ROUNDS, 2):
            assert int.from_bytes(await reader.readexactly(8), "little") == value
            writer.write((value + 1).to_bytes(8, "little"))
            await writer.drain()

    async with pair(address) as (client, server):
        client[1].write(bytes(8))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(side(server, 0))
            tasks.create_task(side(client, 1))


async def test_racy_read_timed_out_reads_lose_no_byte(address):
    data = random.Random(2).randbytes(MIB)
    async with pair(address) as ((reader, _), (_, writer)):

        async def send() -> None:
            for start in range(0, MIB, 8192):
                writer.write(data[start : start + 8192])
                await writer.drain()
                await asyncio.sleep(0)
            await shut(writer)

        received = bytearray()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            while not reader.at_eof():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.0001):
                        received += await reader.read(1024)
        assert received == data


async def test_racy_write_timed_out_drains_lose_no_byte(address):
    data = random.Random(3).randbytes(MIB)
    async with pair(address) as ((_, writer), (reader, _)):

        async def send() -> None:
            for start in range(0, MIB, 1024):
                writer.write(data[start : start + 1024])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.0001):
                        await writer.drain()
            await shut(writer)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            assert await reader.read() == data


async def test_read_timeout(address):
    async with pair(address) as (client, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await client[0].read(1)
        await round_trip(client, server)


async def test_write_timeout(address):
    async with pair(address) as ((_, writer), (reader, _)):
        await fill(writer)
        writer.write(b"last")
        await shut_while_reading(writer, reader, b"last")


async def shut_while_reading(
    writer: asyncio.StreamWriter, reader: asyncio.StreamReader, end: bytes
) -> None:
    """Close with a full buffer; the other end still gets every byte."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(shut(writer))
        assert (await reader.read()).endswith(end)


async def test_past_timeout(address):
    past = asyncio.get_running_loop().time() - 1
    async with pair(address) as (client, _):
        await fill(client[1])
        for call in (client[0].read(1), client[1].drain()):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout_at(past):
                    await call
        client[1].transport.abort()


async def test_present_timeout_wakes_a_read_in_flight(address):
    async with pair(address) as (client, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                asyncio.get_running_loop().call_later(0.01, limit.reschedule, 0)
                await client[0].read(1)
        await round_trip(client, server)


async def test_extending_a_timeout_lets_a_read_go_on(address):
    loop = asyncio.get_running_loop()
    async with pair(address) as ((reader, _), (_, writer)), asyncio.timeout(0.02) as limit:
        limit.reschedule(None)
        loop.call_later(0.04, writer.write, b"late")
        assert await reader.read(4) == b"late"


async def test_close_wakes_a_read_in_flight(address):
    async with pair(address) as ((reader, writer), _):
        read = asyncio.ensure_future(reader.read(1))
        await asyncio.sleep(0)
        writer.close()
        assert await read == b""


async def test_abort_wakes_a_drain_in_flight(address):
    async with pair(address) as ((_, writer), _):
        await fill(writer)
        drain = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):  # 3.11 wakes it with None
            await drain


async def test_concurrent_methods(address):
    async with pair(address) as (client, server):

        async def poke() -> None:
            _, writer = client
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    writer.write(b"x")
                    await writer.drain()
            writer.get_extra_info("peername")
            writer.get_extra_info("sockname")
            writer.get_extra_info("peer")

        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(poke())
        assert await server[0].readexactly(100) == b"x" * 100
        await round_trip(client, server)


async def test_double_close(address):
    async with pair(address) as ((_, writer), _):
        await shut(writer)
        await shut(writer)
        assert writer.is_closing()


async def test_eof_with_unread_data(address):
    async with pair(address) as ((_, writer), (reader, _)):
        writer.write(b"x" * 1000)
        await shut(writer)
        assert await reader.readexactly(1000) == b"x" * 1000
        assert await reader.read() == b""


async def test_cancelled_read_loses_no_byte(address):
    async with pair(address) as ((reader, _), (_, writer)):
        read = asyncio.ensure_future(reader.read(100))
        await asyncio.sleep(0)
        writer.write(b"kept")
        read.cancel()
        await asyncio.wait([read])
        assert await reader.readexactly(4) == b"kept"


async def test_peer_gone_is_eof_for_the_reader_and_an_error_for_the_writer(address):
    async with pair(address) as ((reader, writer), (_, other)):
        await shut(other)
        assert await reader.read() == b""
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            async with asyncio.timeout(5):
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0)


async def test_half_close(address):
    async with pair(address) as ((reader, writer), (other_reader, other_writer)):
        if not writer.can_write_eof():
            assert sys.platform == "win32"
            pytest.skip("a pipe of the byte type has no half-close")
        writer.write(b"question")
        writer.write_eof()
        assert await other_reader.read() == b"question"
        other_writer.write(b"answer")
        await shut(other_writer)
        assert await reader.read() == b"answer"


@pytest.mark.timeout(180)
async def test_64_mib_both_ways_at_once(address):
    size = 64 if sys.platform != "win32" else 8
    chunk = random.Random(4).randbytes(MIB)
    whole = hashlib.sha256(chunk * size).digest()

    async def send(writer: asyncio.StreamWriter) -> None:
        for _ in range(size):
            writer.write(chunk)
            await writer.drain()

    async def receive(reader: asyncio.StreamReader) -> bytes:
        digest = hashlib.sha256()
        left = size * MIB
        while left:
            data = await reader.read(left)
            assert data
            left -= len(data)
            digest.update(data)
        return digest.digest()

    async with pair(address) as (client, server):
        async with asyncio.TaskGroup() as tasks:
            results = [tasks.create_task(receive(reader)) for reader, _ in (client, server)]
            for _, writer in (client, server):
                tasks.create_task(send(writer))
        assert [task.result() for task in results] == [whole, whole]
