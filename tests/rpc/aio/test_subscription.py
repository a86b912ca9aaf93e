"""A client's subscription, as an asynchronous iterator."""

from __future__ import annotations

import asyncio

import pytest

from npipe import rpc
from npipe.errors import ClosedError
from npipe.rpc import GAP
from rpc.aio.test_client import lose
from rpc.aio_service import Run, entered, on_each_loop, running
from until import until

pytestmark = on_each_loop


@pytest.mark.parametrize("name", ["count", "plainCount"])
def test_a_subscription_that_ends(run: Run, name: str) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            ticks = await client.subscribe("test", name, 300)
            assert ticks.id.startswith("0x")
            assert [tick async for tick in ticks] == list(range(300))

    run(main())


def test_closing_a_subscription_ends_its_generator(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            async with await client.subscribe("test", "endless") as ticks:
                assert await anext(ticks) == 0
                await entered(here.service)
            await asyncio.wait_for(here.service.cancelled.wait(), 60)
            assert here.server.stats()["subscriptions"] == 0

    run(main())


def test_a_renewed_subscription_marks_the_gap(run: Run) -> None:
    async def main() -> None:
        async with (
            running() as here,
            await here.connect(reconnect=10) as client,
            await client.subscribe("test", "endless", renew=True) as ticks,
        ):
            assert await anext(ticks) == 0
            await lose(here, client)
            assert await anext(ticks) is GAP
            assert await anext(ticks) == 0

    run(main())


def test_a_subscription_that_nobody_reads_ends(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            ticks = await client.subscribe("test", "count", 100, queue_size=10)
            await until(lambda: ticks._queue._over)
            assert [await anext(ticks) for _ in range(10)] == list(range(10))
            with pytest.raises(rpc.RPCError, match="more than 10 items"):
                await anext(ticks)
            assert await client.call("test_add", 1) == 1

    run(main())


def test_a_closed_subscription_ends_its_iteration(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            ticks = await client.subscribe("test", "endless")
            assert await anext(ticks) == 0
            reader = asyncio.ensure_future(anext(ticks))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await ticks.close()
            with pytest.raises(ClosedError):
                await reader

    run(main())
