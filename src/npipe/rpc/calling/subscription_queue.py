"""Queue of a client's subscription: the items not taken yet, and the end of the subscription.

Sans-I/O: the flavours implement the waiting. The reading thread adds items; any thread takes them.
Each step on the deque is atomic, and ``wake`` is called after each change, so no lock is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from npipe.errors import ClosedError, RPCError
from npipe.rpc.session.served_subscriptions import Push

__all__ = ["END", "GAP", "NOTHING", "QUEUE_SIZE", "Gap", "SubscriptionQueue"]

QUEUE_SIZE = 20_000  # items that wait to be taken; as geth's client

NOTHING: Final = object()
"""Returned by ``take`` while there is no item."""
END: Final = object()
"""Returned by ``take`` after the last item of a subscription that the server ended."""


class Gap:
    """The type of ``GAP``, which marks a renewed subscription: items may be missing there."""

    def __repr__(self) -> str:
        return "GAP"


GAP: Final = Gap()


class SubscriptionQueue:
    """A queue of at most ``size`` items, followed by the end of the subscription."""

    def __init__(
        self,
        decode: Callable[[Raw], Any],
        read_error: Callable[[Raw], Exception],
        size: int,
        unsubscribe: Callable[[bytes], object],
        wake: Callable[[], object],
    ) -> None:
        """Make an empty queue.

        Args:
            decode: Decodes an item for the program.
            read_error: Converts the error object of a notification to an exception.
            size: The largest number of queued items. One more ends the subscription.
            unsubscribe: Ends the subscription with this id at the server.
            wake: Called after each change, by the thread that made it.

        Raises:
            ValueError: ``size`` is less than 1.
        """
        if size < 1:
            raise ValueError(f"queue_size must be 1 or more, not {size}")
        self._decode = decode
        self._read_error = read_error
        self._size = size
        self._unsubscribe = unsubscribe
        self._wake = wake
        self._items: deque[Raw] = deque()
        self._error: Exception | None = None
        self._over = False  # no more items are added
        self._closed = False  # by the program: queued items are dropped
        self.id = b""  # encoded, as the server sent it; empty until its reply was read

    @property
    def ready(self) -> bool:
        """True while ``take`` returns an item or the end, or raises."""
        return bool(self._items) or self._over

    def push(self, push: Push | Exception) -> None:
        """Add an item, or the exception that ends the subscription."""
        if self._over:
            return
        if isinstance(push, Exception):
            self._end(push)
        elif push.error:
            self._end(self._read_error(push.error))
        elif push.end:
            self._end(None)
        elif len(self._items) < self._size:
            self._items.append(push.result)
            self._wake()
        else:
            self._end(RPCError(f"more than {self._size} items are queued (queue_size)"))
            self._unsubscribe(bytes(push.subscription))

    def take(self) -> Any:
        """Return the next item, ``NOTHING`` or ``END``.

        Raises:
            RPCError: The server ended the subscription with an error, or the queue was full.
            ConnectionLost: The connection was lost.
            ClosedError: The program has closed the subscription.
            ProtocolError: This item is not of the requested type; others may follow.
        """
        over = self._over  # read before the items: none is added after it is set
        try:
            item = self._items.popleft()
        except IndexError:
            if not over:
                return NOTHING
        else:
            if not self._closed:
                return self._decode(item)
        if self._error is not None:
            raise self._error
        return END

    def close(self) -> None:
        """End the subscription: drop the queued items and unsubscribe at the server. Idempotent."""
        was_over = self._over
        self._error = self._error or ClosedError("subscription")  # set first: ``take`` raises it
        self._closed = True
        self._items.clear()
        self._end(self._error)
        if not was_over:
            self._unsubscribe(self.id)

    def _end(self, error: Exception | None) -> None:
        self._error = error
        self._over = True  # set last: a thread that reads it then reads the error
        self._wake()
