"""npipe.rpc.aio.workers: what connections that end in the midst of plain calls leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest

import npipe.aio
from npipe import rpc
from npipe.rpc import aio
from npipe.rpc.aio.workers import MAX_THREADS
from rpc.conformance.test_aio_limits import reply, request
from until import until

SIZE = 1_000_000  # of a reply: far more than a pipe and a queue hold


class Service:
    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.again = threading.Event()

    @rpc.method(inline=False)
    def block(self) -> int:
        self.entered.release()
        assert self.gate.wait(60)
        return 1

    @rpc.method(inline=False)
    def block_again(self) -> int:
        self.entered.release()
        assert self.again.wait(60)
        return 2

    def quick(self) -> int:
        return 3

    @rpc.method(inline=False)
    def big(self) -> str:
        return "x" * SIZE

    @rpc.method(concurrency=1)
    def gated(self) -> int:
        return 4


@contextlib.asynccontextmanager
async def serving(service: Service, address: str) -> AsyncIterator[aio.Server]:
    api = rpc.API()
    api.register("test", service)
    async with aio.Server(api) as server:
        await server.serve(address)
        yield server


async def until_only(server: aio.Server, *, open: int) -> None:
    await until(lambda: not server.stats()["connections"]["open"] > open)


async def entered(service: Service) -> None:
    assert await asyncio.to_thread(service.entered.acquire, timeout=60)


def test_threads_of_connections_that_are_gone_are_not_counted_for_ever(address: str) -> None:
    service = Service()

    async def main() -> None:
        async with serving(service, address) as server:
            writers = []
            for _ in range(MAX_THREADS):  # as many as there may be before a second for anyone
                _, writer = await npipe.aio.open_connection(address)
                writers.append(writer)
                writer.write(request("test_block"))
                await entered(service)
            for writer in writers:
                writer.close()
            await until_only(server, open=0)
            service.gate.set()
            reader, writer = await npipe.aio.open_connection(address)
            writer.write(request("test_blockAgain") + request("test_quick", number=2))
            await entered(service)
            assert (await reply(reader))["id"] == 2  # in a second thread, for the first one blocks
            service.again.set()
            assert (await reply(reader))["id"] == 1
            writer.close()

    asyncio.run(main())


def test_a_call_that_had_not_begun_leaves_its_methods_gate(address: str) -> None:
    service = Service()

    async def main() -> None:
        async with serving(service, address) as server:
            _, writer = await npipe.aio.open_connection(address)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            calls = b"".join(request("test_big", number=number) for number in range(5))
            writer.write(request("test_block") + calls + request("test_gated", number=99))
            async with asyncio.timeout(60):
                while server.stats()["calls"] < 7:  # all are taken, and wait for the first
                    await asyncio.sleep(0.001)
                service.gate.set()
                while server.stats()["bytes_out"] < SIZE:  # and now for who does not read
                    await asyncio.sleep(0.001)
            writer.transport.abort()
            await until_only(server, open=0)
            reader, writer = await npipe.aio.open_connection(address)
            writer.write(request("test_gated"))
            assert (await reply(reader))["result"] == 4
            writer.close()

    asyncio.run(main())


def test_without_a_thread_a_call_fails_and_the_next_one_tries_again(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with serving(Service(), address), aio.connect(address) as client:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", refuse)
                with pytest.raises(rpc.RPCError) as caught:
                    await client.call("test_quick", timeout=60)
            assert caught.value.code == -32603
            assert await client.call("test_quick", timeout=60) == 3

    asyncio.run(main())
