"""npipe.aio against other libraries' programs on the same kernel objects, both ways round."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator

import pytest

import npipe.aio
from peers.programs import PATIENCE, PROGRAMS, Program

LARGE = os.urandom(1 << 20)  # bytes; more than any buffer on the way


@pytest.fixture
def address() -> Iterator[str]:
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-test-{uuid.uuid4()}"
    else:
        with tempfile.TemporaryDirectory(prefix="np") as directory:
            yield os.path.join(directory, "s")


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    chosen: Program = request.param
    return chosen


async def exchange(address: str, data: bytes, half_close: bool) -> bytes:
    """Connect, send ``data`` while reading what comes back, and leave."""
    reader, writer = await npipe.aio.open_connection(address, wait=True, connect_timeout=PATIENCE)

    async def send() -> None:
        for start in range(0, len(data), 8192):  # a message that multiprocessing takes whole
            writer.write(data[start : start + 8192])
            await writer.drain()
        if half_close:
            writer.write_eof()

    try:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            return await (reader.read() if half_close else reader.readexactly(len(data)))
    finally:
        writer.close()
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_our_client_and_their_server(program: Program, address: str) -> None:
    async def ask() -> None:
        for data in (b"hello", LARGE, b"again"):
            assert await exchange(address, data, program.half_close) == data
        answers = await asyncio.gather(
            *(exchange(address, b"%d" % each, program.half_close) for each in range(5))
        )
        assert answers == [b"%d" % each for each in range(5)]

    with program.serving(address):
        asyncio.run(ask())


def test_our_server_and_their_client(program: Program, address: str) -> None:
    options = {"message_mode": True} if program.message_mode else {}

    async def serve() -> None:
        async with await npipe.aio.start_server(echo, address, **options):
            for data in (b"hello", LARGE, b"again"):
                assert await asyncio.to_thread(program.dial, address, data) == data

    asyncio.run(serve())


def test_their_death_ends_our_read(program: Program, address: str) -> None:
    async def watch() -> None:
        reader, writer = await npipe.aio.open_connection(
            address, wait=True, connect_timeout=PATIENCE
        )
        writer.write(b"alive")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readexactly(5) == b"alive"
            process.kill()
            assert await reader.read(1) == b""
        writer.close()
        await writer.wait_closed()

    with program.serving(address) as process:
        asyncio.run(watch())
