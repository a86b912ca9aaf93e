"""A client's subscription, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Self, TypeVar

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.calling.deadline import Deadline
from npipe.rpc.calling.subscription import SubscriptionBase
from npipe.rpc.calling.subscription_queue import END, GAP, Gap

__all__ = ["ClientSubscription", "ResilientSubscription"]

T = TypeVar("T")


class ClientSubscription(SubscriptionBase[T]):
    """Iterator over the items of a subscription. Close it, or use it in an ``async with``.

    Iteration ends when the server ends the subscription without an error. Otherwise it raises:
    RPCError with the server's error, or ConnectionLost when the connection was lost.
    """

    def _make_wake(self) -> Callable[[], object]:
        self._change = asyncio.Event()  # an item, or the end
        return self._change.set

    async def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: Seconds to wait for the item; None is no limit.

        Returns:
            The item, decoded to ``result_type``.

        Raises:
            StopAsyncIteration: The server has ended the subscription.
            TimeoutError: No item arrived in time.
            RPCError, ConnectionLost, ClosedError: The subscription ended in another way.
            ProtocolError: This item is not of ``result_type``.
        """
        deadline = Deadline(timeout, asyncio.get_running_loop().time())
        if not self._queue.ready:
            try:
                async with asyncio.timeout_at(deadline.end):
                    await self._wait()
            except TimeoutError:
                raise deadline.expired("no item") from None
        item = self._queue.take()
        if item is END:
            raise StopAsyncIteration
        return item  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Unsubscribe. An iteration in another task raises ClosedError. Idempotent."""
        self._queue.close()

    async def _wait(self) -> None:
        while not self._queue.ready:  # another task may have taken the item
            self._change.clear()
            await self._change.wait()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await self.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class ResilientSubscription(Generic[T]):
    """A subscription that is renewed on the next connection after a loss, with a ``GAP`` item.

    It has the methods of ``ClientSubscription``.
    """

    def __init__(
        self,
        current: ClientSubscription[T],
        subscribe: Callable[[float | None], Awaitable[ClientSubscription[T]]],
    ) -> None:
        """Use ``Client.subscribe`` with ``renew=True``, which makes a subscription.

        Args:
            current: The first subscription.
            subscribe: Subscribes; called with the seconds that are left; None is no limit.
        """
        self._current = current
        self._subscribe = subscribe
        self._closed = False

    async def next(self, timeout: float | None = None) -> T | Gap:
        """Return the next item, or ``GAP`` after the subscription was renewed on a new connection.

        Args:
            timeout: Seconds for the item, or for renewing the subscription; None is no limit.

        Returns:
            The item, decoded to ``result_type``, or ``GAP``.

        Raises:
            StopAsyncIteration: The server has ended the subscription.
            TimeoutError: No item arrived in time.
            RPCError, ClosedError, ProtocolError: As ``ClientSubscription.next``.
            ConnectionLost, OSError: Renewing failed; ``next`` may be called again.
        """
        loop = asyncio.get_running_loop()
        deadline = Deadline(timeout, loop.time())
        try:
            return await self._current.next(timeout)
        except ConnectionLost:
            self._current = await self._subscribe(deadline.left(loop.time()))
            if self._closed:  # by another task, while subscribing
                await self._current.close()
                raise ClosedError("subscription") from None
            return GAP

    async def close(self) -> None:
        """Unsubscribe. Idempotent."""
        self._closed = True
        await self._current.close()

    def __aiter__(self) -> AsyncIterator[T | Gap]:
        return self

    async def __anext__(self) -> T | Gap:
        return await self.next()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
