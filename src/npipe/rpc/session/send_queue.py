"""Send queue of a connection: replies and calls first, then subscription notifications.

Sans-I/O: a driver takes bytes from the queue and writes them. Above ``high_water`` bytes the
session begins no further call, and callers wait. Calls that already run still add their replies:
the queue drops nothing, and the number of running calls bounds it.

Threads: any thread may add a message at any time; one thread at a time takes, while it holds the
driver's write lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from npipe.rpc.session.atomic import take_all

__all__ = ["SendQueue"]

PUSH_BYTES = 65536  # of all subscriptions in one write: a reply waits for at most this many


class Pushing(Protocol):
    """A subscription with queued notifications."""

    def take(self) -> bytes: ...
    def has_more(self) -> bool: ...


class SendQueue:
    """A queue of messages, and the subscriptions that have queued notifications."""

    __slots__ = ("_pushing", "_wrap", "closed", "high_water", "messages", "on_put", "size")

    def __init__(self, wrap: Callable[..., bytes], high_water: int) -> None:
        """Make an empty queue.

        Args:
            wrap: Frames messages.
            high_water: The high-water mark, in bytes.
        """
        self._wrap = wrap
        self.high_water: int = high_water
        self.closed: bool = False
        self.on_put: Callable[[], object] | None = None  # called, from any thread, after ``put``
        self.messages: list[bytes] = []
        self.size: int = 0  # their bytes, approximately: a concurrent ``+=`` may lose an addition
        self._pushing: deque[Pushing] = deque()

    def put(self, message: bytes) -> None:
        """Queue a message. Dropped if the queue is closed."""
        if not self.closed:
            self.messages.append(message)
            self.size += len(message)
            on_put = self.on_put  # read once: another thread may reset it in between
            if on_put is not None:
                on_put()

    def add(self, message: bytes) -> None:
        """Queue a message without a call of ``on_put``. Dropped if the queue is closed."""
        if not self.closed:
            self.messages.append(message)
            self.size += len(message)

    def put_pushes(self, subscription: Pushing) -> bool:
        """Register a subscription whose queue was empty. Return False if the queue is closed."""
        if not self.closed:
            self._pushing.append(subscription)
        return not self.closed

    @property
    def has_pushes(self) -> bool:
        """True when a subscription has queued notifications."""
        return bool(self._pushing)

    @property
    def above_high_water(self) -> bool:
        """True while more than ``high_water`` bytes of messages are queued.

        Subscriptions do not count; each has a limit of its own.
        """
        if self.size > self.high_water:  # rare: compute the exact size
            self.size = sum(map(len, self.messages[:]))
        return self.size > self.high_water

    def take(self, *, pushes: bool = False) -> bytes:
        """Return all bytes to be written, framed; with ``pushes`` also some notifications."""
        messages = take_all(self.messages)
        self.size = sum(map(len, self.messages)) if self.messages else 0
        if pushes and self._pushing:
            self._take_pushes(messages)
        return self._wrap(*messages) if messages else b""

    def _take_pushes(self, messages: list[bytes]) -> None:
        """Take one notification per subscription in turn, so that none delays the others."""
        size = 0
        while self._pushing and size < PUSH_BYTES:
            subscription = self._pushing.popleft()
            message = subscription.take()
            if message:
                messages.append(message)
                size += len(message)
            if subscription.has_more():
                self._pushing.append(subscription)

    def close(self) -> None:
        """Drop all messages, now and in future."""
        self.closed = True
        self.messages.clear()
        self.size = 0
        self._pushing.clear()
