"""Trying again: how long to pause between attempts, and when to give up.

The four places that connect (threads and asyncio, on POSIX and on Windows) drive ``Attempts``;
the four that accept drive ``Backoff``. No socket, pipe or loop is touched here.
"""

from __future__ import annotations

import errno
import threading
import time

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport import base

__all__ = ["Attempts", "Backoff", "accept_backoff"]


class Backoff:
    """A pause that doubles with each failure in a row."""

    def __init__(self, first: float, last: float) -> None:
        """Begin with a pause of ``first`` seconds; none is longer than ``last`` seconds."""
        self._first = first
        self._last = last
        self._pause = 0.0

    @property
    def failures(self) -> bool:
        """Whether there was a failure since the last success."""
        return self._pause > 0

    def failed(self) -> float:
        """Return how many seconds to pause after this failure."""
        self._pause = min(2 * self._pause or self._first, self._last)
        return self._pause

    def succeeded(self) -> None:
        """Begin with the first pause again."""
        self._pause = 0.0


def accept_backoff() -> Backoff:
    """Return the back-off of an ``accept`` that fails: 5 ms at first, a second in the end."""
    return Backoff(0.005, 1.0)


class Attempts:
    """The attempts of one ``connect``: soon again at first, then 20 times a second.

    Attributes:
        deadline: The ``time.monotonic()`` value to give up at; None means never.
    """

    def __init__(
        self, address: Address, timeout: float | None, cancel: threading.Event | None = None
    ) -> None:
        """Start the clock.

        Args:
            address: Where to connect, for the error.
            timeout: Seconds for all attempts together; None means no limit.
            cancel: Once set, no further attempt is made.

        Raises:
            ValueError: ``timeout`` is NaN or infinite.
            ClosedError: ``cancel`` is set already.
        """
        self._timeout = base.duration(timeout)
        self.deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._address = address
        self._cancel = cancel
        self._backoff = Backoff(0.001, 0.05)
        self.check()

    def check(self) -> None:
        """Raise ClosedError if the attempts have been cancelled."""
        if self._cancel is not None and self._cancel.is_set():
            raise ClosedError("attempt to connect")

    def pause(self, why: str) -> float:
        """Return how many seconds to wait before the next attempt.

        Args:
            why: The reason that the last one failed for, for the error.

        Raises:
            TimeoutError: The time for all attempts is up.
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
        """Wait for the next attempt in this thread.

        Raises:
            TimeoutError: The time for all attempts is up.
            ClosedError: The attempts have been cancelled.
        """
        pause = self.pause(why)
        if self._cancel is None:
            time.sleep(pause)
        else:
            self._cancel.wait(pause)
            self.check()
