"""Base of the subscriptions of both clients: the queue, and the id."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from msgspec import Raw

from npipe.rpc.calling.results import decode_result
from npipe.rpc.calling.subscription_queue import SubscriptionQueue
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.encoding import Encoding

__all__ = ["SubscriptionBase"]

T = TypeVar("T")


class SubscriptionBase(Generic[T]):
    """A subscription; a flavour adds the iteration and ``_wake``."""

    def __init__(
        self,
        encoding: Encoding,
        result_type: Any,
        size: int,
        unsubscribe: Callable[[bytes], object],
    ) -> None:
        """Use ``Client.subscribe``, which makes a subscription.

        Args:
            encoding: The encoding of the connection.
            result_type: The type that each item is decoded to.
            size: The largest number of items that wait to be taken.
            unsubscribe: Called with the id of the subscription, in its encoding, when it is closed.
        """
        self._encoding = encoding
        self._queue = SubscriptionQueue(
            partial(decode_result, encoding, kind=result_type),
            encoding.read_error,
            size,
            unsubscribe,
            self._make_wake(),
        )

    def _make_wake(self) -> Callable[[], object]:
        """Prepare the wait for an item; return the function to call when an item may be ready."""
        raise NotImplementedError

    @property
    def id(self) -> Any:
        """The id that the server assigned to the subscription."""
        return self._encoding.decode(self._queue.id)

    def begin(self, id: Raw) -> None:
        """Store the id from the reply to the subscribe call. Items may have arrived before it.

        Args:
            id: The id, in the encoding of the connection.
        """
        self._queue.id = bytes(id)

    def push(self, push: Push | Exception) -> None:
        """Add an item or the end of the subscription to the queue. The reader calls it.

        Args:
            push: The params of the notification, or the exception that ends the subscription.
        """
        self._queue.push(push)
