"""A client's subscription, as an iterator for threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from npipe.errors import ClosedError, ConnectionLost
from npipe.rpc.calling.deadline import Deadline
from npipe.rpc.calling.subscription import SubscriptionBase
from npipe.rpc.calling.subscription_queue import END, GAP, NOTHING, Gap

__all__ = ["ClientSubscription", "ResilientSubscription"]

T = TypeVar("T")


class ClientSubscription(SubscriptionBase[T]):
    """Iterator over the items of a subscription. Close it, or use it in a ``with``.

    Iteration ends when the server ends the subscription without an error. Otherwise it raises:
    RPCError with the server's error, or ConnectionLost when the connection was lost.
    """

    def _make_wake(self) -> Callable[[], object]:
        # An entry means that an item may be ready. A Condition is not used: a KeyboardInterrupt
        # just after it is acquired would leave it locked, and block the reading thread for ever.
        self._signals: SimpleQueue[None] = SimpleQueue()
        return self._wake

    def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: Seconds to wait for the item; None is no limit.

        Returns:
            The item, decoded to ``result_type``.

        Raises:
            StopIteration: The server has ended the subscription.
            TimeoutError: No item arrived in time.
            RPCError, ConnectionLost, ClosedError: The subscription ended in another way.
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
            if self._queue.ready:  # another thread may be waiting
                self._wake()
        if item is END:
            raise StopIteration
        return item  # type: ignore[no-any-return]

    def close(self) -> None:
        """Unsubscribe. An iteration in another thread raises ClosedError. Idempotent."""
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
    """A subscription that is renewed on the next connection after a loss, with a ``GAP`` item.

    It has the methods of ``ClientSubscription``.
    """

    def __init__(self, subscribe: Callable[[float | None], ClientSubscription[T]]) -> None:
        """Use ``Client.subscribe`` with ``renew=True``, which makes a subscription.

        Args:
            subscribe: Subscribes; called with the seconds that are left, None at first.
        """
        self._subscribe = subscribe
        self._current = subscribe(None)
        self._closed = False

    def next(self, timeout: float | None = None) -> T | Gap:
        """Return the next item, or ``GAP`` after the subscription was renewed on a new connection.

        Args:
            timeout: Seconds for the item, or for renewing the subscription; None is no limit.

        Returns:
            The item, decoded to ``result_type``, or ``GAP``.

        Raises:
            StopIteration: The server has ended the subscription.
            TimeoutError: No item arrived in time.
            RPCError, ClosedError, ProtocolError: As ``ClientSubscription.next``.
            ConnectionLost, OSError: Renewing failed; ``next`` may be called again.
        """
        deadline = Deadline(timeout, time.monotonic())
        try:
            return self._current.next(timeout)
        except ConnectionLost:
            self._current = self._subscribe(deadline.left(time.monotonic()))
            if self._closed:  # by another thread, while subscribing
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
