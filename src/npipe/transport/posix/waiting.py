"""Waits for a socket that any other thread can end. POSIX only.

A ``Direction`` is the read side or the write side of a connection, or the accept side of a
listener. It has a lock, a deadline, and a ``Waker`` by which other threads end its wait. This
module does not transfer bytes.

Every wait is a ``poll`` of the socket and the waker; the calls that transfer bytes never block. No
setting of the socket is therefore changed: SO_RCVTIMEO, SO_SNDTIMEO and O_NONBLOCK belong to the
open file description (man page open(2)), which a child process or another library may share. The
invariants:

* A thread that changes a condition of a wait (deadline, closed) stores it first and calls ``wake``
  afterwards; a wait sets ``_waiting`` and makes the waker first and reads the conditions
  afterwards. So the wait either reads the new value or is woken.
* ``lock`` is an RLock, so that a signal handler that runs during a call does not wait for its own
  thread. ``busy`` then shows that a call is in progress, and the handler's call raises an error.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
import time
from time import monotonic

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.transport.posix.waker import Waker

__all__ = ["POLLIN", "POLLOUT", "SHORTAGE", "Direction", "timed_out"]

POLLIN = select.POLLIN
POLLOUT = select.POLLOUT
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors for a lack of descriptors or memory, which ends when other files are closed."""
_LONGEST_POLL = 1e6  # seconds; poll() takes an int of milliseconds
_SLICE = 0.02  # seconds between two checks of a wait without a waker


class Direction:
    """One direction of a socket.

    A thread that calls ``wait`` or uses the socket holds ``lock`` and has set ``busy``. Any thread
    may call ``wake``.

    Attributes:
        lock: Held by the call in progress.
        busy: Whether a call is in progress. Only the holder of ``lock`` reads and writes it.
        deadline: Time at which waits end, a value of ``time.monotonic()`` in seconds; None means
            no deadline.
        closed: Whether the direction is closed, so that every call fails.
        refused: Whether the connection was opened without this direction.
    """

    __slots__ = (
        "_events",
        "_fd",
        "_guard",
        "_poll",
        "_waiting",
        "_waker",
        "_what",
        "busy",
        "closed",
        "deadline",
        "lock",
        "refused",
    )

    def __init__(self, fd: int, events: int, guard: threading.RLock, what: str) -> None:
        self.lock: threading.RLock = threading.RLock()
        self.busy: bool = False
        self.deadline: float | None = None
        self.closed: bool = False
        self.refused: bool = False
        self._fd = fd
        self._events = events
        self._guard = guard  # held while the waker is created, used or closed
        self._what = what
        self._poll: select.poll | None = None  # made at the first wait, like the waker:
        self._waker: Waker | None = None  # an idle connection costs one descriptor
        self._waiting = False

    def reentered(self) -> RuntimeError:
        """Return the error of a call made by a signal handler during a call of the same kind."""
        return RuntimeError(
            f"this thread is in the middle of a call on the same {self._what}: a signal handler "
            f"cannot make another one"
        )

    def check(self) -> None:
        """Raise the error of a direction that is closed, refused or past its deadline."""
        if self.closed:
            raise ClosedError(self._what)
        if self.refused:
            does = "writes" if self._events == POLLIN else "reads"
            raise io.UnsupportedOperation(f"this end of the {self._what} only {does}")
        if self.deadline is not None and monotonic() >= self.deadline:
            raise timed_out()

    def prepare(self) -> None:
        """Create the waker and the poll of the first ``wait`` while descriptors are free.

        Raises:
            OSError: No descriptor is free.
        """
        with self._guard:
            if self.closed:  # discard() may have run and would not close a new waker
                raise ClosedError(self._what)
            # A signal handler may raise between any two lines: ``discard`` must find the waker.
            if self._waker is None:
                self._waker = Waker()
            if self._poll is None:
                poll = self._new_poll()
                poll.register(self._waker.reader, POLLIN)
                self._poll = poll

    def wait(self, until: float | None = None) -> bool:
        """Wait until the socket is ready.

        Args:
            until: Time at which to return False, a value of ``time.monotonic()`` in seconds; the
                socket is checked once in any case.

        Returns:
            True if the socket is ready; False if ``until`` has passed.

        Raises:
            ClosedError: The direction has been closed.
            TimeoutError: Its deadline has passed.
        """
        self._waiting = True
        try:
            while True:
                poll = self._poll or self._poll_for_wait()
                if until is None and self.deadline is None and not self.closed:
                    left = None
                else:
                    left = self._left(until)
                if self._waker is None:
                    left = _SLICE * 1000 if left is None else min(left, _SLICE * 1000)
                ready = poll.poll(left)
                if len(ready) == 1 and ready[0][0] == self._fd:
                    return True
                if ready and self._waker is not None:
                    self._waker.drain()
                if left == 0:
                    return False
        finally:
            self._waiting = False

    def pause(self, seconds: float) -> None:
        """Wait for at most ``seconds`` without watching the socket; ``wake`` ends the wait.

        Raises:
            ClosedError: The direction has been closed.
            TimeoutError: Its deadline has passed.
        """
        self._waiting = True
        try:
            left = self._left(monotonic() + seconds)
            waker = self._waker
            if left and waker is not None:
                poll = select.poll()
                poll.register(waker.reader, POLLIN)
                if poll.poll(left):
                    waker.drain()
            elif left:
                time.sleep(min(left / 1000, _SLICE))
        finally:
            self._waiting = False

    def wake(self) -> None:
        """Make a wait read its conditions again. Call this after the change of a condition."""
        if self._waiting:
            with self._guard:
                waker = self._waker  # a signal handler may close it
                if waker is not None:
                    waker.wake()

    def discard(self) -> None:
        """Close the waker. Needs ``lock`` and ``closed``, or a forked child."""
        with self._guard:
            waker, self._waker, self._poll = self._waker, None, None
            if waker is not None:
                waker.close()

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held, and the waker."""
        if self.lock.acquire(blocking=False):  # free, or this thread has forked during a call
            self.lock.release()
        else:
            self.lock = threading.RLock()
            self.busy = False
        self.discard()

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._fd, self._events)
        return poll

    def _poll_for_wait(self) -> select.poll:
        """Return a poll of the socket and the waker; of the socket alone if descriptors ran out."""
        try:
            self.prepare()
        except OSError as error:
            if error.errno not in SHORTAGE:
                raise
        return self._poll or self._new_poll()

    def _left(self, until: float | None) -> float | None:
        """Return the timeout for poll(), by the deadline and ``until``.

        Returns:
            Milliseconds; 0 if ``until`` has passed; None without a deadline and without ``until``.

        Raises:
            ClosedError: The direction has been closed.
            TimeoutError: The deadline has passed.
        """
        if self.closed:
            raise ClosedError(self._what)
        end = self.deadline
        if end is None:
            end = until
            if end is None:
                return None
        now = monotonic()
        if self.deadline is not None and now >= self.deadline:
            raise timed_out()
        if until is not None and until < end:
            end = until
        left = end - now
        return 0 if left <= 0 else 1000 * (left if left < _LONGEST_POLL else _LONGEST_POLL)


def timed_out() -> TimeoutError:
    """Return the error for a deadline that has passed."""
    return TimeoutError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)}: the deadline passed")
