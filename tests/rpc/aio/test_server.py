"""npipe.rpc.aio: server and client on an event loop, end to end over a real pipe."""

from __future__ import annotations

import asyncio
import json
import sys

import msgspec
import pytest

from npipe import rpc
from npipe.errors import ClosedError
from rpc.aio_service import Run, Service, entered, on_each_loop, running

pytestmark = on_each_loop

MANY = 100 if sys.platform == "win32" else 1000  # in debug mode each call costs file look-ups


def test_calls_of_every_kind(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            assert await client.call("test_add", 1, 2) == 3
            assert await client.call("test_add", named={"b": 2, "a": 5}) == 7
            assert await client.call("test_plain", {"a": [None, 1.5]}) == {"a": [None, 1.5]}
            assert await client.call("test_threadName") == "npipe-worker"
            raw = await client.call("test_plain", "1", result_type=msgspec.Raw)
            assert bytes(raw) == b'"1"'
            assert (await client.modules())["test"] == "1.0"
            await client.notify("test_plain", 1)
            here.service.async_gate.set()
            assert await client.call("test_wait", 9) == 9

    run(main())


def test_many_calls_in_flight_get_their_own_answers(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            for method in ("test_add", "test_plain", "test_wait"):
                here.service.async_gate.set()
                calls = [client.call(method, i) for i in range(MANY)]
                assert await asyncio.gather(*calls) == list(range(MANY))

    run(main())


def test_errors(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises(rpc.RPCError) as caught:
                await client.call("test_fail")
            assert (caught.value.code, caught.value.data) == (444, {"why": 1})
            with pytest.raises(rpc.InternalError) as crashed:
                await client.call("test_crash")
            assert "secret" not in str(crashed.value)
            with pytest.raises(rpc.MethodNotFound):
                await client.call("test_nothing")
            with pytest.raises(rpc.InvalidParams):
                await client.call("test_add", "x")
            assert await client.call("test_add", 1) == 1

    run(main())


def test_a_batch_keeps_its_order_and_its_errors(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            here.service.async_gate.set()
            entries = [("test_wait", [1]), ("test_nothing", []), ("test_plain", {"value": 3})]
            one, two, three = await client.batch([*entries, ("test_add", [1, 1])][:3])
            assert (one, three) == (1, 3)
            assert isinstance(two, rpc.MethodNotFound)
            assert await client.batch([]) == []

    run(main())


def test_a_slow_plain_function_holds_up_nothing(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            slow = [asyncio.create_task(client.call("test_block", i)) for i in range(5)]
            await entered(here.service, 5)
            assert await client.call("test_plain", 1) == 1  # on the same connection
            async with await here.connect() as other:
                assert await other.call("test_plain", 2) == 2
            here.service.gate.set()
            assert await asyncio.gather(*slow) == list(range(5))

    run(main())


def test_a_timeout_cancels_the_call_on_the_server(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises(TimeoutError, match="no answer within"):
                await client.call("test_wait", 1, timeout=0.02)
            await asyncio.wait_for(here.service.cancelled.wait(), 60)
            assert await client.call("test_add", 1) == 1  # not the late answer (rpc bug 9)

    run(main())


def test_cancelling_the_task_cancels_the_call_on_the_server(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            task = asyncio.create_task(client.call("test_wait", 1))
            await entered(here.service)
            task.cancel()
            await asyncio.wait_for(here.service.cancelled.wait(), 60)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_concurrency_is_kept_over_all_connections(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as one, await here.connect() as two:
            calls = [client.call("test_twoAtATime") for client in (one, two) for _ in range(20)]
            assert max(await asyncio.gather(*calls)) == 2

    run(main())


def test_the_server_calls_back(run: Run) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with running() as here, await here.connect(api=api) as client:
            assert await client.call("test_callBack", "test_add") == 42

    run(main())


def test_progress(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            heard: list[int] = []
            assert await client.call("test_report", 3, on_progress=heard.append) == 3
            assert heard == [0, 1, 2]

    run(main())


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


def test_a_call_and_its_cancelling_in_one_read_are_answered(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            reader, writer = await here.raw()
            writer.write(
                b'{"jsonrpc":"2.0","id":1,"method":"test_wait","params":[1]}\n'
                b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}\n'
            )
            reply = json.loads(await asyncio.wait_for(reader.readline(), 60))
            assert (reply["id"], reply["error"]["code"]) == (1, -32800)
            writer.close()

    run(main())
