"""Concurrency limits of methods: ``@rpc.method(concurrency=n)``, for both flavours."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable

from npipe.rpc.service.method import Method

__all__ = ["ConcurrencyLimits"]

Run = Callable[[], object]


class ConcurrencyLimits:
    """Counts the running calls of each method over all connections of a server.

    A waiting call occupies no thread and no task. ``_lock`` guards both tables; no call begins
    while it is held.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Method, int] = {}
        self._waiting: dict[Method, deque[Run]] = {}

    def enter(self, method: Method, run: Run) -> None:
        """Begin a call now, or when one of the method's calls has ended.

        Args:
            method: The called method.
            run: Begins the call; called without arguments, possibly by the thread that calls
                ``leave``. It must not block.
        """
        with self._lock:
            running = self._running.get(method, 0)
            if running >= (method.options.concurrency or sys.maxsize):
                self._waiting.setdefault(method, deque()).append(run)
                return
            self._running[method] = running + 1
        run()

    def leave(self, method: Method) -> None:
        """Record that a call of the method has ended, and begin the next waiting one."""
        with self._lock:
            waiting = self._waiting.get(method)
            if not waiting:
                self._running[method] -= 1
                return
            run = waiting.popleft()
        run()
