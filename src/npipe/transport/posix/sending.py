"""Writing to a Unix socket without blocking, with the count of an incomplete write.

A ``Sender`` is used by the holder of the lock of the write direction. It tries first and waits only
if the socket takes no byte. An incomplete write is counted, or it ends the write side, because
another message after half a message would damage the stream.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.transport.checks import flat_view
from npipe.transport.posix.waiting import Direction

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Sender", "counted"]

# A write must not end a program that resets SIGPIPE to its default, as programs for `| head` do.
_FLAGS = int(socket.MSG_DONTWAIT) | int(getattr(socket, "MSG_NOSIGNAL", 0))
_LARGEST = 1 << 20  # bytes for each send(); macOS refuses more than INT_MAX
_INTERRUPTED = "an earlier write was interrupted, so the stream may be incomplete"


class Sender:
    """Write side of one connection.

    Attributes:
        writes: Number of writes that have begun. ``receiving.py`` expects a reply after each.
    """

    __slots__ = ("_direction", "_send", "_sending", "_shut", "_socket", "writes")

    def __init__(self, sock: socket.socket, direction: Direction) -> None:
        self.writes: int = 0
        self._direction = direction
        self._socket = sock
        self._send = sock.send
        self._shut = False
        self._sending = False  # a send has begun and its result is not known (yet)

    def send_all(self, data: ReadableBuffer) -> int:
        """Write all of ``data``; return its length in bytes."""
        with flat_view(data) as view:
            return self.send_bytes(view)

    def send_now(self, data: ReadableBuffer) -> int:
        """Write what the socket takes without waiting; return the number of bytes.

        ``_sending`` is used as in ``send_bytes``.
        """
        if self._direction.closed or self._shut or self._sending:
            self._require_writable()
        self._sending = True
        try:
            sent = self._send(data, _FLAGS)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            if error.errno is not None:
                self._sending = False
            raise self._cut(_explained(error), 0) from None
        self._sending = False
        return sent

    def shut(self) -> None:
        """Close the write side of the socket. A second call does nothing."""
        self._direction.check()
        if not self._shut:
            self._shut = True
            with contextlib.suppress(OSError):  # macOS: ENOTCONN when the peer is gone
                self._socket.shutdown(socket.SHUT_WR)

    def _require_writable(self) -> None:
        try:
            self._direction.check()
            if self._shut:
                raise ClosedError("connection's write side")
            if self._sending:
                raise BrokenPipeError(errno.EPIPE, f"{os.strerror(errno.EPIPE)}: {_INTERRUPTED}")
        except OSError as error:
            raise counted(error, 0) from None

    def send_bytes(self, data: bytes | memoryview) -> int:
        """Write all of ``data``, a sequence of bytes; return its length.

        ``_sending`` is true from before a send until its result has been added to ``sent``. An
        exception that a signal handler raises in between leaves it true: see
        ``_require_writable``.
        """
        writing, sent, size = self._direction, 0, len(data)
        if (
            writing.closed
            or (writing.deadline is not None and monotonic() >= writing.deadline)
            or self._shut
            or self._sending
            or writing.refused
        ):
            self._require_writable()
        self.writes += 1
        try:
            while sent < size:
                self._sending = True
                try:
                    # No slice is bound to a name: a traceback would hold a reference to it.
                    if sent or size > _LARGEST:
                        sent += self._send(memoryview(data)[sent : sent + _LARGEST], _FLAGS)
                    else:
                        sent = self._send(data, _FLAGS)
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
        return error if self._sending else counted(error, sent)


ErrorT = TypeVar("ErrorT", bound=BaseException)


def counted(error: ErrorT, sent: int) -> ErrorT:
    """Set ``characters_written`` of ``error`` to the number of bytes sent; return ``error``."""
    error.characters_written = sent  # type: ignore[attr-defined]
    return error


def _explained(error: OSError) -> OSError:
    """Return the error of a send; BrokenPipeError if the peer has closed."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        text = f"{os.strerror(errno.EPIPE)}: the peer has closed the connection"
        return BrokenPipeError(errno.EPIPE, text)
    return error
