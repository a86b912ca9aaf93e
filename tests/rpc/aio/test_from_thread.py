"""Context.remote in a thread of the asyncio server, and in one of the threaded server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio

PATIENCE = 60


class Here:
    """What the client serves to the server."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def add(self, one: int, other: int) -> int:
        return one + other

    @rpc.subscription
    async def count(self, last: int) -> AsyncIterator[int]:
        try:
            for number in range(last):
                yield number
            if last > 3:
                await asyncio.sleep(PATIENCE)
        finally:
            self.closed.set()


class There:
    """What the server serves: plain functions, which run in threads."""

    def calls(self, context: rpc.Context) -> list[Any]:
        remote = context.remote
        remote.notify("here_add", 1, 2)
        batch = remote.batch([("here_add", (1, 2)), ("here_add", (3, 4))])
        return [remote.call("here_add", 1, 2), remote.here.add(3, 4), batch, remote.modules()]

    def all(self, context: rpc.Context, last: int) -> list[int]:
        with context.remote.subscribe("here", "count", last, result_type=int) as items:
            assert items.id
            return list(items)

    def some(self, context: rpc.Context, last: int) -> list[int]:
        with context.remote.subscribe("here", "count", last) as items:
            first = [items.next(timeout=PATIENCE) for _ in range(last)]
            with pytest.raises(TimeoutError):
                items.next(timeout=0.01)
        with pytest.raises(npipe.ClosedError):
            next(items)
        return first


@pytest.fixture(params=["threads", "aio"])
def client(request: pytest.FixtureRequest, address: str) -> Iterator[rpc.Client]:
    """A client that serves ``Here``, of a server of either flavour."""
    here, there = rpc.API(), rpc.API()
    here.register("here", Here())
    there.register("there", There())
    if request.param == "threads":
        with rpc.Server(there) as server:
            server.serve(address)
            with rpc.connect(address, api=here, timeout=PATIENCE) as client:
                yield client
        return
    ready, done = threading.Event(), threading.Event()

    async def serve() -> None:
        async with aio.Server(there) as server:
            await server.serve(address)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        with rpc.connect(address, api=here, timeout=PATIENCE) as client:
            yield client
    finally:
        done.set()
        thread.join(PATIENCE)


def test_every_way_to_call(client: rpc.Client) -> None:
    one, other, batch, modules = client.call("there_calls")
    assert (one, other, batch) == (3, 7, [3, 7])
    assert "here" in modules


def test_a_subscription_of_the_client_is_iterated_to_its_end(client: rpc.Client) -> None:
    assert client.call("there_all", 3) == [0, 1, 2]


def test_a_subscription_of_the_client_is_closed_before_its_end(client: rpc.Client) -> None:
    assert client.call("there_some", 5) == [0, 1, 2, 3, 4]


def test_after_the_end_of_the_loop_a_call_fails_and_warns_of_nothing() -> None:
    async def main() -> Any:
        server = aio.Server(rpc.API())
        async with aio.connect(server) as client:
            return client.from_thread()

    caller = asyncio.run(main())
    with pytest.raises(rpc.ConnectionLost, match="event loop") as lost:
        caller.call("there_add", 1, 2)
    assert not lost.value.maybe_executed
