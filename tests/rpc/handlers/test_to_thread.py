"""``async def`` middleware, around functions and subscriptions of every kind, on both shells."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from npipe import rpc
from rpc.conftest import ServeAPI

Proceed = Callable[[], Awaitable[Any]]


class Service:
    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=60)

    def plain(self, number: int, context: rpc.Context) -> int:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return 2 * number

    @rpc.method(inline=True)
    def inline(self, number: int) -> int:
        return 3 * number

    async def awaited(self, number: int) -> int:
        await asyncio.sleep(0)
        return 4 * number

    def meet(self) -> int:
        """Return once it runs twice at the same time: no call may hold up the loop."""
        return self.both.wait()

    def stop_iteration(self) -> None:
        raise StopIteration

    def leave(self) -> None:
        raise SystemExit(3)

    def refused(self) -> None:
        raise rpc.RPCError("never called")

    @rpc.subscription
    def plain_count(self, count: int) -> Iterator[int]:
        yield from range(count)

    @rpc.subscription
    async def async_count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @rpc.subscription
    def refused_count(self) -> Iterator[int]:
        yield 1


async def guard(context: rpc.Context, proceed: Proceed) -> Any:
    await asyncio.sleep(0)
    if "refused" in context.method:
        raise rpc.RPCError("not for you", code=5)
    return await proceed()


class Guard:
    async def __call__(self, context: rpc.Context, proceed: Proceed) -> Any:
        return await guard(context, proceed)


def passing(context: rpc.Context, proceed: Callable[[], Any]) -> Any:
    return proceed()


@pytest.fixture(params=[[guard], [passing, guard], [Guard(), passing]], ids=["1", "2", "3"])
def client(
    request: pytest.FixtureRequest, serve_api: ServeAPI, address: str
) -> Iterator[rpc.Client]:
    api = rpc.API()
    api.register("test", Service())
    serve_api(api, middleware=request.param)
    with rpc.connect(address, timeout=20) as client:
        yield client


def test_async_middleware_stands_around_functions_of_every_kind(client: rpc.Client) -> None:
    assert client.call("test_plain", 1) == 2
    assert client.call("test_inline", 1) == 3
    assert client.call("test_awaited", 1) == 4
    assert "test" in client.modules()
    assert client.batch([("test_plain", [2]), ("test_inline", [2])]) == [4, 6]
    with pytest.raises(rpc.RPCError, match="not for you"):
        client.call("test_refused")


def test_plain_functions_behind_it_do_not_hold_up_the_loop(client: rpc.Client) -> None:
    assert sorted(client.batch([("test_meet", []), ("test_meet", [])])) == [0, 1]


def test_it_stands_around_subscriptions_of_both_kinds(client: rpc.Client) -> None:
    assert list(client.subscribe("test", "plainCount", 3)) == [0, 1, 2]
    assert list(client.subscribe("test", "asyncCount", 3)) == [0, 1, 2]
    with pytest.raises(rpc.RPCError, match="not for you"):
        list(client.subscribe("test", "refusedCount"))


@pytest.mark.parametrize("method", ["test_stopIteration", "test_leave"])
def test_what_a_future_cannot_hold_is_an_error_like_any_other(
    client: rpc.Client, method: str
) -> None:
    with pytest.raises(rpc.InternalError):
        client.call(method)
    assert client.call("test_inline", 1) == 3
