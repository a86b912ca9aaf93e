"""Two connected ends in memory: the contract of ``Connection`` without a system under it.

For tests of what runs on a connection, in any number of threads. The pair passes the conformance
suite as the real ones do, which also keeps the suite honest: a case that only a socket can pass
is a case about sockets.
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
from npipe.transport import base

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["MemoryConnection", "memory_pair"]


def memory_pair(capacity: int = 65536) -> tuple[base.Connection, base.Connection]:
    """Return two connected ends. Each holds ``capacity`` unread bytes before writes wait."""
    there, back = _Flow(capacity), _Flow(capacity)
    return MemoryConnection(back, there), MemoryConnection(there, back)


class _Flow:
    """The bytes on their way in one direction, and what both ends have said about it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.changed = threading.Condition()  # guards everything here
        self.reader = _Side()
        self.writer = _Side()

    def wait(self, side: _Side) -> None:
        """Wait for a change. Raises ClosedError, TimeoutError. Needs ``changed``."""
        left = self.check(side)
        self.changed.wait(left)

    def check(self, side: _Side) -> float | None:
        """Return the seconds left to the side's deadline; raise if there are none."""
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
        self.turn = threading.Lock()  # one read at a time; one write at a time
        self.deadline: float | None = None
        self.closed = False
        self.shut = False  # nothing more will be written


class MemoryConnection(base.Connection):
    def __init__(self, incoming: _Flow, outgoing: _Flow) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        with self._incoming.reader.turn:
            return self._take(size)

    def readall(self) -> bytes:
        with self._incoming.reader.turn:
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
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

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
        view = memoryview(data).cast("B")
        flow, sent = self._outgoing, 0
        with flow.writer.turn:
            try:
                with flow.changed:
                    self._check_write()
                    while sent < len(view):
                        sent += self._put(view[sent:])
            except OSError as error:
                error.characters_written = sent  # type: ignore[attr-defined]
                raise
        return sent

    def _check_write(self) -> None:
        flow = self._outgoing
        flow.check(flow.writer)
        if flow.writer.shut:
            raise ClosedError("connection's write side")

    def _put(self, view: memoryview) -> int:
        """Hand over what there is room for, perhaps nothing after a wait."""
        flow = self._outgoing
        if flow.reader.closed:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        room = flow.capacity - len(flow.data)
        if room <= 0:
            flow.wait(flow.writer)
            return 0
        part = view[:room]
        flow.data += part
        flow.changed.notify_all()
        return len(part)

    def close_write(self) -> None:
        flow = self._outgoing
        with flow.writer.turn, flow.changed:
            flow.check(flow.writer)
            flow.writer.shut = True
            flow.changed.notify_all()

    def has_gone(self) -> bool:
        return self._outgoing.reader.closed

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
            side.deadline = base.deadline(when)
            flow.changed.notify_all()

    @property
    def local_address(self) -> Address:
        return Address("memory", "memory")

    @property
    def remote_address(self) -> Address:
        return Address("memory", "memory")

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity(pid=os.getpid())
