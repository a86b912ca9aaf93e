"""Events of the chain, delivered to filters and subscriptions.

Imports no py-evm and starts no thread. ``publish`` calls the listeners in the thread of the caller,
which is the worker of the chain, so they see the events in order and must not block.
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
    """The call that caused an event, and whether its reply has been queued.

    A client must get the hash of its own transaction before the event of the block. So
    subscriptions on the same connection wait for ``replied``.
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
    """A block was removed from the chain. Several are removed from the newest on."""

    mined: MinedBlock
    cause: Origin | None


@dataclass(frozen=True, slots=True)
class NewPending:
    """A transaction was accepted and is not in a block yet."""

    transaction: Any
    cause: Origin | None


Event = NewBlock | RemovedBlock | NewPending


class EventBus:
    """The listeners. Any thread may call ``add`` and ``remove``; only the worker calls the rest."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[Event], None]] = {}  # each step on it is atomic
        self._cause: Origin | None = None

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Callable[[Event], None]) -> object:
        """Call ``listener`` with each event from now on. Return a function that removes it."""
        token = object()
        self._listeners[token] = listener
        return token

    def remove(self, token: object) -> None:
        """Remove a listener, if it is there."""
        self._listeners.pop(token, None)

    @contextmanager
    def caused_by(self, context: Context) -> Iterator[None]:
        """Mark the events published in the block as caused by a call."""
        cause = Origin(context.connection_id, threading.Event())
        context.on_reply(cause.replied.set)
        self._cause = cause
        try:
            yield
        finally:
            self._cause = None

    def new_block(self, mined: MinedBlock) -> None:
        """Notify every listener of a new block."""
        self._publish(NewBlock(mined, self._cause))

    def removed_block(self, mined: MinedBlock) -> None:
        """Notify every listener of a removed block."""
        self._publish(RemovedBlock(mined, self._cause))

    def new_pending(self, transaction: Any) -> None:
        """Notify every listener of a pending transaction."""
        self._publish(NewPending(transaction, self._cause))

    def _publish(self, event: Event) -> None:
        for listener in list(self._listeners.values()):
            listener(event)
