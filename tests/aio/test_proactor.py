"""npipe.aio.proactor: what is particular to Windows pipes on the Proactor loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import npipe.aio

if sys.platform != "win32":
    pytest.skip("Windows pipes", allow_module_level=True)

from asyncio import proactor_events, windows_utils

from npipe.address import parse
from npipe.aio.proactor import Pipe
from npipe.transport.windows import connect as windows_connect
from npipe.transport.windows.kernel32 import Kernel32, load


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
        assert callable(proactor_events._ProactorDuplexPipeTransport._force_close)
        writer.close()


def test_a_selector_loop_is_served_by_threads(address):
    async def talk() -> bytes:
        async with await npipe.aio.start_server(keep, address):
            reader, writer = await npipe.aio.open_connection(address)
            writer.write(b"x" * 200_000)
            got = await reader.readexactly(200_000)
            assert writer.get_extra_info("peer").pid == os.getpid()
            writer.close()
            await writer.wait_closed()
            return got

    loop = asyncio.SelectorEventLoop()
    try:
        assert loop.run_until_complete(asyncio.wait_for(talk(), 60)) == b"x" * 200_000
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def test_b23_several_instances_wait_and_the_name_never_vanishes(address):
    async with await npipe.aio.start_server(keep, address, backlog=2, start_serving=False):
        writers = [(await npipe.aio.open_connection(address))[1] for _ in range(2)]
        with pytest.raises(TimeoutError):
            await npipe.aio.open_connection(address, timeout=0.05)
        for writer in writers:
            writer.close()


async def test_busy_pipe_is_waited_for(address):
    server = await npipe.aio.start_server(keep, address, start_serving=False)
    async with server:
        clients = [asyncio.ensure_future(npipe.aio.open_connection(address)) for _ in range(20)]
        await asyncio.sleep(0)
        await server.start_serving()
        for _, writer in await asyncio.gather(*clients):
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
        writer.get_extra_info("pipe").disconnect()
        writer.close()

    async with await npipe.aio.start_server(disconnect, address):
        reader, writer = await npipe.aio.open_connection(address)
        writer.write(b"x")
        with pytest.raises(BrokenPipeError, match="the server has disconnected"):
            await reader.read()
        writer.close()


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
        assert writer.get_extra_info("peer").sid.startswith("S-1-5-")
        here.close()
        writer.close()


@pytest.mark.parametrize("end", ["timeout", "cancel"])
async def test_b30_w13_slow_computer_can_be_given_up(monkeypatch, end):
    """Opening a remote pipe blocks in the system: in a thread, which is not waited for."""
    opening, answers, closed = asyncio.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    api = load()

    def open_client(*_: object) -> tuple[int, int]:
        loop.call_soon_threadsafe(opening.set)
        assert answers.wait(60)
        return api.CreateEvent()  # stands for the handle of the pipe

    def close(handle: int) -> int:
        code = Kernel32.CloseHandle(api, handle)
        closed.set()
        return code

    monkeypatch.setattr("npipe.transport.windows.connect.open_client", open_client)
    monkeypatch.setattr(api, "CloseHandle", close, raising=False)
    remote = r"\\slow-computer\pipe\x"
    connecting = asyncio.ensure_future(
        npipe.aio.open_connection(remote, timeout=0.05 if end == "timeout" else None)
    )
    await opening.wait()
    if end == "cancel":
        connecting.cancel()
    with pytest.raises(TimeoutError if end == "timeout" else asyncio.CancelledError):
        await connecting
    assert not closed.is_set()
    answers.set()
    assert closed.wait(60)


async def test_w06_a_client_that_wrote_and_left_before_it_was_listened_to_is_served(address):
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.set_result(await reader.read())
        writer.close()

    server = await npipe.aio.start_server(take, address, start_serving=False)
    async with server:
        with windows_connect.connect(parse(address)) as client:
            client.write(b"fire and forget")
        await server.start_serving()
        assert await asyncio.wait_for(got, 30) == b"fire and forget"


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


async def test_no_room_for_the_next_instance_keeps_the_client_waiting(address, reported):
    """The client that came is served as soon as there is room again, and the name stays."""
    server = await npipe.aio.start_server(keep, address, backlog=2)
    make = server._acceptor._make
    failures = iter([OSError("no room")] * 3)

    def fail_at_first() -> Pipe:
        for problem in failures:
            raise problem
        return make()

    server._acceptor._make = fail_at_first
    async with server:
        reader, writer = await npipe.aio.open_connection(address)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        writer.close()
    assert [str(context["exception"]) for context in reported] == ["no room"]
