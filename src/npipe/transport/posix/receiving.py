"""Reading from a Unix socket: non-blocking calls, and a short poll before a wait that sleeps.

A ``Receiver`` is used by the holder of the lock of the read direction. A read that finds data is
one system call. The first read after a write usually finds none, because the reply has not arrived
yet. That read first polls for ``_SPIN`` seconds, about the time that a thread takes to fall asleep
and wake up, and lets the peer run meanwhile, on this core (man page sched_yield(2)) or on another:
a reply that arrives in this time costs less than a read that sleeps. After a poll without a reply,
the next 1, 3, 7 … such reads sleep at once, so a slow peer costs nothing, nor does an idle
connection.
"""

from __future__ import annotations

import os
import socket
import sys
from time import monotonic

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.transport.posix.sending import Sender
from npipe.transport.posix.waiting import Direction

__all__ = ["Receiver"]

_sched_yield = os.sched_yield
_DONTWAIT = int(socket.MSG_DONTWAIT)
_CHUNK = 65536  # bytes for each recv() of a read to the end
# recv() allocates memory for the full size, and the kernel holds less; macOS refuses to transfer
# more than INT_MAX bytes at once.
_LARGEST = 1 << 20
_SPIN = 25e-6  # seconds; a reply from another core takes less, and a wake-up about as long
_LONGEST_REST = 1023  # replies not looked for after failures; a yield may cost milliseconds


class Receiver:
    """Read side of one connection.

    Attributes:
        unread: Bytes of a read to the end that was interrupted; ``take_unread`` returns them.
    """

    __slots__ = (
        "_direction",
        "_failures",
        "_recv",
        "_recv_into",
        "_rest",
        "_sender",
        "_writes",
        "unread",
    )

    def __init__(self, sock: socket.socket, direction: Direction, sender: Sender) -> None:
        self._direction = direction
        self._sender = sender
        self._recv, self._recv_into = sock.recv, sock.recv_into
        self.unread: bytearray = bytearray()
        self._writes = 0  # those of the sender at the last read
        self._failures = self._rest = 0

    def receive(self, size: int) -> bytes:
        """Return at most ``size`` new bytes; wait until there are any."""
        reading = self._direction
        if reading.deadline is not None or reading.closed or reading.refused:
            reading.check()
        size = min(size, _LARGEST)
        try:
            if self._writes != self._sender.writes:
                self._writes = self._sender.writes
                if self._rest:
                    self._rest -= 1
                elif (data := self._receive_soon(size)) is not None:
                    return data
                reading.wait()
            while True:
                try:
                    return self._recv(size, _DONTWAIT)
                except BlockingIOError:
                    reading.wait()
        except ConnectionResetError:
            return b""  # the peer closed with unread bytes; all of its bytes were read

    def receive_all(self) -> bytes:
        """Return all bytes until the end of the stream. If this raises, they are kept."""
        self._direction.check()
        while part := self.receive(_CHUNK):
            self.unread += part
        whole, self.unread = self.unread, bytearray()
        return bytes(whole)

    def receive_into(self, view: memoryview) -> int:
        """Read into ``view``, first from ``unread``; return the number of bytes."""
        reading = self._direction
        reading.check()
        if self.unread or not len(view):
            data = self.take_unread(len(view))
            view[: len(data)] = data
            return len(data)
        while True:
            try:
                return self._recv_into(view, min(len(view), _LARGEST), _DONTWAIT)
            except BlockingIOError:
                reading.wait()
            except ConnectionResetError:
                return 0

    def receive_now(self, size: int) -> bytes | None:
        """Return at most ``size`` bytes; None if there are none now."""
        if self.unread:
            return self.take_unread(size)
        try:
            return self._recv(min(size, _LARGEST), _DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def _receive_soon(self, size: int) -> bytes | None:
        """Return bytes that arrive within ``_SPIN`` seconds; None if there were none."""
        until = monotonic() + _SPIN
        while True:
            _sched_yield()
            try:
                data = self._recv(size, _DONTWAIT)
            except BlockingIOError:
                data = None
            if monotonic() >= until:  # also with data: other programs need this core
                self._failures = self._rest = min(2 * self._failures + 1, _LONGEST_REST)
                return data
            if data is not None:
                self._failures = 0
                return data

    def take_unread(self, size: int) -> bytes:
        """Return at most ``size`` of the bytes that an interrupted read kept."""
        data = bytes(self.unread[:size])
        del self.unread[:size]  # a bytearray drops its front without copying the rest
        return data
