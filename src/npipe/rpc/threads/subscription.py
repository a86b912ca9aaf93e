"""A subscription at the other end, as an iterator for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, Self, TypeVar

from msgspec import Raw

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.session.deadline import Deadline
from npipe.rpc.session.results import decode_result
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.session.subscription_queue import END, GAP, NOTHING, Gap, SubscriptionQueue
from npipe.rpc.wire.encoding import Encoding

__all__ = ["ClientSubscription", "ResilientSubscription"]

T = TypeVar("T")


class ClientSubscription(Generic[T]):
    """What a subscription pushes, one item at a time. Close it, or use it in a ``with``.

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
        self._encoding = encoding
        self._queue = SubscriptionQueue(
            partial(decode_result, encoding, kind=result_type),
            encoding.read_error,
            size,
            unsubscribe,
            self._wake,
        )
        # Something in it: there may be something to take. Not a Condition: a Ctrl-C just after it
        # is entered would leave it locked, and the thread that reads would wait for it for ever.
        self._signals: SimpleQueue[None] = SimpleQueue()

    @property
    def id(self) -> Any:
        """The id that the server gave to it."""
        return self._encoding.decode(self._queue.id)

    def begin(self, id: Raw) -> None:
        """Take the id. Items may have come before."""
        self._queue.id = bytes(id)

    def push(self, push: Push | Exception) -> None:
        """Take what the reading thread has read."""
        self._queue.push(push)

    def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: Seconds to wait for it at most; None: no limit.

        Raises:
            StopIteration: The server has ended the subscription.
            TimeoutError: No item came in time.
            RPCError, ConnectionLost, ClosedError: It ended in another way.
            ProtocolError: This item is not of ``result_type``.
        """
        deadline = Deadline(timeout, time.monotonic())
        try:
            while (item := self._queue.take()) is NOTHING:
                try:
                    self._signals.get(timeout=deadline.left(time.monotonic()))
                except Empty:
                    raise deadline.expired("no item") from None
        finally:
            if self._queue.ready:  # for another thread that waits
                self._wake()
        if item is END:
            raise StopIteration
        return item  # type: ignore[no-any-return]

    def close(self) -> None:
        """Unsubscribe; an iteration in another thread ends in ClosedError. Idempotent."""
        self._queue.close()

    def _wake(self) -> None:
        if self._signals.empty():
            self._signals.put(None)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ResilientSubscription(Generic[T]):
    """A subscription that is made again on the next connection, with ``GAP`` in between.

    Used as ``ClientSubscription`` is.
    """

    def __init__(self, subscribe: Callable[[float | None], ClientSubscription[T]]) -> None:
        """Use ``Client.subscribe``."""
        self._subscribe = subscribe
        self._current = subscribe(None)
        self._closed = False

    def next(self, timeout: float | None = None) -> T | Gap:
        """Return the next item, or ``GAP`` after the connection was lost and made again.

        Args:
            timeout: Seconds for the item, or for subscribing again.

        Raises:
            As ``ClientSubscription.next``; and as ``Client.subscribe``, after which ``next`` may
            be tried again.
        """
        deadline = Deadline(timeout, time.monotonic())
        try:
            return self._current.next(timeout)
        except ConnectionLost:
            self._current = self._subscribe(deadline.left(time.monotonic()))
            if self._closed:  # meanwhile, by another thread
                self._current.close()
                raise ClosedError("subscription") from None
            return GAP

    def close(self) -> None:
        """Unsubscribe. Idempotent."""
        self._closed = True
        self._current.close()

    def __iter__(self) -> Iterator[T | Gap]:
        return self

    def __next__(self) -> T | Gap:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
