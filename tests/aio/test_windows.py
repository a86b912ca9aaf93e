"""Windows pipes on a loop: connecting, and the instances that wait for clients."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading

import pytest

import npipe.aio

if sys.platform != "win32":
    pytest.skip("Windows pipes", allow_module_level=True)


from npipe.address import parse
from npipe.aio.proactor import Pipe
from npipe.transport.windows import connect as windows_connect
from npipe.transport.windows.kernel32 import Kernel32, load


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
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


def test_one_way_pipes_on_a_selector_loop(address):
    async def talk() -> None:
        got = asyncio.get_running_loop().create_future()

        async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with pytest.raises(io.UnsupportedOperation):
                writer.write(b"no")
            got.set_result(await reader.read())
            writer.close()

        async with await npipe.aio.start_server(collect, address, mode="r"):
            reader, writer = await npipe.aio.open_connection(address, mode="w")
            assert await reader.read() == b""
            writer.write(b"x" * 200_000)
            writer.close()
            assert await got == b"x" * 200_000

    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(asyncio.wait_for(talk(), 60))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def test_the_end_that_only_reads_does_not_write(address):
    async with await npipe.aio.start_server(keep, address, mode="w"):
        _, writer = await npipe.aio.open_connection(address, mode="r")
        with pytest.raises(io.UnsupportedOperation):
            writer.write(b"x")
        writer.close()


async def test_b23_several_instances_wait_and_the_name_never_vanishes(address):
    async with await npipe.aio.start_server(keep, address, backlog=2, start_serving=False):
        writers = [(await npipe.aio.open_connection(address))[1] for _ in range(2)]
        with pytest.raises(TimeoutError):
            await npipe.aio.open_connection(address, connect_timeout=0.05)
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
        npipe.aio.open_connection(remote, connect_timeout=0.05 if end == "timeout" else None)
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
