"""The proxy of asyncio, between a client and a server of ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import npipe.aio
from npipe import rpc
from npipe.rpc import aio
from rpc.aio_service import Run, Running, entered, on_each_loop, running
from rpc.conformance.test_aio_limits import ended, reply, request
from until import until

pytestmark = on_each_loop


class Home:
    @rpc.method(inline=True)
    def add(self, a: int, b: int) -> int:
        return a + b


@contextlib.asynccontextmanager
async def between(**options: Any) -> AsyncIterator[tuple[Running, aio.Proxy, str]]:
    """A service, a proxy in front of it, and the proxy's address."""
    async with running(message_mode=True) as here, aio.Proxy(here.address, **options) as proxy:
        address = here.address + "-proxy"
        await proxy.serve(address, message_mode=True)
        yield here, proxy, address


def test_calls_errors_batches_and_subscriptions_pass(run: Run) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("home", Home())
        async with (
            between() as (here, _, address),
            await aio.connect(address, api=api, timeout=60) as client,
        ):
            assert await client.call("test_add", 40, 2) == 42
            assert await client.modules() == {"rpc": "1.0", "test": "1.0"}
            with pytest.raises(rpc.RPCError) as caught:
                await client.call("test_fail")
            assert (caught.value.code, caught.value.data) == (444, {"why": 1})
            one, error = await client.batch([("test_plain", [1]), ("nothing", [])])
            assert one == 1
            assert isinstance(error, rpc.MethodNotFound)
            assert [item async for item in await client.subscribe("test", "count", 3)] == [0, 1, 2]
            assert await client.call("test_callBack", "home_add") == 42
            seen: list[int] = []
            await client.call("test_report", 3, on_progress=seen.append)
            assert seen == [0, 1, 2]
            with pytest.raises(TimeoutError):
                await client.call("test_wait", 1, timeout=0.05)
            await asyncio.wait_for(here.service.cancelled.wait(), 60)

    run(main())


def test_many_clients_get_their_own_answers(run: Run) -> None:
    async def work(address: str, number: int) -> None:
        async with await aio.connect(address) as client:
            calls = (client.call("test_plain", [number, i]) for i in range(10))
            assert await asyncio.gather(*calls) == [[number, i] for i in range(10)]

    async def main() -> None:
        async with between() as (_, proxy, address):
            await asyncio.gather(*(work(address, number) for number in range(20)))
            await until(lambda: not proxy.stats()["connections"]["open"])

    run(main())


def test_a_half_closed_connection_gets_its_pending_replies(run: Run) -> None:
    async def main() -> None:
        async with between() as (here, proxy, address):
            reader, writer = await npipe.aio.open_connection(address)
            writer.write(request("test_wait", 5))
            writer.write_eof()
            await entered(here.service)
            await until(lambda: all(driver._at_end for driver in proxy._drivers))
            here.service.async_gate.set()
            assert (await reply(reader))["result"] == 5
            assert await ended(reader) == b""
            writer.close()

    run(main())


def test_the_end_of_one_side_is_the_other_s(run: Run) -> None:
    async def main() -> None:
        async with between() as (here, proxy, address):
            async with await aio.connect(address) as client:
                call = asyncio.create_task(client.call("test_wait", 1))
                await entered(here.service)
            with pytest.raises(OSError, match="closed"):
                await call
            await asyncio.wait_for(here.service.cancelled.wait(), 60)
            async with await aio.connect(address) as client:
                call = asyncio.create_task(client.call("test_wait", 1))
                await entered(here.service)
                await here.server.stop()
                with pytest.raises((rpc.ConnectionLost, rpc.RPCError)):
                    await call
            await until(lambda: not proxy.stats()["connections"]["open"])

    run(main())


def test_without_an_upstream_the_client_is_turned_away(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with between() as (here, _, address):
            await here.server.stop()
            reader, writer = await npipe.aio.open_connection(address)
            assert await ended(reader) == b""
            writer.close()
        assert "the upstream server cannot be reached" in caplog.text

    run(main())
