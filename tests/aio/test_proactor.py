"""npipe.aio.proactor: what is particular to Windows pipes on the Proactor loop."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

import npipe.aio

if sys.platform != "win32":
    pytest.skip("Windows pipes", allow_module_level=True)

from asyncio import proactor_events, windows_utils

from npipe.aio.proactor import Pipe
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED


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


def test_a_selector_loop_is_refused_with_the_reason(address):
    loop = asyncio.SelectorEventLoop()
    try:
        for call in (npipe.aio.open_connection, lambda a: npipe.aio.start_server(keep, a)):
            with pytest.raises(NotImplementedError, match="only the Proactor loop can"):
                loop.run_until_complete(call(address))
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
async def test_b30_slow_computer_can_be_given_up(monkeypatch, end):
    """Opening a remote pipe blocks in the system: in a thread, which does not outlive the call."""
    opening, given_up = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def open_client(*_: object) -> tuple[int, int]:
        loop.call_soon_threadsafe(opening.set)
        assert given_up.wait(60)
        return ERROR_OPERATION_ABORTED, 0

    def cut_thread(thread: threading.Thread, _: object) -> None:
        given_up.set()
        thread.join()

    monkeypatch.setattr("npipe.transport.windows.handles.open_client", open_client)
    monkeypatch.setattr("npipe.aio.windows.cut_thread", cut_thread)
    remote = r"\\slow-computer\pipe\x"
    connecting = asyncio.ensure_future(
        npipe.aio.open_connection(remote, timeout=0.05 if end == "timeout" else None)
    )
    await opening.wait()
    if end == "cancel":
        connecting.cancel()
    with pytest.raises(TimeoutError if end == "timeout" else asyncio.CancelledError):
        await connecting


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
