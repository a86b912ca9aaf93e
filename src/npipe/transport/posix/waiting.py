"""Wait for a descriptor in a way that any other thread can end. POSIX only.

A ``Direction`` is one direction of a connection (or the accepting of a listener): its lock, its
deadline, and the ``Waker`` by which other threads make it look again. It moves no byte.

Two rules make it right:

* A thread that changes what a waiter depends on (the deadline, ``closed``) changes it first and
  wakes the waiter then; a waiter first announces that it waits and looks at those values then.
  So either the waiter sees the new value or it is woken.
* A descriptor is closed only when no call is using it, or its number could by then belong to
  another file. ``close`` does not wait for that, because a signal handler may call it in the
  middle of the very call it ends: the last call to return closes it (``SharedSocket``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import threading
from time import monotonic

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError

__all__ = ["PATIENCE", "POLLIN", "POLLOUT", "Direction", "SharedSocket", "timed_out"]

POLLIN = select.POLLIN
POLLOUT = select.POLLOUT
PATIENCE = 0.01  # seconds: see Direction.may_block
_LONGEST_POLL = 1e6  # seconds: poll() takes an int of milliseconds


class Direction:
    """One direction. Hold ``lock`` to ``wait`` and to use the descriptor; anyone may ``ring``."""

    __slots__ = (
        "_bell",
        "_events",
        "_fd",
        "_gate",
        "_poll",
        "_waits",
        "_what",
        "closed",
        "deadline",
        "lock",
    )

    def __init__(self, fd: int, events: int, gate: threading.RLock, what: str) -> None:
        self.lock = threading.Lock()
        self.deadline: float | None = None
        self.closed = False
        self._fd = fd
        self._events = events
        self._gate = gate
        self._what = what
        self._poll: select.poll | None = None  # made at the first wait, as is the bell:
        self._bell: Waker | None = None  # an idle connection costs one descriptor
        self._waits = False

    def check(self) -> None:
        """Raise ClosedError or TimeoutError if it is closed or past its deadline."""
        if self.closed:
            raise ClosedError(self._what)
        if self.deadline is not None and monotonic() >= self.deadline:
            raise timed_out()

    def may_block(self) -> bool:
        """Say whether a call may block in the kernel for PATIENCE; raise as ``check`` does.

        In a conversation the answer mostly comes soon, and then one blocking call is quicker than
        poll() and a call. It cannot be woken, so it is kept short; only after it comes ``wait``.
        """
        if self.closed:
            raise ClosedError(self._what)
        if self.deadline is None:
            return True
        left = self.deadline - monotonic()
        if left <= 0:
            raise timed_out()
        return left > PATIENCE

    def prepare(self) -> select.poll:
        """Make now what the first ``wait`` would make: descriptors may be short by then."""
        if self.closed:  # discard() has been here, or soon will: make nothing that it would miss
            raise ClosedError(self._what)
        if self._poll is None:
            bell = Waker()
            poll = select.poll()
            poll.register(self._fd, self._events)
            poll.register(bell.reader, POLLIN)
            self._bell, self._poll = bell, poll
        return self._poll

    def wait(self) -> None:
        """Return when the descriptor is ready. Raises ClosedError, TimeoutError."""
        poll = self._poll or self.prepare()
        self._waits = True
        try:
            while True:
                ready = poll.poll(self._left())
                if len(ready) == 1 and ready[0][0] == self._fd:
                    return
                if ready:
                    self._hush()
        finally:
            self._waits = False

    def pause(self, seconds: float) -> None:
        """Let time pass, at most ``seconds``; be woken as ``wait`` is."""
        self.prepare()
        assert self._bell is not None
        poll = select.poll()
        poll.register(self._bell.reader, POLLIN)
        self._waits = True
        try:
            left = self._left()
            if poll.poll(seconds * 1000 if left is None else min(left, seconds * 1000)):
                self._hush()
        finally:
            self._waits = False

    def ring(self) -> None:
        """Make whoever waits look again. Call it after the change that it should see."""
        if self._waits:
            with self._gate:
                if self._bell is not None:
                    self._bell.ring()

    def discard(self) -> None:
        """Close the bell. Only with ``lock`` held, when closed."""
        with self._gate:
            bell, self._bell, self._poll = self._bell, None, None
            if bell is not None:
                bell.close()

    def _left(self) -> float | None:
        """Return the milliseconds to the deadline, as poll() wants them; raise as ``check``."""
        if self.closed:
            raise ClosedError(self._what)
        if self.deadline is None:
            return None
        left = self.deadline - monotonic()
        if left <= 0:
            raise timed_out()
        return min(left, _LONGEST_POLL) * 1000

    def _hush(self) -> None:
        if self._bell is not None:
            self._bell.hush()


class SharedSocket:
    """A socket and its lanes; closes it exactly once, when no lane is in use any more."""

    __slots__ = ("_done", "_gate", "_lanes", "socket")

    def __init__(self, sock: socket.socket, events: tuple[int, ...], what: str) -> None:
        self.socket = sock
        self._gate = threading.RLock()
        self._lanes = tuple(Direction(sock.fileno(), each, self._gate, what) for each in events)
        self._done = False

    @property
    def lanes(self) -> tuple[Direction, ...]:
        """One for each of the events it was made with."""
        return self._lanes

    def shut(self) -> None:
        """Fail every call in flight and every later one. Idempotent."""
        with self._gate:
            for lane in self._lanes:
                lane.closed = True
                lane.ring()
        self.release()

    def release(self) -> None:
        """Close the socket if it is shut and no call is using it. Each call that leaves a closed
        lane calls this, with the lane's lock released: the last one finds all locks free.
        """
        held: list[Direction] = []
        with self._gate:
            try:
                for lane in self._lanes:
                    if self._done or not lane.lock.acquire(blocking=False):
                        return
                    held.append(lane)
                self._done = True
                for lane in self._lanes:
                    lane.discard()
                self.socket.close()
            finally:
                for lane in held:
                    lane.lock.release()


class Waker:
    """A descriptor that poll() sees as readable once ``ring`` was called, until ``hush``."""

    __slots__ = ("_writer", "reader")

    def __init__(self, *, eventfd: bool = sys.platform == "linux") -> None:
        if sys.platform == "linux" and eventfd:  # one descriptor instead of two
            self.reader = self._writer = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.reader, self._writer = os.pipe()
            os.set_blocking(self.reader, False)
            os.set_blocking(self._writer, False)

    def ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: it rings already
            os.write(self._writer, b"\1\0\0\0\0\0\0\0")  # eventfd takes 8 bytes, a pipe any

    def hush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def close(self) -> None:
        os.close(self.reader)
        if self._writer != self.reader:
            os.close(self._writer)


def timed_out() -> TimeoutError:
    """Return the error of a deadline that passed."""
    return TimeoutError(errno.ETIMEDOUT, f"{os.strerror(errno.ETIMEDOUT)}: the deadline passed")
