"""Retries: the pauses between attempts, and the deadline of all attempts.

The four modules that connect (threads and asyncio, on POSIX and on Windows) use ``Attempts``; the
four that accept use ``Backoff``. This module does not use a socket, a pipe or a loop.
"""

from __future__ import annotations

import errno
import threading
import time

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport import checks

__all__ = ["Attempts", "Backoff", "accept_backoff"]


class Backoff:
    """Pause that doubles with each consecutive failure."""

    def __init__(self, first: float, last: float) -> None:
        """Set the first and the longest pause.

        Args:
            first: Pause after the first failure, in seconds.
            last: Longest pause, in seconds.
        """
        self._first = first
        self._last = last
        self._pause = 0.0

    @property
    def failures(self) -> bool:
        """Whether there was a failure since the last success."""
        return self._pause > 0

    def failed(self) -> float:
        """Record a failure; return the pause after it in seconds."""
        self._pause = min(2 * self._pause or self._first, self._last)
        return self._pause

    def succeeded(self) -> None:
        """Record a success, so that the next failure gets the first pause again."""
        self._pause = 0.0


def accept_backoff() -> Backoff:
    """Return the back-off for a failed ``accept``: from 5 ms to 1 second."""
    return Backoff(0.005, 1.0)


class Attempts:
    """The attempts of one ``connect``, with pauses from 1 ms to 50 ms.

    Attributes:
        deadline: Deadline of all attempts, a value of ``time.monotonic()`` in seconds; None means
            no deadline.
    """

    def __init__(
        self, address: Address, timeout: float | None, cancel: threading.Event | None = None
    ) -> None:
        """Compute the deadline.

        Args:
            address: Address of the server, for the error.
            timeout: Seconds for all attempts together; None means no limit.
            cancel: Event that prevents further attempts once it is set.

        Raises:
            ValueError: ``timeout`` is NaN or infinite.
            ClosedError: ``cancel`` is set already.
        """
        self._timeout = checks.duration(timeout)
        self.deadline: float | None = (
            None if self._timeout is None else time.monotonic() + self._timeout
        )
        self._address = address
        self._cancel = cancel
        self._backoff = Backoff(0.001, 0.05)
        self.check()

    def check(self) -> None:
        """Raise ClosedError if the attempts have been cancelled."""
        if self._cancel is not None and self._cancel.is_set():
            raise ClosedError("attempt to connect")

    def pause(self, why: str) -> float:
        """Return the pause before the next attempt.

        Args:
            why: The reason why the last attempt failed, for the error.

        Returns:
            Seconds to wait.

        Raises:
            TimeoutError: The deadline has passed.
        """
        pause = self._backoff.failed()
        if self.deadline is None:
            return pause
        left = self.deadline - time.monotonic()
        if left <= 0:
            text = f"{why} within {self._timeout} s"
            raise TimeoutError(errno.ETIMEDOUT, text, str(self._address))
        return min(pause, left)

    def sleep(self, why: str) -> None:
        """Block this thread for the pause before the next attempt.

        Args:
            why: The reason why the last attempt failed, for the error.

        Raises:
            TimeoutError: The deadline has passed.
            ClosedError: The attempts have been cancelled.
        """
        pause = self.pause(why)
        if self._cancel is None:
            time.sleep(pause)
        else:
            self._cancel.wait(pause)
            self.check()
