"""Poller of many connections: its interface. ``make_poller`` chooses the one of this system.

Any thread may add, change and remove connections while another one waits. Events are
level-triggered: one that is not handled is reported again.
"""

from __future__ import annotations

from typing import Protocol

from npipe.transport.base import Connection

__all__ = ["READ", "WRITE", "Poller"]

READ, WRITE = 1, 4  # the values of EPOLLIN and EPOLLOUT; any other bit: an error or a hang-up


class Poller(Protocol):
    """Reports which connections are ready. Its descriptors are the ``fileno()`` of those."""

    def attach(self, connection: Connection) -> bool:
        """Have a connection ready for ``change``. Return False if the poller cannot take it."""

    def change(self, fd: int, before: int, now: int) -> None:
        """Wait for other events of a descriptor.

        Args:
            fd: The descriptor.
            before: The events waited for until now: 0, READ, WRITE or both.
            now: The events to wait for; 0 removes the descriptor, and no event of it is reported.
        """

    def wait(self, seconds: float | None, /) -> list[tuple[int, int]]:
        """Return the descriptors that are ready, each with its events.

        Args:
            seconds: The longest wait; None: until there is an event.
        """

    def wake(self) -> None:
        """End the wait of another thread, or the next one. May be called from any thread."""

    def drain(self, fd: int) -> None:
        """Handle an event that belongs to no connection."""

    def close(self) -> None:
        """Release the descriptors of the poller; changes after that do nothing."""
