"""A subscription at the other end, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import msgspec
from msgspec import Raw

from npipe.errors import ClosedError, ProtocolError, RPCError
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.messages import read_error

__all__ = ["ClientSubscription"]


class ClientSubscription:
    """What a subscription pushes, one item at a time. Close it, or use it in an ``async with``.

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
        self._change = asyncio.Event()  # an item, or the end
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
        """Take what was read."""
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
        self._change.set()

    def _end(self, error: Exception | None) -> None:
        self._over, self._error = True, error

    async def close(self) -> None:
        """Unsubscribe; an iteration in another task ends in ClosedError. Idempotent."""
        was_over = self._over
        self._items.clear()
        self._end(self._error or ClosedError("subscription"))
        self._change.set()
        if not was_over:
            self._unsubscribe(self._id)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._items and not self._over:
            self._change.clear()
            await self._change.wait()
        if self._items:
            return self._decode(self._items.popleft())
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


def _error_of(raw: Raw) -> Exception:
    try:
        return read_error(raw)
    except ProtocolError as error:
        return error
