"""The namespace eth, sixth part: newHeads, logs and newPendingTransactions, pushed.

Listening begins before the client has its subscription's id, so nothing is missed. An event that a
call on the same connection caused is held back until that call's reply has been queued
(``events.Origin``, ``Context.on_reply``): replies come before what they cause.

The chain never waits for a reader. Events that arrive while a subscription's generator waits for
its client (see ``npipe.rpc.session.served_subscriptions``) are queued here, up to a limit: beyond
it the subscription ends with an error.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from npipe.errors import RPCError
from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.chain.events import Event, EventBus, NewBlock, NewPending
from npipe.ethereum.chain.logs import LogCriteria, Wanted
from npipe.ethereum.values.types import data
from npipe.rpc.service.context import Context
from npipe.rpc.service.decorators import subscription

__all__ = ["EthSubscriptions"]

_MAX_QUEUED = 20_000  # events that wait for a slow reader, as in geth
_REPLY_WAIT = 10.0  # seconds at most that an event is held back for its cause's reply


class EthSubscriptions:
    """What eth_subscribe can be asked for."""

    def __init__(self, hub: EventBus) -> None:
        self._hub = hub

    @subscription(name="newHeads")
    def new_heads(self, context: Context) -> Iterator[dict[str, Any]]:
        """Each block that is added, without its transactions."""

        def select(event: Event) -> Iterable[dict[str, Any]]:
            return [shapes.header(event.mined)] if isinstance(event, NewBlock) else ()

        return self._stream(context, select)

    @subscription(name="logs")
    def logs(
        self, context: Context, criteria: LogCriteria | None = None
    ) -> Iterator[dict[str, Any]]:
        """The logs of new blocks that have a wanted address and wanted topics."""
        wanted = Wanted(criteria or LogCriteria())

        return self._stream(context, wanted.in_event)

    @subscription(name="syncing")
    def syncing(self, context: Context) -> Iterator[bool]:
        """Send nothing: geth sends a message when it begins or ends to catch up with others."""

        def select(event: Event) -> Iterable[bool]:
            return ()

        return self._stream(context, select)

    @subscription(name="newPendingTransactions")
    def new_pending_transactions(
        self, context: Context, full: bool | None = None
    ) -> Iterator[dict[str, Any] | str]:
        """Each transaction that is accepted: its hash or, with true, all of it."""

        def select(event: Event) -> Iterable[dict[str, Any] | str]:
            if not isinstance(event, NewPending):
                return ()
            item = event.transaction
            return [shapes.transaction(item) if full else data(item.hash)]

        return self._stream(context, select)

    def _stream(self, context: Context, select: Callable[[Event], Iterable[Any]]) -> Iterator[Any]:
        """Listen from now on; the iterator returned waits for events and turns them into items."""
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

        def listen(event: Event) -> None:
            if events.qsize() < _MAX_QUEUED:
                events.put(event)
            else:
                self._hub.remove(token)
                events.put(None)

        def stop() -> None:
            self._hub.remove(token)
            events.put(None)

        token = self._hub.add(listen)
        context.on_cancel(stop)
        return self._items(context, events, select, stop)

    def _items(
        self,
        context: Context,
        events: queue.SimpleQueue[Event | None],
        select: Callable[[Event], Iterable[Any]],
        stop: Callable[[], None],
    ) -> Iterator[Any]:
        try:
            while (event := events.get()) is not None:
                cause = event.cause
                if cause is not None and cause.connection == context.connection_id:
                    cause.replied.wait(_REPLY_WAIT)
                yield from select(event)
        finally:
            stop()
        if not context.cancelled:
            raise RPCError("subscription queue overflow: the reader was too slow")
