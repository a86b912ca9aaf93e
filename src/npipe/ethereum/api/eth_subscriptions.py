"""The namespace eth, sixth part: newHeads, logs and newPendingTransactions, pushed.

A subscription collects events before its id is returned to the client, so no event is missed. An
event that was caused by a call on the same connection is sent after the reply of that call
(``events.Origin``, ``Context.on_reply``).

The chain never waits for a subscriber. Events that arrive while the generator of a subscription is
not resumed, because its client does not read (see ``npipe.rpc.session.served_subscriptions``), are
queued here up to a limit. Beyond the limit the subscription ends with an error.
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
    """The subscriptions of eth_subscribe."""

    def __init__(self, hub: EventBus) -> None:
        self._hub = hub

    @subscription(name="newHeads")
    def new_heads(self, context: Context) -> Iterator[dict[str, Any]]:
        """Push the header of each block that is added.

        Source: geth's documentation, page Real-time Events.
        """

        def select(event: Event) -> Iterable[dict[str, Any]]:
            return [shapes.header(event.mined)] if isinstance(event, NewBlock) else ()

        return self._stream(context, select)

    @subscription(name="logs")
    def logs(
        self, context: Context, criteria: LogCriteria | None = None
    ) -> Iterator[dict[str, Any]]:
        """Push the logs of new blocks that match an address and topics.

        Source: geth's documentation, page Real-time Events.
        """
        wanted = Wanted(criteria or LogCriteria())

        return self._stream(context, wanted.in_event)

    @subscription(name="syncing")
    def syncing(self, context: Context) -> Iterator[bool]:
        """Push nothing: this node never synchronizes with others.

        Source: geth's documentation, page Real-time Events.
        """

        def select(event: Event) -> Iterable[bool]:
            return ()

        return self._stream(context, select)

    @subscription(name="newPendingTransactions")
    def new_pending_transactions(
        self, context: Context, full: bool | None = None
    ) -> Iterator[dict[str, Any] | str]:
        """Push each transaction that is accepted: its hash or, with ``full``, an object.

        Source: geth's documentation, page Real-time Events.
        """

        def select(event: Event) -> Iterable[dict[str, Any] | str]:
            if not isinstance(event, NewPending):
                return ()
            item = event.transaction
            return [shapes.transaction(item) if full else data(item.hash)]

        return self._stream(context, select)

    def _stream(self, context: Context, select: Callable[[Event], Iterable[Any]]) -> Iterator[Any]:
        """Begin to collect events, and return the iterator that converts them to items."""
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
