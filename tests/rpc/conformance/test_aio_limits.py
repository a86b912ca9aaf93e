"""npipe.rpc.aio: what a peer cannot do to a server, and how connections end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import tracemalloc
from typing import Any

import pytest

from npipe import rpc
from rpc.aio_service import Run, Service, entered, on_each_loop, posix_only, running
from until import until

pytestmark = on_each_loop


def request(method: str, *params: Any, number: int = 1) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


async def reply(reader: asyncio.StreamReader) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(reader.readline(), 60))  # type: ignore[no-any-return]


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Read to the end, whichever way it comes."""
    read = bytearray()
    try:
        while data := await asyncio.wait_for(reader.read(65536), 60):
            read += data
    except ConnectionError:
        pass
    return bytes(read)


def test_rpc_bug_01_a_batch_of_null_kills_nothing(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            reader, writer = await here.raw()
            writer.write(b"[null]\n" + request("test_add", 1))
            assert (await reply(reader))[0]["error"]["code"] == -32600  # type: ignore[index]
            assert (await reply(reader))["result"] == 1
            writer.close()

    run(main())


@posix_only
def test_rpc_bug_02_300_megabytes_are_refused_within_the_limits_memory(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(message_bytes=1_000_000)) as here:
            _, writer = await here.raw()
            block = b"x" * 1_000_000
            tracemalloc.start()
            try:
                with pytest.raises(ConnectionError):
                    writer.write(b'{"x":"')
                    for _ in range(300):
                        writer.write(block)
                        await writer.drain()
                assert tracemalloc.get_traced_memory()[1] < 8_000_000
            finally:
                tracemalloc.stop()
            writer.close()

    run(main())


@posix_only
def test_50_clients_gone_in_mid_call_free_everything_at_once(run: Run) -> None:
    async def main() -> None:
        async with running() as here:
            async with await here.connect() as client:
                await client.modules()  # what a loop opens once and for all is open
            before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
            for _ in range(50):
                _, writer = await here.raw()
                writer.write(request("test_wait", 1))
                await entered(here.service)
                writer.close()
            await until(lambda: not here.server.stats()["connections"]["open"])
            assert here.service.cancelled.is_set()
            if before:
                assert len(os.listdir("/proc/self/fd")) <= before
            assert here.server.stats()["connections"] == {"open": 0, "total": 51}

    run(main())


def test_too_many_connections_are_refused(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(connections=1)) as here:
            async with await here.connect() as client:
                reader, writer = await here.raw()
                assert await ended(reader) == b""
                writer.close()
                assert await client.call("test_add", 1) == 1
            await until(lambda: not here.server.stats()["connections"]["open"])
            async with await here.connect() as client:
                assert await client.call("test_add", 1) == 1

    run(main())


@pytest.mark.parametrize("method", ["test_wait", "test_block"])
def test_calls_beyond_the_limit_wait_their_turn(run: Run, method: str) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(calls=3)) as here, await here.connect() as client:
            calls = [asyncio.create_task(client.call(method, i)) for i in range(20)]
            await entered(here.service, 3)
            async with await here.connect() as other:  # answered after what the server has read
                assert await other.call("test_add", 1) == 1
            assert not here.service.entered.acquire(blocking=False)
            here.service.gate.set()
            here.service.async_gate.set()
            assert await asyncio.gather(*calls) == list(range(20))

    run(main())


@pytest.mark.parametrize("method", ["test_callBack", "test_callBackPlain"])
def test_calls_back_are_answered_although_as_many_calls_run_as_may(run: Run, method: str) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with (
            running(limits=rpc.Limits(calls=2)) as here,
            await here.connect(api=api, timeout=60) as client,
        ):
            calls = (client.call(method, "test_add") for _ in range(50))
            assert len(await asyncio.gather(*calls)) == 50

    run(main())


SIZE = 1_000_000


