"""``rpc.aio.Spread``: its groups of servers, on every loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest

from npipe import rpc
from npipe.rpc import aio
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import open_endpoint
from rpc.aio_service import Run, on_each_loop

pytestmark = on_each_loop


class Group:
    """Servers in this process, which a test takes away and brings back."""

    def __init__(self, names: Iterable[str]) -> None:
        self.servers: dict[str, aio.Server] = {}
        for name in names:
            api = rpc.API()
            api.register("shop", {"name": lambda name=name: name})
            self.servers[name] = aio.Server(api)
        self.there = set(self.servers)
        self.started = 0

    async def start(self) -> None:
        self.started += 1

    async def close(self) -> None:
        self.started -= 1
        for server in self.servers.values():
            await server.stop()

    def names(self) -> Iterable[str]:
        return sorted(self.there)

    async def open(self, name: str, make_driver: Callable[[], Driver]) -> Driver:
        if name not in self.servers:
            raise ConnectionRefusedError(f"{name} has left")
        return await open_endpoint(self.servers[name], make_driver, timeout=None)


async def names(client: aio.Client, calls: int = 6) -> set[str]:
    return set(await client.batch([("shop_name", [])] * calls))


def test_servers_of_a_group_come_and_go(run: Run) -> None:
    async def main() -> None:
        group = Group("abc")
        async with aio.Spread([group], stateless=True) as spread:
            await spread.start()
            async with await aio.connect(spread, timeout=60) as client:
                assert await names(client) == {"a", "b", "c"}
                group.there = {"b"}  # the others take no more calls, and answer what they have
                assert await names(client) == {"b"}
                group.there = {"b", "c"}
                assert await names(client) == {"b", "c"}
                await group.servers["b"].stop()
                await asyncio.sleep(0)
                group.there = {"c"}
                assert await names(client) == {"c"}
        assert group.started == 0

    run(main())


def test_a_bound_client_tries_the_next_server(run: Run) -> None:
    async def main() -> None:
        group = Group("b")
        group.there.add("a")  # is found, and cannot be reached
        async with aio.Spread([group]) as spread:
            clients = [await aio.connect(spread, timeout=60) for _ in range(3)]
            for client in clients:
                assert await client.call("shop_name") == "b"
                await client.close()

    run(main())


def test_a_server_that_must_be_verified_is_no_worker_behind_a_broker(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="verify_server is for the address of a pipe only"):
            aio.Spread(["nats://127.0.0.1/shop"], verify_server="owner")

    run(main())
