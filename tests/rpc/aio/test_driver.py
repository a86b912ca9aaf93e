"""The protocol of a connection on a loop: garbage, half-closed streams, what comes in one read."""

from __future__ import annotations

import asyncio
import json

import pytest

from npipe import rpc
from npipe.rpc import aio
from rpc.aio_service import Run, Service, entered, on_each_loop, running
from rpc.conformance.test_aio_limits import ended, reply, request

pytestmark = on_each_loop


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


def test_what_is_read_may_come_in_a_bytearray(run: Run) -> None:
    # As asyncio's proactor brings it: the compiled session took bytes only, and no call was served.
    async def main() -> None:
        async with running() as here:
            reader, writer = await here.raw()
            writer.write(request("test_add", 1))
            assert (await reply(reader))["result"] == 1
            (driver,) = here.server._drivers
            driver.data_received(bytearray(request("test_add", 2)))
            assert (await reply(reader))["result"] == 2
            writer.close()

    run(main())


class Recorder(asyncio.Transport):
    """Keeps what is written, one item for each write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


@pytest.mark.parametrize("method", ["test_add", "test_report"])
@pytest.mark.parametrize("calls", [1, 3])
def test_the_calls_of_one_read_are_answered_by_one_write(run: Run, method: str, calls: int) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with aio.Server(api) as server:
            transport, driver = Recorder(), server.protocol()
            driver.connection_made(transport)
            driver.data_received(request(method, 0) * calls)
            tasks = method == "test_report"
            for _ in range(tasks * min(calls, 2)):  # the turn of the tasks; one more combines them
                await asyncio.sleep(0)
            (written,) = transport.written
            assert written.count(b"result") == calls
            driver.connection_lost(None)

    run(main())


def test_rpc_bug_05_garbage_is_answered_and_the_connection_lives_on(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            reader, writer = await here.raw()
            writer.write(b"garbage\n" + request("test_add", 1, 2, number=7))
            assert (await reply(reader))["error"]["code"] == -32700
            assert (await reply(reader)) == {"jsonrpc": "2.0", "id": 7, "result": 3}
            writer.close()

    run(main())


def test_too_long_a_message_is_answered_and_closed(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(message_bytes=1000)) as here:
            reader, writer = await here.raw()
            writer.write(request("test_add", 1) + b'{"x":"' + b"y" * 2000)
            assert (await reply(reader))["result"] == 1
            assert (await reply(reader))["error"]["code"] == -32700
            assert await ended(reader) == b""
            writer.close()

    run(main())


@pytest.mark.parametrize("method", ["test_wait", "test_block"])
def test_a_half_closed_connection_gets_its_pending_replies(run: Run, method: str) -> None:
    async def main() -> None:
        # On Windows only a pipe of messages can be half-closed.
        async with running(message_mode=True) as here:
            reader, writer = await here.raw()
            writer.write(request(method, 5) + request("test_add", 1, 1, number=2)[:-1])
            writer.write_eof()
            await entered(here.service)
            assert (await reply(reader))["result"] == 2
            here.service.gate.set()
            here.service.async_gate.set()
            assert (await reply(reader))["result"] == 5
            assert await ended(reader) == b""
            writer.close()

    run(main())
