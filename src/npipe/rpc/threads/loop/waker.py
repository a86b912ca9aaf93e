"""Waker: makes another thread's wait for descriptors return."""

from __future__ import annotations

import contextlib
import socket
import threading

__all__ = ["Waker"]


class Waker:
    """A pair of sockets, one of which is readable after ``wake`` until ``drain``."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.fd: int = self._reader.fileno()
        # Without it a byte could be sent to another socket, which has the number of the closed one.
        self._lock = threading.RLock()

    def wake(self) -> None:
        """Make it readable. May be called from any thread."""
        with self._lock, contextlib.suppress(OSError):  # full, so already readable; or closed
            self._writer.send(b"\1")

    def drain(self) -> None:
        """Make it unreadable. Check the reasons for ``wake`` afterwards."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            self._reader.close()
            self._writer.close()
