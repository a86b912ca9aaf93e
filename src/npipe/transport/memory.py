"""Two connected ends in memory that implement ``Connection`` without system calls.

They serve tests of code that runs on a connection, in any number of threads, and a client and a
server in one process. The pair passes the same conformance suite as the real connections, which
also shows that no case of the suite depends on a property of sockets.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base, checks
from npipe.transport.call_lock import CallLock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["MemoryConnection", "memory_pair"]


def memory_pair(
    capacity: int = 65536, *, peer: PeerIdentity | None = None
) -> tuple[base.Connection, base.Connection]:
    """Make two connected ends in memory.

    Args:
        capacity: Number of unread bytes that each end holds before writes to it wait.
        peer: Identity that each end reports for the other; None reports this process.

    Returns:
        The two connections, which the caller closes.
    """
    there, back = _Flow(capacity), _Flow(capacity)
    peer = peer or PeerIdentity(pid=os.getpid())
    return MemoryConnection(back, there, peer), MemoryConnection(there, back, peer)


class _Flow:
    """The bytes in transit in one direction, and the state of both ends of it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data: bytearray = bytearray()
        self.changed: threading.Condition = threading.Condition()  # guards every attribute
        self.reader: _Side = _Side()
        self.writer: _Side = _Side()

    def wait(self, side: _Side, until: float | None = None) -> None:
        """Wait for a change, until the time ``until`` at most. The caller holds ``changed``."""
        left = self.check(side)
        if until is not None:
            left = min(threading.TIMEOUT_MAX if left is None else left, until - time.monotonic())
        self.changed.wait(left)

    def check(self, side: _Side) -> float | None:
        """Return the seconds left until the deadline of ``side``; None means no deadline.

        Raises:
            ClosedError: The side has been closed.
            TimeoutError: No time is left.
        """
        if side.closed:
            raise ClosedError
        if side.deadline is None:
            return None
        left = side.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        return min(left, threading.TIMEOUT_MAX)


class _Side:
    def __init__(self) -> None:
        self.lock: CallLock = CallLock()  # one read at a time; one write at a time
        self.deadline: float | None = None
        self.closed = False
        self.shut = False  # nothing more will be written
        self.unknown = False  # a write was interrupted and its count is not known (yet)


class MemoryConnection(base.Connection):
    """One end of a pair. Made by ``memory_pair``."""

    def __init__(self, incoming: _Flow, outgoing: _Flow, peer: PeerIdentity) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = peer

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        with self._incoming.reader.lock.call():
            return self._take(size)

    def readall(self) -> bytes:
        with self._incoming.reader.lock.call():
            got = bytearray()
            try:
                while part := self._take(self._incoming.capacity):
                    got += part
            except BaseException:
                with self._incoming.changed:
                    self._incoming.data[:0] = got
                raise
            return bytes(got)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with checks.flat_view(buffer) as view:
            if view.readonly:
                raise TypeError("readinto() needs a buffer that can be written to")
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)

    def wait_readable(self, timeout: float | None = None) -> bool:
        timeout = checks.duration(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        flow = self._incoming
        with flow.reader.lock.call(), flow.changed:
            flow.check(flow.reader)
            while not flow.data and not flow.writer.shut:
                if until is not None and time.monotonic() >= until:
                    return False
                flow.wait(flow.reader, until)
            flow.check(flow.reader)
            return True

    def _take(self, size: int) -> bytes:
        flow = self._incoming
        with flow.changed:
            flow.check(flow.reader)
            while not flow.data and not flow.writer.shut and size:
                flow.wait(flow.reader)
            data = bytes(flow.data[:size])
            del flow.data[:size]
            flow.changed.notify_all()
            return data

    def write(self, data: ReadableBuffer, /) -> int:
        with checks.flat_view(data) as view:
            return self._write_all(view)

    def _write_all(self, view: memoryview) -> int:
        flow, sent = self._outgoing, 0
        with flow.writer.lock.call():
            try:
                with flow.changed:
                    self._check_write()
                    while sent < view.nbytes:
                        room = self._await_room()
                        flow.writer.unknown = True
                        flow.data += view[sent : sent + room]  # no name: a traceback would hold it
                        sent = min(sent + room, view.nbytes)
                        flow.writer.unknown = False
                        flow.changed.notify_all()
            except BaseException as error:
                if not flow.writer.unknown:
                    error.characters_written = sent  # type: ignore[attr-defined]
                raise
        return sent

    def _check_write(self) -> None:
        flow = self._outgoing
        flow.check(flow.writer)
        if flow.writer.shut:
            raise ClosedError("connection's write side")
        if flow.writer.unknown:
            raise BrokenPipeError(
                errno.EPIPE, "an earlier write was interrupted, so the stream may be incomplete"
            )

    def _await_room(self) -> int:
        """Wait for room in the buffer; return its size in bytes."""
        flow = self._outgoing
        while True:
            if flow.reader.closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            flow.check(flow.writer)
            if (room := flow.capacity - len(flow.data)) > 0:
                return room
            flow.wait(flow.writer)

    def close_write(self) -> None:
        flow = self._outgoing
        with flow.writer.lock.call(), flow.changed:
            flow.check(flow.writer)
            flow.writer.shut = True
            flow.changed.notify_all()

    def has_gone(self) -> bool:
        return self.closed or self._outgoing.reader.closed

    def flush(self) -> None:
        with self._outgoing.changed:
            self._outgoing.check(self._outgoing.writer)

    def close(self) -> None:
        with self._incoming.changed:
            self._incoming.reader.closed = True
            self._incoming.changed.notify_all()
        with self._outgoing.changed:
            self._outgoing.writer.closed = self._outgoing.writer.shut = True
            self._outgoing.changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._incoming.reader.closed

    def set_read_deadline(self, when: float | None) -> None:
        self._set(self._incoming, self._incoming.reader, when)

    def set_write_deadline(self, when: float | None) -> None:
        self._set(self._outgoing, self._outgoing.writer, when)

    def _set(self, flow: _Flow, side: _Side, when: float | None) -> None:
        with flow.changed:
            if side.closed:
                raise ClosedError
            side.deadline = checks.deadline(when)
            flow.changed.notify_all()

    @property
    def local_address(self) -> Address:
        return Address("memory", "memory")

    @property
    def remote_address(self) -> Address:
        return Address("memory", "memory")

    @property
    def peer(self) -> PeerIdentity:
        return self._peer
