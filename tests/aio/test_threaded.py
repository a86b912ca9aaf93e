"""npipe.aio.threaded: a transport over the thread face, on any system and loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import npipe.aio
from npipe.aio.server import Server
from npipe.aio.threaded import ThreadAcceptor, ThreadTransport
from npipe.testing import memory_pair
from npipe.transport.base import Connection
from until import until


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def eof_received(self) -> bool:
        self.events.append("eof")
        self.changed.set()
        return True

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")
        self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def transport() -> tuple[ThreadTransport, Recorder, Connection]:
    ours, theirs = memory_pair()
    protocol = Recorder()
    return ThreadTransport(asyncio.get_running_loop(), ours, protocol), protocol, theirs


def test_bytes_go_both_ways_and_close_ends_both_ends() -> None:
    async def test() -> None:
        made, protocol, theirs = transport()
        theirs.write(b"question")
        await protocol.until(lambda: protocol.data == b"question")
        made.write(b"answer")
        made.write(b"")
        made.close()
        made.close()
        assert made.is_closing()
        assert await protocol.lost is None
        assert theirs.read() == b"answer"
        theirs.close()

    run(test)


def test_a_protocol_that_pauses_gets_nothing() -> None:
    async def test() -> None:
        made, protocol, theirs = transport()
        theirs.write(b"1")
        await protocol.until(lambda: protocol.data == b"1")
        made.pause_reading()
        assert not made.is_reading()
        theirs.write(b"2")  # a read that was under way may still get it
        await asyncio.sleep(0.02)  # a real wait, as is the next: the thread reads meanwhile
        theirs.write(b"3")
        await asyncio.sleep(0.02)
        assert b"3" not in protocol.data
        made.resume_reading()
        await protocol.until(lambda: protocol.data == b"123")
        made.abort()
        await protocol.lost
        theirs.close()

    run(test)


def test_a_slow_reader_pauses_the_protocol() -> None:
    async def test() -> None:
        made, protocol, theirs = transport()
        made.set_write_buffer_limits(high=100)
        assert made.get_write_buffer_limits() == (25, 100)
        for _ in range(64):
            made.write(bytes(65536))
        assert protocol.events == ["pause"]
        assert made.get_write_buffer_size() > 100
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(None, theirs.read)
        await protocol.until(lambda: "resume" in protocol.events)
        made.close()
        assert len(await reading) == 64 * 65536
        await protocol.lost
        theirs.close()

    run(test)


def test_half_close_and_the_end_of_the_other_side() -> None:
    async def test() -> None:
        made, protocol, theirs = transport()
        made.write(b"all")
        made.write_eof()
        made.write_eof()
        with pytest.raises(RuntimeError):
            made.write(b"x")
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, theirs.read) == b"all"
        theirs.close_write()
        await protocol.until(lambda: protocol.events == ["eof"])
        made.close()
        await protocol.lost
        theirs.close()

    run(test)


def test_a_write_to_the_gone_is_told_once() -> None:
    async def test() -> None:
        made, protocol, theirs = transport()
        theirs.close()
        made.write(b"x")
        assert isinstance(await protocol.lost, OSError | None)
        made.write(b"y")

    run(test)


def test_accepts_in_a_thread(address: Any) -> None:
    import npipe

    async def test() -> None:
        listener = npipe.listen(address)
        protocols: list[Recorder] = []

        def make() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        loop = asyncio.get_running_loop()
        server = Server(loop, listener.address, ThreadAcceptor(listener), make)
        await server.start_serving()
        client = await loop.run_in_executor(None, npipe.connect, address)
        client.write(b"x")
        client.close()
        await until(lambda: protocols)
        await protocols[0].until(lambda: protocols[0].data == b"x")
        server.close()
        server.close_clients()
        await server.wait_closed()

    run(test)


def test_disconnect_asks_the_connection_until_it_has_been_read() -> None:
    async def main() -> None:
        here, _, theirs = transport()
        asked: list[float] = []

        def disconnect(timeout: float = 0.0) -> bool:
            asked.append(timeout)
            return len(asked) > 2

        here.get_extra_info("pipe").disconnect = disconnect
        assert not await npipe.aio.disconnect(here)
        assert await npipe.aio.disconnect(here, 60)
        assert asked == [0.0, 0.0, 0.0]
        here.close()
        theirs.close()

    run(main)
