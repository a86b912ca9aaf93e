"""Connection over a Unix socket, which implements ``base.Connection`` with poll().

A call tries first, without blocking (MSG_DONTWAIT), and waits in poll() only if that transferred no
byte, so a read that finds data is one system call. Only the first read after a write waits first,
because the reply has rarely arrived by then. Waiting is in ``waiting.py``, connecting in
``connect.py``, accepting in ``listener.py``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import sys
import warnings
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base, checks
from npipe.transport.posix.adopted import adopted_socket
from npipe.transport.posix.peer import peer_of
from npipe.transport.posix.shared_socket import SharedSocket
from npipe.transport.posix.waiting import POLLIN, POLLOUT, Direction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address

__all__ = ["PosixConnection"]

_DONTWAIT = socket.MSG_DONTWAIT
# A write must not end a program that resets SIGPIPE to its default, as programs for `| head` do.
_SEND_FLAGS = _DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_CHUNK = 65536  # bytes for each recv() of a read to the end
# recv() allocates memory for the full size, and the kernel holds less; macOS refuses to transfer
# more than INT_MAX bytes at once.
_LARGEST = 1 << 20
_INTERRUPTED = "an earlier write was interrupted, and how much of it was sent is unknown"


class PosixConnection(base.Connection):
    """Connected Unix socket, as ``connect``, ``Listener.accept`` or ``adopt`` returns it."""

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
        self._recv, self._send = sock.recv, sock.send
        self._recv_into = sock.recv_into
        self._address = address
        self._peer = peer_of(sock)
        self._unread = bytearray()  # bytes of a read to the end that was interrupted
        self._write_shut = False
        self._sending = False  # a send has begun and its result is not known (yet)
        self._answer_due = False  # whether a write followed the last read
        self.mode = mode
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
                    if self._unread or not size:
                        reading.check()
                        return self._take_unread(size)
                    return self._receive(size if size < _LARGEST else _LARGEST)
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
                if self._unread:
                    return self._take_unread(size)
                try:
                    return self._recv(min(size, _LARGEST), _DONTWAIT)
                except BlockingIOError:
                    if monotonic() >= until:
                        return None
                    os.sched_yield()  # the other end may need this core
                except ConnectionResetError:
                    return b""

    def read_now(self, size: int, /) -> bytes | None:
        reading = self._in
        if not reading.lock.acquire(blocking=False):
            if reading.closed:
                raise ClosedError
            return None
        try:
            if reading.busy:
                raise reading.reentered()
            if reading.closed:
                raise ClosedError
            if self._unread:
                return self._take_unread(size)
            return self._recv(min(size, _LARGEST), _DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""
        finally:
            reading.lock.release()
            if reading.closed:
                self._socket.release()

    def readall(self) -> bytes:
        with self._call(self._in) as reading:
            reading.check()
            while part := self._receive(_CHUNK):
                self._unread += part
            whole, self._unread = self._unread, bytearray()
            return bytes(whole)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with self._call(self._in) as reading, memoryview(buffer) as view:
            if not view.nbytes:  # one of several dimensions cannot be cast
                reading.check()
                return 0
            with view.cast("B") as flat:
                return self._receive_into(flat)

    def wait_readable(self, timeout: float | None = None) -> bool:
        timeout = checks.duration(timeout)
        until = None if timeout is None else monotonic() + timeout
        with self._call(self._in) as reading:
            reading.check()
            return bool(self._unread) or reading.wait(until)

    def write(self, data: ReadableBuffer, /) -> int:
        writing = self._out
        try:
            with writing.lock:
                if writing.busy:
                    raise _counted(writing.reentered(), 0)
                writing.busy = True
                try:
                    if type(data) is bytes:
                        return self._send_all(data)
                    with memoryview(data) as view:
                        if not view.nbytes:  # one of several dimensions cannot be cast
                            return self._send_all(b"")
                        with view.cast("B") as flat:
                            return self._send_all(flat)
                finally:
                    writing.busy = False
        finally:
            if writing.closed:
                self._socket.release()

    def write_now(self, data: ReadableBuffer, /) -> int:
        writing = self._out
        if not writing.lock.acquire(blocking=False):
            if writing.closed:
                raise ClosedError
            return 0
        try:
            if writing.busy:
                raise writing.reentered()
            if writing.closed or self._write_shut or self._sending:
                self._require_writable()
            try:
                return self._send(data, _SEND_FLAGS)
            except BlockingIOError:
                return 0
            except OSError as error:
                raise _counted(_explained(error), 0) from None
        finally:
            writing.lock.release()
            if writing.closed:
                self._socket.release()

    def close_write(self) -> None:
        with self._call(self._out) as writing:
            writing.check()
            if not self._write_shut:
                self._write_shut = True
                with contextlib.suppress(OSError):  # macOS: ENOTCONN when the peer is gone
                    self._socket.socket.shutdown(socket.SHUT_WR)

    def has_gone(self) -> bool:
        try:
            with self._socket.in_use() as descriptor:
                poll = select.poll()
                poll.register(descriptor, 0)  # a hang-up and an error are always reported
                return bool(poll.poll(0))
        except ClosedError:
            return True

    def flush(self) -> None:
        self._out.check()

    def close(self) -> None:
        self._socket.shut()

    def detach(self) -> int:
        if self._unread:
            raise ValueError("bytes that a read kept when it timed out have not been read yet")
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

    def _require_writable(self) -> None:
        try:
            self._out.check()
            if self._write_shut:
                raise ClosedError("connection's write side")
            if self._sending:
                raise BrokenPipeError(errno.EPIPE, f"{os.strerror(errno.EPIPE)}: {_INTERRUPTED}")
        except OSError as error:
            raise _counted(error, 0) from None

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

    def _take_unread(self, size: int) -> bytes:
        data = bytes(self._unread[:size])
        del self._unread[:size]  # a bytearray drops its front without copying the rest
        return data

    def _receive(self, size: int) -> bytes:
        """Return at most ``size`` bytes from the socket; wait until there are any."""
        reading = self._in
        if self._answer_due:
            if reading.refused:
                reading.check()
            self._answer_due = False
            reading.wait()
        elif reading.deadline is not None or reading.closed or reading.refused:
            reading.check()
        while True:
            try:
                return self._recv(size, _DONTWAIT)
            except BlockingIOError:
                reading.wait()
            except ConnectionResetError:
                return b""  # the peer closed with unread bytes; all of its bytes were read

    def _receive_into(self, flat: memoryview) -> int:
        """Read into ``flat``, first the bytes that a cut read kept; return their number."""
        reading = self._in
        reading.check()
        if self._unread:
            data = self._take_unread(len(flat))
            flat[: len(data)] = data
            return len(data)
        while True:
            try:
                return self._recv_into(flat, min(len(flat), _LARGEST), _DONTWAIT)
            except BlockingIOError:
                reading.wait()
            except ConnectionResetError:
                return 0

    def _send_all(self, data: bytes | memoryview) -> int:
        """Write all of ``data``; return its length.

        ``_sending`` is true from before a send until its result has been added to ``sent``. An
        exception that a signal handler raises in between leaves it true: see
        ``_require_writable``.
        """
        writing, sent, size = self._out, 0, len(data)
        if (
            writing.closed
            or (writing.deadline is not None and monotonic() >= writing.deadline)
            or self._write_shut
            or self._sending
            or writing.refused
        ):
            self._require_writable()
        self._answer_due = True
        try:
            while sent < size:
                self._sending = True
                try:
                    # No slice is bound to a name: a traceback would hold a reference to it.
                    if sent or size > _LARGEST:
                        sent += self._send(memoryview(data)[sent : sent + _LARGEST], _SEND_FLAGS)
                    else:
                        sent = self._send(data, _SEND_FLAGS)
                except BlockingIOError:
                    pass
                self._sending = False
                if sent < size:
                    writing.wait()
        except OSError as error:
            if error.errno is not None:  # raised by the system: this send sent no byte
                self._sending = False
            raise self._cut(_explained(error), sent) from None
        except BaseException as error:
            self._cut(error, sent)
            raise
        return sent

    def _cut(self, error: ErrorT, sent: int) -> ErrorT:
        return error if self._sending else _counted(error, sent)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd={self._socket.socket.fileno()}"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_write_shut") or self.closed:
            return
        try:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        finally:  # also where warnings are errors
            self.close()


ErrorT = TypeVar("ErrorT", bound=BaseException)


def _explained(error: OSError) -> OSError:
    """Return the error of a send; BrokenPipeError if the other end has closed."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        text = f"{os.strerror(errno.EPIPE)}: the other end has closed"
        return BrokenPipeError(errno.EPIPE, text)
    return error


def _counted(error: ErrorT, sent: int) -> ErrorT:
    """Set ``characters_written`` of ``error`` to the number of bytes sent; return ``error``."""
    error.characters_written = sent  # type: ignore[attr-defined]
    return error
