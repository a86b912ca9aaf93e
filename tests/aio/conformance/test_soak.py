"""200 tasks that connect, exchange data, cancel and leave in every way, for NPIPE_SOAK seconds (2).

What must be equal before and after (tasks, threads, descriptors, handles, operations of the
loop) is compared by ``conftest.py``, for this test as for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random

import pytest

import npipe.aio

SECONDS = float(os.environ.get("NPIPE_SOAK", "2"))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
        # Else the loop may report how the connection ended as an exception that nothing retrieved:
        # asyncio's protocol retrieves it in __del__, which a collector may call too late.
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class Client:
    """One task's behaviour: a random choice of what a client may do, again and again."""

    def __init__(self, address: str, seed: int) -> None:
        self.address = address
        self.random = random.Random(seed)
        self.answers = 0

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            await self.random.choice(
                [self.ask, self.ask, self.leave, self.give_up, self.be_cancelled, self.flood]
            )()

    @contextlib.asynccontextmanager
    async def connection(self):
        reader, writer = await npipe.aio.open_connection(self.address, verify_server="owner")
        try:
            yield reader, writer
        finally:
            if self.random.random() < 0.3:
                writer.transport.abort()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def ask(self) -> None:
        async with self.connection() as (reader, writer):
            question = self.random.randbytes(self.random.randrange(1, 5000))
            writer.write(question)
            await writer.drain()
            assert await reader.readexactly(len(question)) == question
            self.answers += 1

    async def leave(self) -> None:
        async with self.connection():
            pass

    async def give_up(self) -> None:
        async with self.connection() as (reader, _):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.random.random() / 100):
                    await reader.read(1)

    async def flood(self) -> None:
        """Write without reading until it stops, and leave with all of it unread."""
        async with self.connection() as (_, writer):
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(0.01):
                    while True:
                        writer.write(bytes(65536))
                        await writer.drain()
            writer.transport.abort()

    async def be_cancelled(self) -> None:
        task = asyncio.ensure_future(self.ask())
        for _ in range(self.random.randrange(10)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or not task.exception()


@pytest.mark.timeout(60 + 2 * SECONDS)
async def test_soak_leaves_nothing(address):
    until = asyncio.get_running_loop().time() + SECONDS
    clients = [Client(address, seed) for seed in range(200)]
    async with await npipe.aio.start_server(echo, address) as server:
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.run(until))
        assert await probe(address) == b"still here"
        server.close()
        server.close_clients()
    print(f"{sum(client.answers for client in clients)} answers")
    assert any(client.answers for client in clients)


async def probe(address: str) -> bytes:
    reader, writer = await npipe.aio.open_connection(address)
    writer.write(b"still here")
    try:
        return await reader.readexactly(10)
    finally:
        writer.close()
