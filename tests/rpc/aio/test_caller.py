"""Calls over one connection on a loop: replies, errors, batches, timeouts."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import msgspec
import pytest

from npipe import rpc
from npipe.rpc import aio
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


@pytest.mark.parametrize("entry", [("test_add",), ("test_add", [], {}), 5, None, "test_add"])
def test_an_entry_of_a_batch_is_a_pair(run: Run, entry: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises(TypeError, match=r"an entry of a batch is \(method, params\), not"):
                await client.batch([("test_add", [1]), entry])
            assert await client.call("test_add", 1) == 1

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


def test_progress(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            heard: list[int] = []
            assert await client.call("test_report", 3, on_progress=heard.append) == 3
            assert heard == [0, 1, 2]

    run(main())


def test_a_plain_function_calls_back_from_its_thread(run: Run) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with running() as here, await here.connect(api=api) as client:
            assert await client.call("test_callBackPlain", "test_add") == [42, 3, "1.0"]

    run(main())


def test_rpc_bug_09_replies_matched_by_id(run: Run) -> None:
    """Against a peer that answers out of order, twice, and to nothing."""

    async def main() -> None:
        class Peer(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport
                self.seen: list[Any] = []

            def data_received(self, data: bytes) -> None:
                self.seen += [json.loads(line)["id"] for line in data.splitlines()]
                if len(self.seen) == 2:
                    ids = [self.seen[1], 99, self.seen[1], "x", self.seen[0]]
                    for number in ids:
                        reply = {"jsonrpc": "2.0", "id": number, "result": number}
                        self.transport.write(json.dumps(reply).encode())

        class Server:
            def protocol(self) -> asyncio.Protocol:
                return Peer()

        async with await aio.connect(Server()) as client:
            assert await asyncio.gather(client.call("a"), client.call("b")) == [1, 2]

    run(main())
