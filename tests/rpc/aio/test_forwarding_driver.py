"""Drivers that write what others read: which of them waits for which."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

import npipe.aio
from npipe import rpc
from npipe.rpc.aio.forwarding_driver import ForwardingDriver, UpstreamDriver
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.service.dispatcher import Dispatcher
from rpc.aio.test_proxy import between
from rpc.aio_service import Run, on_each_loop
from rpc.conformance.test_aio_limits import reply, request
from until import until


@on_each_loop
@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")
@pytest.mark.parametrize("name", ["test_big", "test_asyncBig"])
def test_a_reader_that_sleeps_is_not_buffered_for(run: Run, name: str) -> None:
    size = 1_000_000

    async def main() -> None:
        async with between() as (here, proxy, address):
            here.service.async_gate.set()
            reader, writer = await npipe.aio.open_connection(address)
            reader._limit = 2 * size  # type: ignore[attr-defined]
            for number in range(50):
                writer.write(request(name, size, number=number))
            await until(lambda: proxy.stats()["bytes_out"] != 0)
            await asyncio.sleep(0.2)  # a real wait: in which too much would be written
            assert proxy.stats()["bytes_out"] < 10 * size
            ids = set()
            for _ in range(50):
                answer = await reply(reader)
                assert len(answer["result"]) == size
                ids.add(answer["id"])
            assert ids == set(range(50))
            writer.close()

    run(main())


class Transport:
    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


def connected(kind: type[ForwardingDriver]) -> ForwardingDriver:
    """A driver on a transport that does nothing."""
    runtime = Runtime(Dispatcher(rpc.API()), None, "json-stream", kind)
    driver = runtime.new_driver(1, on_close=lambda driver, reason: None)
    transport: Any = Transport()
    driver.connection_made(transport)
    driver.session.become_proxy()
    return driver


def held(driver: ForwardingDriver) -> bool:
    return driver.session.flow.held


def test_messages_wait_for_the_side_that_they_are_written_to() -> None:
    async def main() -> None:
        client, upstream = connected(ForwardingDriver), connected(UpstreamDriver)
        client.hold()
        assert held(client)
        client.join(upstream)
        assert not held(client)
        upstream.pause_writing()  # the server does not read: the client's calls wait
        assert (held(client), held(upstream)) == (True, False)
        upstream.resume_writing()
        client.pause_writing()  # the client does not read: neither side's messages go on
        assert (held(client), held(upstream)) == (True, True)
        client.resume_writing()
        assert (held(client), held(upstream)) == (False, False)

    asyncio.run(main())


def test_a_driver_that_is_held_for_another_reason_stays_held() -> None:
    async def main() -> None:
        client, upstream = connected(ForwardingDriver), connected(UpstreamDriver)
        told: list[bool] = []
        upstream.on_crowded = lambda: told.append(upstream.crowded)
        client.join(upstream)
        client.hold_while(True)
        upstream.pause_writing()
        upstream.resume_writing()
        assert told == [True, False]
        assert held(client)
        client.hold_while(False)
        assert not held(client)

    asyncio.run(main())


def test_a_connection_that_has_ended_feeds_nothing() -> None:
    async def main() -> None:
        client, upstream = connected(ForwardingDriver), connected(UpstreamDriver)
        upstream.feed(client)
        upstream.unfeed()
        client.pause_writing()
        assert not held(upstream)

    asyncio.run(main())
