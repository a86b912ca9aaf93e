"""Socket that several directions use, and which is closed when no call uses it. POSIX only.

* A descriptor is closed only when no call uses it, because its number could then refer to another
  file. ``close`` does not wait for the calls, because a signal handler may call it during the call
  that it ends: the last call to leave closes the descriptor.
* After ``os.fork`` the child makes new locks and wakers. A waker inherited from the parent would
  consume wake-ups that are meant for the parent.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterator

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.transport.posix.waiting import Direction

__all__ = ["SharedSocket"]


class SharedSocket:
    """Socket with its directions, which is closed exactly once, when no call uses it."""

    __slots__ = (
        "__weakref__",
        "_done",
        "_guard",
        "_inherited",
        "_unblock",
        "_users",
        "directions",
        "socket",
    )

    def __init__(
        self, sock: socket.socket, events: tuple[int, ...], what: str, *, unblock: bool = False
    ) -> None:
        """Take ownership of ``sock`` and make its directions.

        Args:
            sock: The socket.
            events: The poll() events; one direction is made for each.
            what: Noun for errors: "connection", "listener".
            unblock: Whether to set blocking mode before the socket is closed or detached.
        """
        self.socket: socket.socket = sock
        self._guard = threading.RLock()
        self.directions: tuple[Direction, ...] = tuple(
            Direction(sock.fileno(), each, self._guard, what) for each in events
        )
        self._done = False
        self._inherited = False  # this process is a forked child of the one that made it
        self._unblock = unblock
        self._users = 0
        _open_sockets.add(self)

    def shut(self, *, end: bool = False) -> None:
        """Fail every call in flight and every later one. A second call does nothing.

        Args:
            end: End the stream in both directions, also for other processes; not in a forked child.
        """
        with self._guard:
            for direction in self.directions:
                direction.closed = True
                direction.wake()
            if end and not (self._done or self._inherited):
                with contextlib.suppress(OSError):  # macOS: ENOTCONN when the peer is gone
                    self.socket.shutdown(socket.SHUT_RDWR)
        self.release()

    def release(self) -> None:
        """Close the socket if ``shut`` was called and no call uses the socket.

        Each call that leaves a closed direction calls this after it has released the lock, so the
        last of them finds all locks free.
        """
        with contextlib.ExitStack() as held, self._guard:
            for direction in self.directions:
                if self._done or self._users or not direction.lock.acquire(blocking=False):
                    return
                held.callback(direction.lock.release)
                if direction.busy:  # a signal handler runs this during that call
                    return
            self._done = True
            for direction in self.directions:
                direction.discard()
            self._restore()
            self.socket.close()

    def detach(self) -> int:
        """Fail every call, wait until they have ended, and return the descriptor.

        Returns:
            The descriptor, which the caller closes.

        Raises:
            ClosedError: The socket is closed already.
            RuntimeError: A signal handler calls this during a call of its thread.
        """
        with self._guard:
            if self._done or self.directions[0].closed:
                raise ClosedError(self.directions[0]._what)
            for direction in self.directions:
                if direction.lock.acquire(blocking=False):
                    busy = direction.busy
                    direction.lock.release()
                    if busy:
                        raise direction.reentered()
            self._done = True  # so that release() leaves the descriptor open
        self.shut()
        for direction in self.directions:
            with direction.lock:
                direction.discard()
        while self._users:
            time.sleep(0)
        self._restore()
        return self.socket.detach()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[int]:
        """Keep the descriptor open in the block, without waiting for calls in flight.

        Yields:
            The descriptor.

        Raises:
            ClosedError: The socket is closed.
        """
        with self._guard:
            if self._done or self.directions[0].closed:
                raise ClosedError(self.directions[0]._what)
            self._users += 1
        try:
            yield self.socket.fileno()
        finally:
            with self._guard:
                self._users -= 1
            if self.directions[0].closed:
                self.release()

    def has_hung_up(self) -> bool:
        """Tell whether the peer has closed the socket, or this end has. Never blocks."""
        with self._guard:  # keeps it open, but for a signal handler of this thread that closes it
            if self._done or self.directions[0].closed:
                return True
            poll = select.poll()
            poll.register(self.socket.fileno(), 0)  # a hang-up and an error are always reported
            return bool(poll.poll(0)) or self.directions[0].closed

    def after_fork(self) -> None:
        """Keep the descriptor of the parent and replace all locks and wakers."""
        self._guard = threading.RLock()
        self._users = 0
        self._inherited = True
        for direction in self.directions:
            direction._guard = self._guard
            direction.after_fork()

    def _restore(self) -> None:
        if self._unblock:
            with contextlib.suppress(OSError):
                self.socket.setblocking(True)


# The only mutable state of the module: a fork concerns the whole process, and only a function
# registered for the process is called after it. Only ``SharedSocket`` adds to the set.
_open_sockets: weakref.WeakSet[SharedSocket] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for shared in list(_open_sockets):
        shared.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
