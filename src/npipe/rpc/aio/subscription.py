"""A subscription at the other end, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Generic, Self, TypeVar

from msgspec import Raw

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.session.deadline import Deadline
from npipe.rpc.session.results import decode_result
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.session.subscription_queue import END, GAP, Gap, SubscriptionQueue
from npipe.rpc.wire.encoding import Encoding

__all__ = ["ClientSubscription", "ResilientSubscription"]

T = TypeVar("T")


class ClientSubscription(Generic[T]):
    """What a subscription pushes, one item at a time. Close it, or use it in an ``async with``.

    Iterating ends when the server ends the subscription as it should, and raises otherwise:
    RPCError as the server says, or ConnectionLost when the connection was lost.
    """

    def __init__(
        self,
        encoding: Encoding,
        result_type: Any,
        size: int,
        unsubscribe: Callable[[bytes], object],
    ) -> None:
        """Use ``Client.subscribe``."""
        self._change = asyncio.Event()  # an item, or the end
        self._encoding = encoding
        self._queue = SubscriptionQueue(
            partial(decode_result, encoding, kind=result_type),
            encoding.read_error,
            size,
            unsubscribe,
            self._change.set,
        )

    @property
    def id(self) -> Any:
        """The id that the server gave to it."""
        return self._encoding.decode(self._queue.id)

    def begin(self, id: Raw) -> None:
        """Take the id. Items may have come before."""
        self._queue.id = bytes(id)

    def push(self, push: Push | Exception) -> None:
        """Take what was read."""
        self._queue.push(push)

    async def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: Seconds to wait for it at most; None: no limit.

        Raises:
            StopAsyncIteration: The server has ended the subscription.
            TimeoutError: No item came in time.
            RPCError, ConnectionLost, ClosedError: It ended in another way.
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
        """Unsubscribe; an iteration in another task ends in ClosedError. Idempotent."""
        self._queue.close()

    async def _wait(self) -> None:
        while not self._queue.ready:  # another task may take what woke this one
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
    """A subscription that is made again on the next connection, with ``GAP`` in between.

    Used as ``ClientSubscription`` is.
    """

    def __init__(
        self,
        current: ClientSubscription[T],
        subscribe: Callable[[float | None], Awaitable[ClientSubscription[T]]],
    ) -> None:
        """Use ``Client.subscribe``."""
        self._current = current
        self._subscribe = subscribe
        self._closed = False

    async def next(self, timeout: float | None = None) -> T | Gap:
        """Return the next item, or ``GAP`` after the connection was lost and made again.

        Args:
            timeout: Seconds for the item, or for subscribing again.

        Raises:
            As ``ClientSubscription.next``; and as ``Client.subscribe``, after which ``next`` may
            be tried again.
        """
        loop = asyncio.get_running_loop()
        deadline = Deadline(timeout, loop.time())
        try:
            return await self._current.next(timeout)
        except ConnectionLost:
            self._current = await self._subscribe(deadline.left(loop.time()))
            if self._closed:  # meanwhile, by another task
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
