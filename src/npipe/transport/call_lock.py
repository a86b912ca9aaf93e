"""Lock for a call: a signal handler that repeats the call gets an error, not a deadlock."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["CallLock"]


class CallLock:
    """Lock that blocks other threads and raises an error in the thread that holds it.

    With a ``threading.Lock`` a signal handler would wait for its own thread forever; with an
    ``RLock`` it would run in the middle of the call that it interrupts.
    """

    def __init__(self) -> None:
        import threading  # imported here: it would add a tenth to `import npipe`

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

    @contextlib.contextmanager
    def try_call(self, seconds: float) -> Iterator[bool]:
        """Hold the lock for one call if it becomes free within ``seconds``.

        Yields:
            True if this thread holds the lock for the call; False after ``seconds``, and at once
            if this thread is in the middle of another call.
        """
        held = self._lock.acquire(timeout=seconds)
        unused = held and not self._busy
        if unused:
            self._busy = True
        try:
            yield unused
        finally:
            if unused:
                self._busy = False
            if held:
                self._lock.release()
