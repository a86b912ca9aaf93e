"""Async generators of subscriptions, fed by a task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from npipe.errors import RPCError
from npipe.rpc.handlers import coroutine_feed
from npipe.rpc.handlers.coroutine_feed import run_subscription_async


class Subscription:
    """A served subscription whose items are kept; ``size`` of them make it full."""

    on_room: Callable[[], object]

    def __init__(self, items: Any, *, size: int = 1000, timeout: float | None = None) -> None:
        self._items, self._size = items, size
        self.pushed: list[Any] = []
        self.taken = 0
        self.ended: list[Any] = []
        self.call = SimpleNamespace(cancelled=False)
        self.session = SimpleNamespace(
            dispatcher=SimpleNamespace(is_async=False),
            limits=SimpleNamespace(subscription_timeout=timeout),
        )
        self.waiting = asyncio.Event()

    def items(self) -> Any:
        return self._items()

    def push(self, item: Any) -> bool:
        self.pushed.append(item)
        return item != "stop"

    @property
    def full(self) -> bool:
        full = len(self.pushed) - self.taken >= self._size
        if full:
            self.waiting.set()
        return full

    def too_slow(self) -> RPCError:
        return RPCError("too slow")

    def finish(self, error: BaseException | None = None) -> None:
        self.ended.append(error)


def run(made: Subscription) -> None:
    subscription: Any = made
    asyncio.run(asyncio.wait_for(run_subscription_async(subscription), 60))


async def count(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


def test_items_are_pushed_until_the_generator_ends() -> None:
    made = Subscription(lambda: count(1, 2, 3))
    run(made)
    assert (made.pushed, made.ended) == ([1, 2, 3], [None])


def test_a_generator_whose_subscription_has_ended_is_closed() -> None:
    closed: list[str] = []

    async def items() -> AsyncIterator[str]:
        try:
            yield "stop"
            yield "too much"
        finally:
            closed.append("closed")

    made = Subscription(items)
    run(made)
    assert (made.pushed, closed, made.ended) == (["stop"], ["closed"], [None])
    cancelled = Subscription(items)
    cancelled.call.cancelled = True  # before it began
    run(cancelled)
    assert cancelled.pushed == []


def test_an_exception_is_how_it_ends() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise SystemExit("no")

    made = Subscription(items)
    run(made)
    assert made.pushed == [1]
    assert isinstance(made.ended[0], SystemExit)


def test_a_full_queue_is_waited_for() -> None:
    async def main() -> None:
        made = Subscription(lambda: count(1, 2, 3), size=2)
        subscription: Any = made
        task = asyncio.create_task(run_subscription_async(subscription))
        await made.waiting.wait()
        assert made.pushed == [1, 2]
        made.taken = 2
        made.on_room()
        await task
        assert (made.pushed, made.ended) == ([1, 2, 3], [None])

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_peer_that_takes_nothing_in_time_ends_it() -> None:
    made = Subscription(lambda: count(1, 2), size=1, timeout=0.01)
    run(made)
    assert made.pushed == [1]
    assert str(made.ended[0]) == "too slow (code -32000)"


def test_a_cancelled_feed_has_ended_and_stays_cancelled() -> None:
    async def main() -> None:
        made = Subscription(lambda: count(1), size=1)
        subscription: Any = made
        task = asyncio.create_task(run_subscription_async(subscription))
        await made.waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.ended == [None]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_plain_generator_of_async_middleware_runs_in_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(coroutine_feed, "start_subscription", lambda *each: started.append(each))

    async def middleware() -> Any:
        return iter([1, 2])

    made = Subscription(middleware)
    made.session.dispatcher.is_async = True
    run(made)
    ((subscription, items),) = started
    assert subscription is made
    assert list(items) == [1, 2]
    assert made.ended == []  # the thread ends it


def test_other_tasks_run_between_the_items_of_one_that_never_waits() -> None:
    async def main() -> None:
        made = Subscription(lambda: count(*range(1000)), size=2000)
        subscription: Any = made
        task = asyncio.create_task(run_subscription_async(subscription))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(made.pushed) < 1000
        await task

    asyncio.run(asyncio.wait_for(main(), 60))
