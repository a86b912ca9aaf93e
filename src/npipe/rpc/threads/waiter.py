"""The reply to a call or batch, for the thread that waits for it."""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

__all__ = ["ReplyWaiter"]

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
