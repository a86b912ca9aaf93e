"""What happens on the chain, told to whoever listens: filters and subscriptions.

Imports no py-evm and starts no thread: ``publish`` runs the listeners where it is called, which is
the chain's worker, so they see everything in order and must not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain import Mined

__all__ = ["Event", "Hub", "NewBlock", "NewPending"]


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block was added to the chain."""

    mined: Mined


@dataclass(frozen=True, slots=True)
class NewPending:
    """A transaction was accepted and is not in a block yet."""

    transaction: Any


Event = NewBlock | NewPending


class Hub:
    """The listeners. Used from the worker only, but for ``remove``, which any thread may call."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[Event], None]] = {}
        self._next = 0

    def add(self, listener: Callable[[Event], None]) -> int:
        """Call ``listener`` with each event from now on; the number returned removes it."""
        self._next += 1
        self._listeners[self._next] = listener
        return self._next

    def remove(self, number: int) -> None:
        """Forget a listener; one that is not there is nothing."""
        self._listeners.pop(number, None)

    def publish(self, event: Event) -> None:
        """Tell every listener."""
        for listener in list(self._listeners.values()):
            listener(event)
