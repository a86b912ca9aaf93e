"""JSON-RPC 2.0 over connections, for asyncio: the names of ``npipe.rpc``, awaitable.

::

    async with Server(api) as server:
        await server.serve("calculator")
        await server.serve_forever()

    async with connect("calculator") as client:
        await client.call("calc_add", 1, 2)
        async for item in await client.subscribe("calc", "ticks"):
            ...

``async def`` functions run on the loop, each call as a task. Plain functions run in threads and
never block the loop. Functions marked with ``@rpc.method(inline=True)`` run directly on the loop.
This package is the only part of ``npipe.rpc`` that imports asyncio.
"""

from __future__ import annotations

from npipe.rpc.aio.caller import Caller
from npipe.rpc.aio.client import Client, connect
from npipe.rpc.aio.endpoints import Endpoint
from npipe.rpc.aio.proxy import Proxy
from npipe.rpc.aio.server import Server
from npipe.rpc.aio.spread import Spread
from npipe.rpc.aio.subscription import ClientSubscription, ResilientSubscription

__all__ = [
    "Caller",
    "Client",
    "ClientSubscription",
    "Endpoint",
    "Proxy",
    "ResilientSubscription",
    "Server",
    "Spread",
    "connect",
]
