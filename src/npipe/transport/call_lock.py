"""One call at a time, and an error for a signal handler that calls in the middle of a call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["CallLock"]


class CallLock:
    """A lock that threads wait for, and that the thread which holds it cannot take twice.

    With a plain lock a signal handler would wait for its own thread, for ever; with an RLock it
    would get into the middle of the call that it interrupts.
    """

    def __init__(self) -> None:
        import threading  # not needed by `import npipe`, and a tenth of its time

        self._lock = threading.RLock()
        self._busy = False

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Hold the lock for one call.

        Raises:
            RuntimeError: This thread holds it already.
        """
        with self._lock:
            if self._busy:
                raise RuntimeError(
                    "this thread is in the middle of a call on the same connection: a signal "
                    "handler cannot make another one"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False
