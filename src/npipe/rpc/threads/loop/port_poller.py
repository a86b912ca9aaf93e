"""Poller of pipes on Windows: one completion port for all connections of a server.

It makes the level-triggered events of ``Poller`` from the reads and writes of the port. A
connection that is waited for has a read begun. When the read has ended, READ is reported until
``read_now`` has returned its bytes; the next wait begins the next read. WRITE is reported while no
write waits for the peer to read.
"""

from __future__ import annotations

import threading

from npipe.rpc.threads.loop.poller import READ, WRITE
from npipe.transport.base import Connection
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.constants import INFINITE
from npipe.transport.windows.port import CompletionPort
from npipe.transport.windows.port_channel import PortChannel

__all__ = ["PortPoller"]

WAKE = -1  # no handle: the descriptor of the event of ``wake``


class PortPoller:
    """A completion port as a ``Poller``. The descriptors are the handles of the pipes.

    ``_lock`` guards ``_ready``, ``_waiting``, ``_woken`` and the interests: a thread that changes
    an interest while the leader waits wakes it if there is an event.
    """

    def __init__(self, api: Kernel32 | None = None) -> None:
        """Make a poller.

        Args:
            api: The bindings; None loads those of this process.

        Raises:
            OSError: The system cannot make a port.
        """
        self._port = CompletionPort(api)
        self._lock = threading.RLock()  # a signal handler may call ``change`` and ``wake``
        self._ready: dict[PortChannel, None] = {}  # those that may have an event, in order
        self._waiting = False
        self._woken = False

    def attach(self, connection: Connection) -> bool:
        return (
            isinstance(connection, WindowsConnection)
            and connection.mode == "rw"
            and connection.attach(self._port) is not None
        )

    def change(self, fd: int, before: int, now: int) -> None:
        channel = self._port.channels.get(fd)
        if channel is None:  # it has been closed
            return
        with self._lock:
            channel.interest = now
            self._ready[channel] = None
            wake = self._waiting and bool(self._events(channel))
        if wake:
            self._port.wake()

    def wait(self, seconds: float | None, /) -> list[tuple[int, int]]:
        with self._lock:
            ready = self._collect()
            self._waiting = True
        ended = self._port.wait(0 if ready else _milliseconds(seconds))
        with self._lock:
            self._waiting = False
            self._ready.update(dict.fromkeys(ended))
            return self._collect()

    def wake(self) -> None:
        with self._lock:
            wake, self._woken = not self._woken, True
        if wake:
            self._port.wake()

    def drain(self, fd: int) -> None:
        if fd == WAKE:
            with self._lock:
                self._woken = False

    def close(self) -> None:
        self._port.close()

    def _collect(self) -> list[tuple[int, int]]:
        """Return the channels with events, and forget the others. The caller holds the lock."""
        events = [(WAKE, READ)] if self._woken else []
        for channel in tuple(self._ready):
            if event := self._events(channel):
                events.append((channel.handle, event))
            else:
                del self._ready[channel]
        return events

    def _events(self, channel: PortChannel) -> int:
        """Begin a read if one is due; return the events that are waited for and have come."""
        interest = channel.interest
        event = WRITE if interest & WRITE and channel.writable else 0
        if interest & READ:
            channel.arm()
            event |= READ if channel.readable else 0
        return event


def _milliseconds(seconds: float | None) -> int:
    """Return the time to wait, rounded up: a deadline must have passed after it."""
    return INFINITE if seconds is None else min(int(seconds * 1000) + (seconds > 0), INFINITE - 1)
