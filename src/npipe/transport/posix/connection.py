"""Connection over a Unix socket, which implements ``base.Connection`` with poll().

A call holds the lock of its direction and uses ``receiving.py`` or ``sending.py``. Waiting is in
``waiting.py``, connecting in ``connect.py``, accepting in ``listener.py``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base, checks
from npipe.transport.posix.adopted import adopted_socket
from npipe.transport.posix.peer import peer_of
from npipe.transport.posix.receiving import Receiver
from npipe.transport.posix.sending import Sender, counted
from npipe.transport.posix.shared_socket import SharedSocket
from npipe.transport.posix.waiting import POLLIN, POLLOUT, Direction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address

__all__ = ["PosixConnection"]


class PosixConnection(base.Connection):
    """Connected Unix socket, as ``connect``, ``Listener.accept`` or ``adopt`` returns it."""

    # Without slots CPython looks each attribute up in a dictionary, at a tenth of a call's cost.
    __slots__ = ("_address", "_in", "_out", "_peer", "_receiver", "_sender", "_socket", "mode")

    selectable = True

    def __init__(self, sock: socket.socket, address: Address, mode: str = "rw") -> None:
        """Take ownership of ``sock`` without changing its options or flags.

        Args:
            sock: A connected stream socket.
            address: The address of the server.
            mode: "r", "w" or "rw". The other direction is shut down, for both ends.
        """
        self._socket = SharedSocket(sock, (POLLIN, POLLOUT), "connection")
        self._in, self._out = self._socket.directions
        self._sender = Sender(sock, self._out)
        self._receiver = Receiver(sock, self._in, self._sender)
        self._address = address
        self._peer = peer_of(sock)
        self.mode: str = mode
        self._in.refused = "r" not in mode
        self._out.refused = "w" not in mode
        if mode != "rw":
            with contextlib.suppress(OSError):  # macOS: ENOTCONN when the peer is gone
                sock.shutdown(socket.SHUT_WR if mode == "r" else socket.SHUT_RD)

    @classmethod
    def adopt(cls, handle: int, address: Address) -> PosixConnection:
        return cls(adopted_socket(handle, listening=False), address)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        reading = self._in
        try:
            with reading.lock:
                if reading.busy:
                    raise reading.reentered()
                reading.busy = True
                try:
                    receiver = self._receiver
                    if receiver.unread or not size:
                        reading.check()
                        return receiver.take_unread(size)
                    return receiver.receive(size)
                finally:
                    reading.busy = False
        finally:
            if reading.closed:
                self._socket.release()

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        until = monotonic() + seconds
        with self._call(self._in) as reading:
            while True:
                reading.check()
                data = self._receiver.receive_now(size)
                if data is not None or monotonic() >= until:
                    return data
                os.sched_yield()  # the peer may need this core

    def read_now(self, size: int, /) -> bytes | None:
        reading = self._in
        if not reading.lock.acquire(False):
            if reading.closed:
                raise ClosedError
            return None
        try:
            if reading.busy:
                raise reading.reentered()
            if reading.closed:
                raise ClosedError
            return self._receiver.receive_now(size)
        finally:
            reading.lock.release()
            if reading.closed:
                self._socket.release()

    def readall(self) -> bytes:
        with self._call(self._in):
            return self._receiver.receive_all()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with self._call(self._in), checks.flat_view(buffer) as view:
            return self._receiver.receive_into(view)

    def wait_readable(self, timeout: float | None = None) -> bool:
        timeout = checks.duration(timeout)
        until = None if timeout is None else monotonic() + timeout
        with self._call(self._in) as reading:
            reading.check()
            return bool(self._receiver.unread) or reading.wait(until)

    def write(self, data: ReadableBuffer, /) -> int:
        writing = self._out
        try:
            with writing.lock:
                if writing.busy:
                    raise counted(writing.reentered(), 0)
                writing.busy = True
                try:
                    if type(data) is bytes:
                        return self._sender.send_bytes(data)
                    return self._sender.send_all(data)
                finally:
                    writing.busy = False
        finally:
            if writing.closed:
                self._socket.release()

    def write_now(self, data: ReadableBuffer, /) -> int:
        writing = self._out
        if not writing.lock.acquire(False):
            if writing.closed:
                raise ClosedError
            return 0
        try:
            if writing.busy:
                raise writing.reentered()
            return self._sender.send_now(data)
        finally:
            writing.lock.release()
            if writing.closed:
                self._socket.release()

    def unlocked(self) -> tuple[base.Receive, base.Send]:
        if self._receiver.unread:
            return super().unlocked()
        sock = self._socket.socket
        return sock.recv, sock.send

    def close_write(self) -> None:
        with self._call(self._out):
            self._sender.shut()

    def has_gone(self) -> bool:
        return self._socket.has_hung_up()

    def flush(self) -> None:
        self._out.check()

    def close(self) -> None:
        self._socket.shut()

    def hang_up(self) -> None:
        self._socket.shut(end=True)

    def detach(self) -> int:
        if self._receiver.unread:
            raise ValueError("a read that timed out has kept bytes: read them before detach")
        return self._socket.detach()

    @property
    def closed(self) -> bool:
        return self._in.closed

    def fileno(self) -> int:
        """Return the descriptor, which this object still owns."""
        self._require_open()
        return self._socket.socket.fileno()

    def set_read_deadline(self, when: float | None) -> None:
        self._require_open()
        self._in.deadline = checks.deadline(when)
        self._in.wake()

    def set_write_deadline(self, when: float | None) -> None:
        self._require_open()
        self._out.deadline = checks.deadline(when)
        self._out.wake()

    @property
    def local_address(self) -> Address:
        return self._address

    @property
    def remote_address(self) -> Address:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        return self._peer

    def _require_open(self) -> None:
        if self._in.closed:
            raise ClosedError

    @contextlib.contextmanager
    def _call(self, direction: Direction) -> Iterator[Direction]:
        """Hold a direction for one call; afterwards close the socket if ``close`` was called.

        ``read`` and ``write`` contain this code inline, for speed.
        """
        try:
            with direction.lock:
                if direction.busy:
                    raise direction.reentered()
                direction.busy = True
                try:
                    yield direction
                finally:
                    direction.busy = False
        finally:
            if direction.closed:
                self._socket.release()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd={self._socket.socket.fileno()}"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "mode") or self.closed:
            return
        try:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        finally:  # also where warnings are errors
            self.close()
