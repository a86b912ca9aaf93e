"""1,000 connections at once with mixed load, on each runtime: no reply is lost or crossed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc import aio
from until import until

CONNECTIONS = 1000 if sys.platform != "win32" else 100  # Wine takes ten times as long
AT_ONCE = 100  # clients that connect at the same time; the backlog of a Unix socket is finite
LIMITS = rpc.Limits(connections=CONNECTIONS)


class Mixed:
    @rpc.method(inline=True)
    def quick(self, value: str) -> str:
        return value

    def plain(self, value: str) -> str:
        return value

    async def waits(self, value: str) -> str:
        await asyncio.sleep(0.001)  # the time that a call takes
        return value

    def large(self, value: str, size: int) -> str:
        return value * size

    def fail(self, value: str) -> None:
        raise rpc.RPCError("as asked", code=7, data=value)

    def back(self, context: rpc.Context, value: str) -> Any:
        return context.remote.call("home_own", value)

    @rpc.subscription
    def items(self, value: str, count: int) -> Iterator[str]:
        for number in range(count):
            yield f"{value}:{number}"


class Home:
    def __init__(self, number: int) -> None:
        self._number = number

    @rpc.method(inline=True)
    def own(self, value: str) -> str:
        return f"{self._number} got {value}"


@contextlib.asynccontextmanager
async def serving(runtime: str, address: str) -> AsyncIterator[rpc.Server | aio.Server]:
    api = rpc.API()
    api.register("mix", Mixed())
    if runtime == "threads":
        with rpc.Server(api, limits=LIMITS) as server:
            server.serve(address)
            yield server
    else:
        async with aio.Server(api, limits=LIMITS) as aio_server:
            await aio_server.serve(address)
            yield aio_server


async def work(client: aio.Client, number: int) -> None:
    """One client's load. Each value names its client, so that none can be taken for another's."""
    one, two, three = (f"{number}-{i}" for i in range(3))
    got = await asyncio.gather(
        client.call("mix_quick", one),
        client.call("mix_plain", two),
        client.call("mix_waits", three),
        client.call("mix_large", one, 1000),
        client.call("mix_back", two),
        client.batch([("mix_plain", [one]), ("mix_fail", [two]), ("mix_waits", [three])]),
    )
    assert got[:5] == [one, two, three, one * 1000, f"{number} got {two}"]
    first, error, third = got[5]
    assert (first, error.data, third) == (one, two, three)
    items = await client.subscribe("mix", "items", one, 3)
    assert [item async for item in items] == [f"{one}:{i}" for i in range(3)]


@pytest.mark.parametrize("runtime", ["threads", "asyncio"])
def test_1000_connections_with_mixed_load_lose_and_cross_nothing(
    runtime: str, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> None:
        door = asyncio.Semaphore(AT_ONCE)
        all_here = asyncio.Barrier(CONNECTIONS)

        async def one(number: int) -> None:
            api = rpc.API()
            api.register("home", Home(number))
            async with door:
                client = await aio.connect(address, api=api, timeout=60)
            async with client:
                await all_here.wait()  # all are connected before the first begins
                await work(client, number)

        async with serving(runtime, address) as server:
            async with asyncio.TaskGroup() as tasks:
                for number in range(CONNECTIONS):
                    tasks.create_task(one(number))
            stats = server.stats()
            assert stats["connections"]["total"] == CONNECTIONS
            assert stats["calls"] == CONNECTIONS * 9
            await until(lambda: not server.stats()["connections"]["open"])

    asyncio.run(main(), debug=False)  # which would log each step that takes 0.1 s
    assert caplog.text == ""
