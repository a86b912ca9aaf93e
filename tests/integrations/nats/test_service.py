"""Being a worker: for the tools of NATS, and when it leaves."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from npipe import rpc
from npipe.rpc import aio
from peers.brokers import Broker


class Lab:
    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def wait(self) -> str:
        self.entered.set()
        await self.go.wait()
        return "done"


def test_what_is_under_way_is_answered_before_it_leaves(broker: Broker) -> None:
    async def main() -> None:
        lab, api = Lab(), rpc.API()
        api.register("lab", lab)
        server = aio.Server(api)
        await server.serve(broker.url(), stateless=True)
        async with aio.Spread([broker.url()]) as front:
            await front.start()
            async with await aio.connect(front, timeout=60) as client:
                call = asyncio.create_task(client.call("lab_wait"))
                await lab.entered.wait()
                stopping = asyncio.create_task(server.stop(drain=30))
                async with asyncio.timeout(30):
                    while list(front._groups[0].names()):
                        await asyncio.sleep(0.01)
                late = asyncio.create_task(client.call("lab_wait"))
                lab.go.set()
                assert await call == "done"
                try:
                    await late
                    raise AssertionError("nobody could have answered")
                except rpc.RPCError as error:
                    assert error.data == {"maybe_executed": False}
                await stopping

    asyncio.run(main())


def test_the_tools_of_nats_see_it(broker: Broker) -> None:
    import nats

    async def main() -> None:
        api = rpc.API()
        api.register("t", {"one": lambda: 1})
        async with aio.Server(api) as server:
            await server.serve(broker.url("a.b"))
            async with await aio.connect(broker.url("a.b"), timeout=60) as client:
                await client.call("t_one")
            tool = await nats.connect(broker.url().rpartition("/")[0])
            stats = json.loads((await tool.request("$SRV.STATS.a_b", b"")).data)
            assert stats["metadata"]["npipe"] == "1"
            (endpoint,) = stats["endpoints"]
            assert endpoint["data"]["methods"]["t_one"]["calls"] == 1
            refused = await tool.request(endpoint["subject"], b"hello")
            assert "carries npipe connections" in str(refused.headers)
            await tool.close()

    asyncio.run(main())
