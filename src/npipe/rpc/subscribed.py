"""A subscription at the other end, as an iterator for threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec
from msgspec import Raw

from npipe.errors import ClosedError, ProtocolError, RPCError
from npipe.rpc.messages import read_error
from npipe.rpc.subscriptions import Push

__all__ = ["Subscribed"]


class Subscribed:
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
        self._items: deque[Raw] = deque()
        self._change = threading.Condition()
        self._id = b""
        self._over = False  # nothing more will be put in
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
        with self._change:
            if self._over:
                return
            if isinstance(push, Exception):
                self._end(push)
            elif push.error:
                self._end(_error_of(push.error))
            elif push.end:
                self._end(None)
            elif len(self._items) < self._size:
                self._items.append(push.result)
            else:
                self._end(RPCError(f"more than {self._size} items wait to be taken"))
                self._unsubscribe(bytes(push.subscription))
            self._change.notify()

    def _end(self, error: Exception | None) -> None:
        self._over, self._error = True, error

    def next(self, timeout: float | None = None) -> Any:
        """Return the next item, waiting at most ``timeout`` seconds for it.

        Raises StopIteration at the end, TimeoutError, RPCError, ConnectionLost.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._change:
            while not self._items and not self._over:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no item within {timeout} seconds")
                self._change.wait(left)
            if self._items:
                item = self._items.popleft()
            elif self._error is not None:
                raise self._error
            else:
                raise StopIteration
        return self._decode(item)

    def close(self) -> None:
        """Unsubscribe; an iteration in another thread ends in ClosedError. Idempotent."""
        with self._change:
            was_over = self._over
            self._items.clear()
            self._end(self._error or ClosedError("subscription"))
            self._change.notify_all()
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