@posix_only
@pytest.mark.parametrize("method", ["test_big", "test_plainBig", "test_asyncBig"])
def test_a_reader_that_sleeps_slows_its_own_calls_down_and_misses_nothing(
    run: Run, method: str
) -> None:
    async def main() -> None:
        async with running() as here:
            reader, writer = await here.raw()
            reader._limit = 2 * SIZE  # type: ignore[attr-defined]
            here.service.async_gate.set()
            for number in range(50):
                writer.write(request(method, SIZE, number=number))
            await until(lambda: here.server.stats()["calls"] != 0)
            await asyncio.sleep(0.05)  # a real wait: in which too much would be written
            assert here.server.stats()["bytes_out"] <= 50 * (SIZE + 100)
            if method == "test_big":  # nothing is begun that could not be written
                assert here.server.stats()["calls"] < 10
            ids = set()
            for _ in range(50):
                answer = await reply(reader)
                assert len(answer["result"]) == SIZE
                ids.add(answer["id"])
            assert ids == set(range(50))
            writer.close()

    run(main())


@posix_only
def test_a_reader_that_sleeps_too_long_is_dropped_and_never_sees_a_broken_stream(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(write_timeout=0.1)) as here:
            reader, writer = await here.raw()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            for number in range(20):
                writer.write(request("test_asyncBig", SIZE, number=number))
            await until(lambda: here.server.stats()["calls"] >= 20)
            here.service.async_gate.set()  # all replies at once
            await until(lambda: here.server.stats()["connections"] == {"open": 0, "total": 1})
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            *lines, rest = (await ended(reader)).split(b"\n")
            for line in lines:
                json.loads(line)
            assert rest == b"" or b"\n" not in rest
            writer.close()

    run(main())


@posix_only
def test_calls_that_end_while_their_connection_is_being_closed_hold_up_nobody(run: Run) -> None:
    async def main() -> None:
        async with running(limits=rpc.Limits(calls=2)) as here, await here.connect() as other:
            _, writer = await here.raw()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            # More than the socket takes, less than makes the server wait for it; then much more
            # in calls, some of which have to wait for others; then what ends the connection.
            writer.write(request("test_big", 400_000))
            writer.write(b"".join(request("test_asyncBig", 300_000) for _ in range(4)))
            writer.write(b"{" * 600)
            await until(lambda: here.server.stats()["calls"] >= 3)
            here.service.async_gate.set()
            for number in range(10):  # the loop turned for ever
                assert await other.call("test_add", number) == number
            writer.transport.abort()

    run(main())


@posix_only
@pytest.mark.parametrize("name", ["flood", "plainFlood"])
def test_a_slow_subscriber_holds_up_its_own_generator_only(run: Run, name: str) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as other:
            _, writer = await here.raw()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request("test_subscribe", name, SIZE))
            await entered(here.service)
            assert await other.call("test_add", 1) == 1
            sent = -1
            while sent != (sent := here.server.stats()["bytes_out"]):
                await asyncio.sleep(0.05)  # a real wait: the sockets are full when nothing goes
            assert sent < 20 * SIZE
            assert await other.call("test_plain", 1) == 1
            writer.transport.abort()

    run(main())


def test_stop_does_not_wait_for_a_thread_that_does_not_end(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            call = asyncio.create_task(client.call("test_block", 1))
            await entered(here.service)
            async with asyncio.timeout(60):
                await here.server.stop(drain=0.01)
            with pytest.raises(rpc.ConnectionLost):
                await call
            here.service.gate.set()

    run(main())


def test_every_log_line_names_its_connection(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "npipe.rpc")

    async def main() -> None:
        async with running() as here:
            for _ in range(2):
                async with await here.connect() as client:
                    with pytest.raises(rpc.InternalError):
                        await client.call("test_crash")
            await until(lambda: not here.server.stats()["connections"]["open"])

    run(main())
    lines = [record.getMessage() for record in caplog.records]
    for number in ("000001", "000002"):
        mine = [line for line in lines if f"connection {number}" in line]
        assert "opened" in mine[0]
        assert "test_crash failed" in mine[1]
        assert mine[2].endswith("closed (the peer closed the connection)")


def test_stats(run: Run) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            await client.call("test_plain", 1)
            with pytest.raises(rpc.MethodNotFound):
                await client.call("test_nothing")
            stats = here.server.stats()
            assert (stats["calls"], stats["errors"]) == (2, 1)
            assert stats["bytes_in"] > 0 < stats["bytes_out"]
            await until(lambda: "test_plain" in here.server.stats()["methods"])

    run(main())
