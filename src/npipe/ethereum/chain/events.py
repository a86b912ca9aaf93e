"""What happens on the chain, told to whoever listens: filters and subscriptions.

Imports no py-evm and starts no thread: ``publish`` runs the listeners where it is called, which is
the chain's worker, so they see everything in order and must not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from npipe.rpc.service.context import Context

if TYPE_CHECKING:
    from npipe.ethereum.chain.block import MinedBlock

__all__ = ["Event", "EventBus", "NewBlock", "NewPending", "Origin", "RemovedBlock"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The call that an event comes from, and whether its reply is on the way.

    A client must hear of its own transaction's hash before it hears of the block: subscriptions
    on the same connection wait for ``replied``.
    """

    connection: int
    replied: threading.Event


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block was added to the chain."""

    mined: MinedBlock
    cause: Origin | None


@dataclass(frozen=True, slots=True)
class RemovedBlock:
    """A block was taken off the chain: newest first, where there are several."""

    mined: MinedBlock
    cause: Origin | None


@dataclass(frozen=True, slots=True)
class NewPending:
    """A transaction was accepted and is not in a block yet."""

    transaction: Any
    cause: Origin | None


Event = NewBlock | RemovedBlock | NewPending


class EventBus:
    """The listeners. ``add`` and ``remove`` are for any thread, the rest is the worker's."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Event], None]] = {}  # each step on it is atomic
        self._cause: Origin | None = None

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Callable[[Event], None]) -> object:
        """Call ``listener`` with each event from now on; what is returned removes it."""
        token = object()
        self._listeners[token] = listener
        return token

    def remove(self, token: object) -> None:
        """Forget a listener; one that is not there is nothing."""
        self._listeners.pop(token, None)

    @contextmanager
    def caused_by(self, context: Context) -> Iterator[None]:
        """Mark what is published inside as the doing of a call."""
        cause = Origin(context.connection_id, threading.Event())
        context.on_reply(cause.replied.set)
        self._cause = cause
        try:
            yield
        finally:
            self._cause = None

    def new_block(self, mined: MinedBlock) -> None:
        """Tell every listener of a block."""
        self._publish(NewBlock(mined, self._cause))

    def removed_block(self, mined: MinedBlock) -> None:
        """Notify every listener that a block was taken off the chain."""
        self._publish(RemovedBlock(mined, self._cause))

    def new_pending(self, transaction: Any) -> None:
        """Tell every listener of a transaction."""
        self._publish(NewPending(transaction, self._cause))

    def _publish(self, event: Event) -> None:
        for listener in list(self._listeners.values()):
            listener(event)
