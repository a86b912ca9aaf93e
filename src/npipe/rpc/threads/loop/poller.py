"""Poller of many file descriptors: epoll on Linux, the best selector elsewhere.

Any thread may add, change and remove descriptors while another one waits: epoll and kqueue permit
that. Events are level-triggered: one that is not handled is reported again.
"""

from __future__ import annotations

import contextlib
import select
import selectors
import sys
import threading
from typing import Protocol

__all__ = ["READ", "WRITE", "Poller", "SelectorPoller", "make_poller"]

READ, WRITE = 1, 4  # the values of EPOLLIN and EPOLLOUT; any other bit: an error or a hang-up
MOST_EVENTS = 256  # per wait; the next wait reports the rest


class Poller(Protocol):
    """Reports which descriptors are ready."""

    def change(self, fd: int, before: int, now: int) -> None:
        """Wait for other events of a descriptor.

        Args:
            fd: The descriptor.
            before: The events waited for until now: 0, READ, WRITE or both.
            now: The events to wait for; 0 removes the descriptor, and no event of it is reported.
        """

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, each with its events.

        Args:
            seconds: The longest wait; None: until there is an event.
        """

    def close(self) -> None:
        """Release the descriptor of the poller; changes after that do nothing."""


class SelectorPoller:
    """A selector of the standard library that permits changes while a thread waits: kqueue."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()  # the selector's own tables are not thread-safe
        self._closed = False

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

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE * (events > 1)))
            for key, events in self._selector.select(seconds)
        ]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._selector.close()


def _events(wanted: int) -> int:
    """Return the events of ``selectors`` for READ and WRITE."""
    return (selectors.EVENT_READ * bool(wanted & READ)) | (
        selectors.EVENT_WRITE * bool(wanted & WRITE)
    )


if sys.platform == "linux":

    class EpollPoller:
        """epoll without the tables of ``selectors``: a microsecond less an event."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def change(self, fd: int, before: int, now: int) -> None:
            with contextlib.suppress(ValueError):  # it has been closed
                if not before:
                    self._epoll.register(fd, now)
                elif now:
                    self._epoll.modify(fd, now)
                else:
                    # A connection that was closed elsewhere is already removed.

                    with contextlib.suppress(OSError):
                        self._epoll.unregister(fd)

        def wait(self, seconds: float | None) -> list[tuple[int, int]]:
            return self._epoll.poll(seconds, MOST_EVENTS)

        def close(self) -> None:
            self._epoll.close()


def make_poller() -> Poller:
    """Return the fastest poller of this system."""
    if sys.platform == "linux":
        return EpollPoller()
    return SelectorPoller()
