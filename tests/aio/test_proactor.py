"""npipe.aio.proactor: what is particular to Windows pipes on the Proactor loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import npipe
import npipe.aio

if sys.platform != "win32":
    pytest.skip("Windows pipes", allow_module_level=True)

from asyncio import proactor_events, windows_utils

from npipe.address import parse
from npipe.aio.proactor import Pipe
from npipe.transport.windows import connect as windows_connect


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def test_private_parts_that_we_use_exist(address):
    """On a new Python version this is the test to look at first."""
    proactor_of_loop = asyncio.get_running_loop()._proactor
    assert callable(proactor_of_loop.accept_pipe)
    assert callable(proactor_of_loop.send)
    assert issubclass(Pipe, windows_utils.PipeHandle)
    async with await npipe.aio.start_server(keep, address):
        _, writer = await npipe.aio.open_connection(address)
        transport = writer.transport
        assert isinstance(transport, proactor_events._ProactorDuplexPipeTransport)
        assert {"_eof_written", "_write_fut", "_sock", "_closing"} <= vars(transport).keys()
        for method in ("_force_close", "_loop_reading", "_loop_writing"):
            assert callable(getattr(proactor_events._ProactorDuplexPipeTransport, method))
        writer.close()


async def test_message_pipe_can_be_half_closed(address):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()
        writer.write(b"you asked: " + question)
        writer.write_eof()
        writer.close()

    async with await npipe.aio.start_server(answer, address, message_mode=True):
        reader, writer = await npipe.aio.open_connection(address)
        assert writer.can_write_eof()
        writer.write(b"x" * 200_000)
        writer.write(b"what?")
        writer.write_eof()
        with pytest.raises(RuntimeError):
            writer.write(b"more")
        assert await reader.read() == b"you asked: " + b"x" * 200_000 + b"what?"
        writer.close()


async def test_b11_a_server_that_disconnects_is_a_broken_pipe(address):
    """Not an OSError of CPython's own making, EINVAL."""

    async def disconnect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.get_extra_info("pipe").reset()
        writer.close()

    async with await npipe.aio.start_server(disconnect, address):
        reader, writer = await npipe.aio.open_connection(address)
        writer.write(b"x")
        with pytest.raises(BrokenPipeError, match="the server has disconnected"):
            await reader.read()
        writer.close()


class Told:
    """The functions of the system, but for ``has_unread``, which Wine does not tell."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.answers: list[bool] = []

    def has_unread(self, handle: int) -> bool:
        return self.answers.pop(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)


async def test_a_client_is_disconnected_once_it_has_read_everything(address):
    served: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.put_nowait(writer)

    async with await npipe.aio.start_server(serve, address) as server:
        with npipe.connect(address) as client:
            writer = await served.get()
            pipe = writer.get_extra_info("pipe")
            pipe._api = told = Told(pipe._api)
            told.answers = [True, True, False]
            assert not await npipe.aio.disconnect(writer)
            assert await npipe.aio.disconnect(writer, 60)
            assert told.answers == []
            assert client.read(1) == b""
            writer.close()
            with contextlib.suppress(BrokenPipeError):
                await writer.wait_closed()
            server.close()


async def test_byte_pipe_cannot_be_half_closed(address):
    async with await npipe.aio.start_server(keep, address):
        _, writer = await npipe.aio.open_connection(address)
        assert not writer.can_write_eof()
        with pytest.raises(NotImplementedError):
            writer.write_eof()
        writer.close()


async def test_peer_has_a_sid_once_something_was_read(address):
    there: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

    async def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        there.set_result(writer)

    async with await npipe.aio.start_server(look, address):
        _, here = await npipe.aio.open_connection(address)
        here.write(b"x")
        writer = await there
        assert writer.get_extra_info("peer").sid.startswith(("S-1-5-", "S-1-12-"))
        here.close()
        writer.close()


async def test_messages_keep_their_boundaries(address):
    """Each write is one message, also those that wait to be written; one read gets at most one."""
    messages = [b"a" * size for size in (1, 50_000, 3, 65_536, 2, 60_000, 60_000, 5)]

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for message in messages:
            writer.write(message)  # most of them have to wait: nobody reads yet
        await reader.read(1)
        writer.close()

    async with await npipe.aio.start_server(send, address, message_mode=True, buffer_size=4096):
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread, windows_connect.connect(parse(address)) as client:
            for message in messages:
                assert await loop.run_in_executor(thread, client.read, 65536) == message
            client.write(b"x")


async def test_one_data_received_gets_at_most_one_message(address):
    got: list[bytes] = []
    ended = asyncio.Event()

    class Collect(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            got.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    async with await npipe.aio.create_server(Collect, address, message_mode=True):
        with windows_connect.connect(parse(address)) as client:
            for message in (b"one", b"two", b"three"):
                client.write(message)
        await asyncio.wait_for(ended.wait(), 30)
    assert got == [b"one", b"two", b"three"]


async def test_w10_a_big_write_goes_in_parts(address, monkeypatch):
    """The kernel copies what one call writes to memory that is never paged out."""
    sizes: list[int] = []
    proactor = asyncio.get_running_loop()._proactor
    send = proactor.send
    monkeypatch.setattr(
        proactor, "send", lambda pipe, data: sizes.append(len(data)) or send(pipe, data)
    )
    total = (3 << 20) + 17

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        assert data == bytes(total)
        done.set()
        writer.close()

    done = asyncio.Event()
    async with await npipe.aio.start_server(take, address):
        _, writer = await npipe.aio.open_connection(address)
        writer.write(bytes(total))
        assert writer.transport.get_write_buffer_size() > 1 << 20
        await writer.drain()
        writer.close()
        await asyncio.wait_for(done.wait(), 60)
    assert max(sizes) <= 1 << 20
    assert sum(sizes) >= total
