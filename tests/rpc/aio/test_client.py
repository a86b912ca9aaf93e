"""npipe.rpc.aio's client: what happens when the connection goes, and where it may lead."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

import npipe.aio
from npipe import rpc
from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc import aio
from rpc.aio_service import Run, Service, entered, on_each_loop, running
from until import until


async def lose(here: Any, client: aio.Client) -> None:
    """Cut the connection at the server, and wait until the client knows."""
    for link in tuple(here.server._drivers):
        link.abort("cut by the test")
    await asyncio.wait_for(client._driver.wait_closed(), 60)


@on_each_loop
def test_without_reconnect_a_lost_connection_stays_lost(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            await client.call("test_add", 1)
            await lose(here, client)
            with pytest.raises(ConnectionLost) as lost:
                await client.call("test_add", 1)
            assert not lost.value.maybe_executed
            assert isinstance((await client.batch([("test_add", [1])]))[0], ConnectionLost)
            with pytest.raises(ConnectionLost):
                await client.notify("test_add", 1)
            with pytest.raises(ConnectionLost):
                await client.subscribe("test", "endless")

    run(main())


@on_each_loop
def test_the_next_call_connects_again(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect(reconnect=10) as client:
            for _ in range(3):
                assert await asyncio.gather(*(client.call("test_add", i) for i in range(20)))
                await lose(here, client)
            assert await client.batch([("test_add", [1]), ("test_add", [2])]) == [1, 2]
            assert here.server.stats()["connections"]["total"] == 4

    run(main())


@on_each_loop
def test_a_call_that_may_have_run_is_sent_again_only_if_that_does_no_harm(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect(reconnect=10) as client:
            once = asyncio.create_task(client.call("test_wait", 1))
            again = asyncio.create_task(client.call("test_wait", 2, idempotent=True))
            await entered(here.service, 2)
            await lose(here, client)
            with pytest.raises(ConnectionLost) as lost:
                await once
            assert lost.value.maybe_executed
            await entered(here.service)
            here.service.async_gate.set()
            assert await again == 2

    run(main())


@on_each_loop
def test_the_server_is_waited_for_but_not_for_ever(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect(reconnect=0.05) as client:
            await here.server.stop()
            await asyncio.wait_for(client._driver.wait_closed(), 60)
            with pytest.raises(TimeoutError):
                await client.call("test_add", 1)
            api = rpc.API()
            api.register("test", Service())
            async with aio.Server(api) as second:
                await second.serve(here.address)
                assert await client.call("test_add", 1) == 1

    run(main())


@on_each_loop
def test_a_server_that_hangs_up_on_everybody_is_given_up(run: Run, address: str) -> None:
    async def main() -> None:
        dials = 0

        def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal dials
            dials += 1
            writer.close()

        async with await npipe.aio.start_server(hang_up, address):
            client = await aio.connect(address, reconnect=0.2)
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(client.call("x", idempotent=True), 60)
            await client.close()
            assert dials < 20

    run(main())


@on_each_loop
def test_a_server_in_this_process(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await aio.connect(here.server) as client:
            assert await client.call("test_add", 20, 22) == 42
            assert await client.call("test_plain", 1) == 1

    run(main())


@on_each_loop
def test_closing_does_not_wait_for_a_peer_that_does_not_read(run: Run) -> None:
    async def main() -> None:
        transports: list[Any] = []
        lost = asyncio.Event()

        class Deaf(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.pause_reading()
                transports.append(transport)

            def connection_lost(self, exc: Exception | None) -> None:
                lost.set()

        class Server:
            def protocol(self) -> asyncio.Protocol:
                return Deaf()

        client = await aio.connect(Server())
        call = asyncio.create_task(client.call("a", "x" * 5_000_000))
        await until(lambda: client._driver.crowded)
        async with asyncio.timeout(60):
            await client.close()
        with pytest.raises(ClosedError):
            await call
        transports[0].abort()
        await lost.wait()

    run(main())


CHILD = """
import asyncio, sys
sys.path[:0] = [p for p in {path!r} if p not in sys.path]
from npipe.rpc import API, aio
from rpc.aio_service import Service

async def main():
    service, api = Service(), API()
    service.async_gate.set()
    api.register("test", service)
    async with aio.Server(api) as server:
        await server.serve_stdio()

asyncio.run(main())
"""


def child() -> list[str]:
    return [sys.executable, "-c", CHILD.format(path=sys.path)]


@on_each_loop
def test_a_program_over_its_standard_input_and_output(run: Run) -> None:
    async def main() -> None:
        async with await aio.connect(child(), timeout=60) as client:
            assert await client.call("test_add", 40, 2) == 42
            assert await client.call("test_plain", "x" * 200_000) == "x" * 200_000
            assert [item async for item in await client.subscribe("test", "count", 3)] == [0, 1, 2]
            with pytest.raises(rpc.RPCError):
                await client.call("test_fail")

    run(main())


def test_the_end_of_standard_input_leaves_no_call_without_its_answer() -> None:
    calls = b"".join(
        b'{"jsonrpc":"2.0","id":%d,"method":"test_%b","params":[7]}\n' % (n, method)
        for n, method in enumerate((b"add", b"plain", b"wait"))
    )
    done = subprocess.run(child(), input=calls, capture_output=True, timeout=60, check=True)
    replies = sorted(done.stdout.splitlines())
    assert replies == [b'{"jsonrpc":"2.0","id":%d,"result":7}' % n for n in range(3)]


@on_each_loop
def test_a_program_that_cannot_be_started(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await aio.connect(["npipe-no-such-program"])

    run(main())
