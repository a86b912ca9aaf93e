"""The items of a subscription that wait for the program, and how the subscription ended.

Sans-I/O: the flavours wait. The thread that reads pushes; any thread takes. Each step on the deque
is atomic, and ``wake`` is called after each change, so there is no lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw

from npipe.errors import ClosedError, RPCError
from npipe.rpc.session.served_subscriptions import Push

__all__ = ["END", "GAP", "NOTHING", "QUEUE_SIZE", "Gap", "SubscriptionQueue"]

QUEUE_SIZE = 20_000  # items that wait for a slow program; the number of geth's client

NOTHING: Final = object()
"""What ``take`` returns while there is no item yet."""
END: Final = object()
"""What ``take`` returns after the last item of a subscription that the server ended."""


class Gap:
    """The type of ``GAP``: stands between the items of a subscription that was made again, where
    some may be missing."""

    def __repr__(self) -> str:
        return "GAP"


GAP: Final = Gap()


class SubscriptionQueue:
    """A queue of at most ``size`` items, and after them the end."""

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
            decode: Turns an item as it came into what the program gets.
            read_error: Turns the error object of a last push into an exception.
            size: Items that may wait. One more ends the subscription.
            unsubscribe: Ends the subscription of this id at the server.
            wake: Called after each change, by the thread that made it.
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
        self._over = False  # nothing is put in any more
        self._closed = False  # by the program: what waits is no longer wanted
        self.id = b""  # as the server wrote it; empty until its reply was read

    @property
    def ready(self) -> bool:
        """True while ``take`` has something to return or to raise."""
        return bool(self._items) or self._over

    def push(self, push: Push | Exception) -> None:
        """Take a push, or the loss of the connection."""
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
            self._end(RPCError(f"more than {self._size} items wait to be taken"))
            self._unsubscribe(bytes(push.subscription))

    def take(self) -> Any:
        """Return the next item, ``NOTHING`` or ``END``.

        Raises:
            RPCError: The server ended the subscription with an error, or the queue was full.
            ConnectionLost: The connection was lost.
            ClosedError: The program has closed the subscription.
            ProtocolError: This item is not of the type that was asked for; others may follow.
        """
        over = self._over  # before the items are looked at: none is put in after it
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
        """End it from here: items that wait are dropped, the server is told. Idempotent."""
        was_over = self._over
        self._error = self._error or ClosedError("subscription")  # first: ``take`` raises it
        self._closed = True
        self._items.clear()
        self._end(self._error)
        if not was_over:
            self._unsubscribe(self.id)

    def _end(self, error: Exception | None) -> None:
        self._error = error
        self._over = True  # last: who sees it may look for the error
        self._wake()
