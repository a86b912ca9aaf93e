"""A wait for one TCP socket that any thread can end, on every system."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import Final

__all__ = ["Waiter"]

LONGEST: Final = 1e6  # seconds: poll() takes an int of milliseconds


class Waiter:
    """Lets one thread wait; any other may ``wake`` it.

    A ``wake`` while no thread waits ends the next wait at once.
    """

    def __init__(self, sock: socket.socket) -> None:
        # Not the default selector: epoll would use a descriptor for each connection.
        kind = getattr(selectors, "PollSelector", selectors.SelectSelector)
        self._selector: selectors.BaseSelector = kind()
        self._sock = sock
        self._events = selectors.EVENT_READ
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._selector.register(sock, self._events)
        self._selector.register(self._bell, selectors.EVENT_READ)

    def wait(self, timeout: float | None, *, to_write: bool = False) -> None:
        """Wait until the socket can be read (or written), ``wake`` is called, or the time is up.

        Only one thread at a time may wait. ``timeout`` is in seconds.
        """
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if to_write else 0)
        if events != self._events:
            self._events = events
            self._selector.modify(self._sock, events)
        for key, _ in self._selector.select(None if timeout is None else min(timeout, LONGEST)):
            if key.fileobj is self._bell:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)

    def wake(self) -> None:
        """End the wait. Does nothing after ``close``."""
        with contextlib.suppress(OSError):  # full: it is awake already; or closed
            self._ringer.send(b"\0")

    def close(self) -> None:
        """Close the descriptors except the socket. No thread may be waiting."""
        self._selector.close()
        self._bell.close()
        self._ringer.close()
