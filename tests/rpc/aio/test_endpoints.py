"""The endpoints of the asyncio client other than addresses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio
from npipe.rpc.aio import endpoints
from until import until

LONG = 60.0


def calculator() -> rpc.API:
    api = rpc.API()
    api.register("calc", {"add": lambda a, b: a + b})
    return api


@asynccontextmanager
async def tcp(server: aio.Server) -> AsyncIterator[tuple[str, int]]:
    """Serve TCP on this machine."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(server.protocol, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()


def test_two_streams() -> None:
    async def main() -> None:
        async with aio.Server(calculator()) as server, tcp(server) as where:
            streams = await asyncio.open_connection(*where)
            async with aio.connect(streams) as client:
                assert await client.call("calc_add", 1, 2) == 3
            assert streams[1].is_closing()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_what_a_stream_has_read_already_is_taken_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"jsonrpc":"2.0","method":"home_tell","params":["early"]}\n')
        await reader.readline()
        writer.write(b'{"jsonrpc":"2.0","id":1,"result":3}\n')
        await reader.read()
        writer.close()

    async def main() -> None:
        home = rpc.API()
        got: asyncio.Queue[str] = asyncio.Queue()
        home.register("home", {"tell": got.put_nowait})
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            where = listening.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*where)
            await until(lambda: reader._buffer)  # type: ignore[attr-defined]
            async with aio.connect((reader, writer), api=home) as client:
                assert await got.get() == "early"
                assert await client.call("calc_add", 1, 2) == 3

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_streams_that_have_ended() -> None:
    async def main() -> None:
        async with aio.Server(calculator()) as server, tcp(server) as where:
            reader, writer = await asyncio.open_connection(*where)
            await server.stop()
            assert await reader.read() == b""
            client = await aio.connect((reader, writer))
            try:
                await client.call("calc_add", 1, 2, timeout=LONG)
            except rpc.ConnectionLost:
                pass
            else:
                raise AssertionError
            await client.close()

    asyncio.run(asyncio.wait_for(main(), LONG))


def test_a_server_of_threads(address: str) -> None:
    async def main() -> None:
        with rpc.Server(calculator()) as server:
            async with aio.connect(server) as client:
                assert await client.calc.add(1, 2) == 3
            server.serve(address)
            with npipe.connect(address) as connection:
                async with aio.connect(connection) as client:
                    assert await client.calc.add(3, 4) == 7

    asyncio.run(asyncio.wait_for(main(), LONG))


@pytest.mark.parametrize("is_started", [True, False])
def test_a_program_whose_start_is_cancelled_is_ended(
    monkeypatch: pytest.MonkeyPatch, is_started: bool
) -> None:
    """The cancellation comes before the program has started, or just before its result."""
    starting, go_on, closed = (threading.Event() for _ in range(3))

    class Program:
        def close(self) -> None:
            closed.set()

    def spawn(command: object) -> Program:
        starting.set()
        assert go_on.wait(LONG)
        return Program()

    async def main(pool: ThreadPoolExecutor) -> None:
        asyncio.get_running_loop().set_default_executor(pool)
        opening = asyncio.create_task(
            endpoints.open_endpoint(["program"], aio_driver, timeout=None)
        )
        await until(starting.is_set)
        if is_started:
            go_on.set()
            pool.submit(int).result(LONG)  # the program has started, and this loop was held up
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        go_on.set()
        await until(closed.is_set)

    monkeypatch.setattr(endpoints, "spawn", spawn)
    with ThreadPoolExecutor(1) as pool:
        asyncio.run(asyncio.wait_for(main(pool), LONG))


def aio_driver() -> Any:
    raise AssertionError("the program was not ended")


@pytest.mark.parametrize("endpoint", ["nats://127.0.0.1/shop", ["program"], "stdio:"])
def test_a_server_that_must_be_verified_is_reached_by_a_pipe_only(endpoint: aio.Endpoint) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="verify_server is for the address of a pipe only"):
            await aio.connect(endpoint, verify_server="owner", connect_timeout=1)

    asyncio.run(main())
