"""Calls over a connection of an event loop from other threads: ``Context.remote`` there.

Each method blocks its thread while a coroutine of the ``Caller`` runs on the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

from msgspec import Raw

from npipe.errors import ConnectionLost
from npipe.rpc.aio.subscription import ClientSubscription
from npipe.rpc.calling.namespace import WithNamespaces
from npipe.rpc.session.outgoing_calls import Entry

__all__ = ["CallerFromThread", "SubscriptionFromThread"]

T = TypeVar("T")


class CallerFromThread(WithNamespaces):
    """Blocking methods of a ``Caller``, for a plain function that runs in a thread."""

    def __init__(self, caller: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._caller = caller
        self._loop = loop

    def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
        result_type: Any = Any,
        on_progress: Callable[[Any], object] | None = None,
        idempotent: bool = False,
    ) -> Any:
        """Call a method and return its result. Arguments: as ``Caller.call``."""
        calling = self._caller.call(
            method,
            *params,
            named=named,
            timeout=timeout,
            result_type=result_type,
            on_progress=on_progress,
            idempotent=idempotent,
        )
        return _wait(self._loop, calling)

    def notify(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | Raw | None = None,
        timeout: float | None = None,
    ) -> None:
        """Send a notification. Arguments: as ``Caller.notify``."""
        notifying = self._caller.notify(method, *params, named=named, timeout=timeout)
        _wait(self._loop, notifying)

    def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]:
        """Make many calls in one message. Arguments: as ``Caller.batch``."""
        calling = self._caller.batch(
            entries, timeout=timeout, result_type=result_type, idempotent=idempotent
        )
        return _wait(self._loop, calling)

    def subscribe(
        self, namespace: str, name: str, /, *params: Any, **options: Any
    ) -> SubscriptionFromThread[Any]:
        """Subscribe to the items of a subscription. Arguments: as ``subscribe`` of the caller."""
        subscribing = self._caller.subscribe(namespace, name, *params, **options)
        return SubscriptionFromThread(_wait(self._loop, subscribing), self._loop)

    def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """Return the namespaces of the server. Arguments: as ``Caller.modules``."""
        return _wait(self._loop, self._caller.modules(timeout=timeout))


class SubscriptionFromThread(Generic[T]):
    """A ``ClientSubscription`` as an iterator that blocks. Close it, or use it in a ``with``."""

    def __init__(
        self, subscription: ClientSubscription[T], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._subscription = subscription
        self._loop = loop

    @property
    def id(self) -> Any:
        """The id that the other end assigned to the subscription."""
        return self._subscription.id

    def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: Seconds to wait for the item; None is no limit.

        Returns:
            The item.

        Raises:
            StopIteration: The peer has ended the subscription.
            TimeoutError, RPCError, ConnectionLost, ClosedError: As ``ClientSubscription.next``.
        """
        try:
            return _wait(self._loop, self._subscription.next(timeout))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Unsubscribe. An iteration in another thread raises ClosedError. Idempotent."""
        _wait(self._loop, self._subscription.close())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _wait(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # the loop is closed
        coroutine.close()
        raise ConnectionLost("the event loop was closed", maybe_executed=False) from None
    return future.result()
