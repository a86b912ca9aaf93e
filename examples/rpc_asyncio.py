"""Serve and call a JSON-RPC API that has a subscription, with asyncio."""

import asyncio
import os
from collections.abc import AsyncIterator

from npipe.rpc import API, aio, subscription

ADDRESS = f"npipe-example-{os.getpid()}"


class Clock:
    """An API with the method clock_echo and the subscription clock_subscribe("ticks", count)."""

    async def echo(self, text: str) -> str:
        return text

    @subscription()
    async def ticks(self, count: int) -> AsyncIterator[int]:
        for tick in range(count):
            yield tick


async def main() -> None:
    api = API()
    api.register("clock", Clock())
    async with aio.Server(api) as server:
        await server.serve(ADDRESS)
        async with aio.connect(ADDRESS) as client:
            print(await asyncio.gather(*(client.call("clock_echo", word) for word in "abc")))
            ticks = await client.subscribe("clock", "ticks", 3)
            print([tick async for tick in ticks])


asyncio.run(main())
