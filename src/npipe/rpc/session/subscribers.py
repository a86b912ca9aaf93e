"""Subscriptions that this end of a connection has made, and the receivers of their items.

Sans-I/O. Any thread may use it: each step on the table is atomic.
"""

from __future__ import annotations

from collections.abc import Callable

from npipe.rpc.session.atomic import pop_item
from npipe.rpc.wire.envelopes import Push

__all__ = ["OnPush", "Subscribers"]

OnPush = Callable[[Push | Exception], object]
"""Receives the notifications of one subscription, or the exception that ends it."""


class Subscribers:
    """The receivers of notifications, by the encoded ids of their subscriptions."""

    __slots__ = ("_ended", "receivers")

    def __init__(self) -> None:
        # Read by ``OutgoingCalls`` for its truth, which is faster than a method.
        self.receivers: dict[bytes, OnPush] = {}
        self._ended: Exception | None = None

    def add(self, id: bytes, on_push: OnPush) -> None:
        """Register a subscription. It ends at once if the connection has ended.

        Args:
            id: The encoded id, as in the reply to the subscribe call.
            on_push: Called with each notification.
        """
        self.receivers[id] = on_push
        if self._ended is not None:  # by another thread, meanwhile
            self.end(self._ended)

    def discard(self, id: bytes) -> None:
        """Drop further notifications of a subscription."""
        self.receivers.pop(id, None)

    def push(self, push: Push) -> bool:
        """Pass a notification to its receiver. The last one ends the subscription.

        Returns:
            False if the subscription is unknown.
        """
        id = bytes(push.subscription)
        on_push = self.receivers.get(id)
        if push.error or push.end:
            self.receivers.pop(id, None)
        if on_push is None:
            return False
        on_push(push)
        return True

    def end(self, error: Exception) -> None:
        """End every subscription with an exception, now and in future."""
        self._ended = self._ended or error
        while (item := pop_item(self.receivers)) is not None:
            _, on_push = item
            on_push(error)
