"""Pollers of file descriptors: epoll on Linux, the best selector elsewhere on POSIX.

epoll and kqueue permit changes while another thread waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import sys
import threading
from collections.abc import Callable

from npipe.rpc.threads.loop.poller import READ, WRITE
from npipe.rpc.threads.loop.waker import Waker
from npipe.transport.base import Connection

__all__ = ["SelectorPoller", "WokenPoller"]


class WokenPoller:
    """Base of the pollers of file descriptors: it owns the ``Waker``."""

    def __init__(self) -> None:
        self._waker = Waker()

    def attach(self, connection: Connection) -> bool:
        return connection.selectable

    def wake(self) -> None:
        self._waker.wake()

    def drain(self, fd: int) -> None:
        if fd == self._waker.fd:
            self._waker.drain()

    def close(self) -> None:
        self._waker.close()


class SelectorPoller(WokenPoller):
    """A selector of the standard library that permits changes while a thread waits: kqueue."""

    def __init__(self) -> None:
        super().__init__()
        # The selector's own tables are not thread-safe. A signal handler may call ``change``.
        self._lock = threading.RLock()
        self._closed = False
        try:
            self._selector = selectors.DefaultSelector()
            self.change(self._waker.fd, 0, READ)
        except BaseException:
            super().close()
            raise

    def change(self, fd: int, before: int, now: int) -> None:
        with self._lock:
            if self._closed:
                return
            if not before:
                self._selector.register(fd, _events(now))
            elif now:
                self._selector.modify(fd, _events(now))
            else:
                self._selector.unregister(fd)

    def wait(self, seconds: float | None, /) -> list[tuple[int, int]]:
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE * (events > 1)))
            for key, events in self._selector.select(seconds)
        ]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._selector.close()
        super().close()


def _events(wanted: int) -> int:
    """Return the events of ``selectors`` for READ and WRITE."""
    return (selectors.EVENT_READ * bool(wanted & READ)) | (
        selectors.EVENT_WRITE * bool(wanted & WRITE)
    )


if sys.platform == "linux":

    class EpollPoller(WokenPoller):
        """epoll without the tables of ``selectors``: each event costs one microsecond less."""

        def __init__(self) -> None:
            super().__init__()
            self._process = os.getpid()
            try:
                self._epoll = select.epoll()
                self.wait: Callable[[float | None], list[tuple[int, int]]] = self._epoll.poll
                self.change(self._waker.fd, 0, READ)
            except BaseException:
                super().close()
                raise

        def change(self, fd: int, before: int, now: int) -> None:
            if os.getpid() != self._process:
                return  # a forked child would change what its parent waits for (epoll(7))
            with contextlib.suppress(ValueError):  # it has been closed
                if not before:
                    self._epoll.register(fd, now)
                elif now:
                    self._epoll.modify(fd, now)
                else:
                    # A connection that was closed elsewhere is already removed.

                    with contextlib.suppress(OSError):
                        self._epoll.unregister(fd)

        def close(self) -> None:
            self._epoll.close()
            super().close()
