"""The send queue of a connection: messages first, then what subscriptions push.

Sans-I/O: a driver takes bytes from the queue and writes them. Above ``mark`` bytes (the high-water
mark) the queue is ``crowded``: the session begins no further call, and callers wait. Calls that
already run still add their replies, so the queue drops nothing, and the running calls bound it.

Threads: any thread may put a message at any time; one thread at a time takes, under the driver's
write lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["SendQueue"]

PUSH_BYTES = 65536  # of all subscriptions in one write: no reply waits behind more


class Pushing(Protocol):
    """A subscription with something in its queue."""

    def take(self) -> bytes: ...
    def has_more(self) -> bool: ...


class SendQueue:
    """A queue of messages, and the subscriptions that have something to be sent."""

    __slots__ = ("_pushing", "_wrap", "closed", "high_water", "messages", "on_put", "size")

    def __init__(self, wrap: Callable[..., bytes], high_water: int) -> None:
        """``wrap`` frames messages; ``high_water`` is in bytes."""
        self._wrap = wrap
        self.high_water = high_water
        self.closed = False
        self.on_put: Callable[[], object] | None = None  # called, from any thread, after ``put``
        self.messages: list[bytes] = []  # not empty: there is something to be taken
        self.size = 0  # bytes of them, roughly: threads that add at once may lose a step
        self._pushing: deque[Pushing] = deque()

    def put(self, message: bytes) -> None:
        """Queue a message."""
        if not self.closed:
            self.messages.append(message)
            self.size += len(message)
            on_put = self.on_put  # read once: another thread may take it away in between
            if on_put is not None:
                on_put()

    def put_pushes(self, subscription: Pushing) -> bool:
        """Note that a subscription has something to be taken, and had nothing. False: closed."""
        if not self.closed:
            self._pushing.append(subscription)
        return not self.closed

    @property
    def has_pushes(self) -> bool:
        """True when a subscription has something to be taken."""
        return bool(self._pushing)

    @property
    def above_high_water(self) -> bool:
        """True while more than ``high_water`` bytes of messages wait to be taken. (Each
        subscription has a limit of its own.)"""
        if self.size > self.high_water:  # rarely: count
            self.size = sum(map(len, self.messages[:]))
        return self.size > self.high_water

    def take(self, *, pushes: bool = False) -> bytes:
        """Return all bytes to be written, each message framed; with ``pushes`` also some of what
        the subscriptions have queued."""
        messages = self.messages[:]
        del self.messages[: len(messages)]  # what was queued meanwhile stays
        self.size = sum(map(len, self.messages)) if self.messages else 0
        if pushes:
            self._take_pushes(messages)
        return self._wrap(*messages) if messages else b""

    def _take_pushes(self, messages: list[bytes]) -> None:
        """Take one from each subscription in turn: a flood from one is no delay for the others."""
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
        """Drop everything, now and from now on."""
        self.closed = True
        self.messages.clear()
        self.size = 0
        self._pushing.clear()
