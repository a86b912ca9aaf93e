"""npipe.rpc.aio: server and client on an event loop, end to end over a real pipe."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import ClosedError
from npipe.rpc import aio
from rpc.aio_service import Run, Service, entered, on_each_loop, running
from rpc.conformance.test_aio_limits import request

pytestmark = on_each_loop

MANY = 100 if sys.platform == "win32" else 1000  # in debug mode each call costs file look-ups


def test_the_server_calls_back(run: Run) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with running() as here, await here.connect(api=api) as client:
            assert await client.call("test_callBack", "test_add") == 42

    run(main())


def test_a_lost_connection_cancels_its_calls_and_subscriptions(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            client = await here.connect()
            await client.subscribe("test", "endless")
            await entered(here.service)
            call = asyncio.create_task(client.call("test_wait", 1))
            await entered(here.service)
            await client.close()
            with pytest.raises(ClosedError):
                await call
            with pytest.raises(ClosedError):
                await client.call("test_add", 1)
            await asyncio.wait_for(here.service.cancelled.wait(), 60)

    run(main())


def test_a_stopped_server_ends_calls_in_connection_lost(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            call = asyncio.create_task(client.call("test_wait", 1))
            ticks = await client.subscribe("test", "endless")
            await entered(here.service, 2)
            await here.server.stop()
            with pytest.raises(rpc.ConnectionLost) as lost:
                await call
            assert lost.value.maybe_executed
            with pytest.raises(rpc.ConnectionLost):
                [tick async for tick in ticks]
            with pytest.raises(ClosedError):
                await here.server.serve(here.address)

    run(main())


def test_a_graceful_stop_can_free_the_name_and_loses_nothing(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            with await asyncio.to_thread(npipe.connect, here.address, wait=True) as client:
                client.write(request("test_wait", 3))
                await entered(here.service)
                stopping = asyncio.create_task(here.server.stop(drain=60, disconnect=True))
                await asyncio.sleep(0)  # stop() runs up to its wait for the call
                here.service.async_gate.set()
                reply = json.loads(await asyncio.to_thread(client.read, 1000))
                assert reply["result"] == 3
                await stopping
                async with aio.Server(rpc.API()) as other:  # the client keeps its handle
                    await other.serve(here.address)
                    assert await asyncio.to_thread(client.read, 1) == b""

    run(main())


@pytest.mark.parametrize(
    "drain", ["5", True, -1, math.nan, math.inf, pytest.param(10**400, id="huge")]
)
def test_a_wrong_drain_stops_nothing(run: Run, drain: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises((TypeError, ValueError), match="drain"):
                await here.server.stop(drain=drain)
            assert await client.call("test_add", 1) == 1

    run(main())


def test_stop_drains(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            call = asyncio.create_task(client.call("test_wait", 7))
            await entered(here.service)
            stopping = asyncio.create_task(here.server.stop(drain=20))
            await asyncio.sleep(0)
            assert here.server.addresses == []
            here.service.async_gate.set()
            assert await call == 7
            await stopping

    run(main())
