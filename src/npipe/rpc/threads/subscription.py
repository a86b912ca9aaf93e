"""A subscription at the other end, as an iterator for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Self

import msgspec
from msgspec import Raw

from npipe.errors import ClosedError, ProtocolError, RPCError
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.messages import read_error

__all__ = ["ClientSubscription"]


class ClientSubscription:
    """What a subscription pushes, one item at a time. Close it, or use it in a ``with``.

    Iterating ends when the server ends the subscription as it should, and raises what it says
    otherwise: RPCError, or ConnectionLost when the connection went.
    """

    def __init__(
        self,
        decode: Callable[[Raw], Any],
        size: int,
        unsubscribe: Callable[[bytes], object],
    ) -> None:
        self._decode = decode
        self._size = size
        self._unsubscribe = unsubscribe
        # Not a Condition: a Ctrl-C just after it is entered would leave it locked, and the thread
        # that reads would wait for it for ever. A SimpleQueue does each step in one.
        self._items: SimpleQueue[Raw | None] = SimpleQueue()  # None, for ever: it is over
        self._id = b""
        self._over = False  # nothing more will be put in
        self._closed = False
        self._error: Exception | None = None

    @property
    def id(self) -> Any:
        """The id that the server gave it."""
        return msgspec.json.decode(self._id)

    def begin(self, id: Raw) -> None:
        """Take the id. Items may have come before."""
        self._id = bytes(id)

    def push(self, push: Push | Exception) -> None:
        """Take what the reading thread read."""
        if self._over:
            return
        if isinstance(push, Exception):
            self._end(push)
        elif push.error:
            self._end(_error_of(push.error))
        elif push.end:
            self._end(None)
        elif self._items.qsize() < self._size:
            self._items.put(push.result)
        else:
            self._end(RPCError(f"more than {self._size} items wait to be taken"))
            self._unsubscribe(bytes(push.subscription))

    def _end(self, error: Exception | None) -> None:
        self._error = error
        self._over = True
        self._items.put(None)

    def next(self, timeout: float | None = None) -> Any:
        """Return the next item, waiting at most ``timeout`` seconds for it.

        Raises StopIteration at the end, TimeoutError, RPCError, ConnectionLost.
        """
        try:
            item = self._items.get(timeout=None if timeout is None else max(timeout, 0))
        except Empty:
            raise TimeoutError(f"no item within {timeout} seconds") from None
        if item is not None and not self._closed:
            return self._decode(item)
        self._items.put(None)  # for the next call, here or in another thread
        if self._error is not None:
            raise self._error
        raise StopIteration

    def close(self) -> None:
        """Unsubscribe; an iteration in another thread ends in ClosedError. Idempotent."""
        was_over, self._closed = self._over, True
        self._end(self._error or ClosedError("subscription"))
        if not was_over:
            self._unsubscribe(self._id)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _error_of(raw: Raw) -> Exception:
    try:
        return read_error(raw)
    except ProtocolError as error:
        return error
