"""What threads wait for: the reply to a call or batch, a wake-up, the end of a server.

A signal handler, which runs in the middle of a statement of the main thread, may call any of them.
The ``Event`` and ``Condition`` of ``threading`` do not permit that: a handler that sets an event
while the main thread is in ``set`` waits for a lock of its own thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Latch", "ReplyWaiter", "Wakeup", "callback_error", "notify_all"]

T = TypeVar("T")


class ReplyWaiter(Generic[T]):
    """A reply to wait for.

    ``OutgoingCalls`` calls it; a lock is the fastest primitive to wait on.
    """

    __slots__ = ("_done", "outcome")

    def __init__(self) -> None:
        self.outcome: T | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def __call__(self, outcome: T) -> None:
        self.outcome = outcome
        self._done.release()

    def wait(self, until: float | None) -> bool:
        """Wait for the outcome until ``until``, by time.monotonic(). Return False at that time."""
        if self.outcome is None:
            timeout = -1 if until is None else max(until - time.monotonic(), 0)
            if not self._done.acquire(timeout=timeout):
                return False
            self._done.release()
        return True


class Wakeup:
    """Wakes one thread that waits, or ends its next wait."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """End the wait, or the next one. May be called from any thread and signal handler."""
        if self._entries.empty():
            self._entries.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for ``set``. Return False if it was not called within ``timeout`` seconds."""
        try:
            self._entries.get(timeout=timeout)
        except Empty:
            return False
        return True


class Latch:
    """An event that happens once; any number of threads may wait for it."""

    __slots__ = ("_entries", "_set")

    def __init__(self) -> None:
        self._set = False
        self._entries: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """End all waits, now and in future. May be called from any thread and signal handler."""
        self._set = True
        self._entries.put(None)

    def is_set(self) -> bool:
        """Tell whether ``set`` was called."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for ``set``. Return False if it was not called within ``timeout`` seconds."""
        if not self._set:
            with contextlib.suppress(Empty):
                self._entries.get(timeout=timeout)
            if self._set:
                self._entries.put(None)  # for another thread
        return self._set


def callback_error() -> RuntimeError:
    """Return the error of a call that the thread that would read its reply makes."""
    return RuntimeError(
        "this thread reads the connection: a callback of on_cancel or on_progress, or an inline "
        "function, cannot wait for a reply in it; start a thread"
    )


def notify_all(condition: threading.Condition) -> None:
    """Wake all threads that wait for a condition, whose lock, an RLock, the caller holds.

    Args:
        condition: The condition.
    """
    # A signal handler that notifies in the middle of this has woken them.
    with contextlib.suppress(IndexError):
        condition.notify_all()
