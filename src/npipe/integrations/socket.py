"""A connection with the methods of a connected ``socket.socket``.

For a library that accepts a socket, or a subclass that makes one: http.client, urllib3, PyMySQL,
paramiko, websocket-client. It does not work with a library that passes the socket to ``select``,
which cannot wait for Windows pipes: ``fileno`` raises an error there.
"""

from __future__ import annotations

import errno
import io
import socket
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Final, Self, Unpack

import npipe
from npipe.errors import ClosedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.integrations.options import ConnectOptions

__all__ = ["PipeSocket", "create_connection"]


def create_connection(
    address: str | npipe.Address, timeout: float | None = None, **options: Unpack[ConnectOptions]
) -> PipeSocket:
    """Connect to ``address`` and return a PipeSocket, like ``socket.create_connection``.

    Args:
        address: Address of the server.
        timeout: Seconds for connecting, and afterwards for each call; None means no limit.
        options: Options of ``npipe.connect``.

    Raises:
        OSError: As ``npipe.connect``.
    """
    return PipeSocket(npipe.connect(address, connect_timeout=timeout, **options), timeout)


class PipeSocket:
    """A connected, blocking stream socket over an ``npipe.Connection``.

    Args:
        connection: The connection, which is closed with the socket.
        timeout: Seconds that each call may take; None means no limit.
    """

    family: Final = getattr(socket, "AF_UNIX", 1)
    type: Final = socket.SOCK_STREAM
    proto: Final = 0

    def __init__(self, connection: npipe.Connection, timeout: float | None = None) -> None:
        self._connection = connection
        self._files = 0  # open files of makefile: the last one closes the connection
        self._closed = False
        self._ended = False  # shutdown: reads return the end
        self.settimeout(timeout)

    @property
    def connection(self) -> npipe.Connection:
        """The connection, with the identity of its ``peer``."""
        return self._connection

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def settimeout(self, seconds: float | None) -> None:
        """Set the time limit of each call, in seconds; None means no limit.

        Raises:
            ValueError: The timeout is 0, which means non-blocking for a socket, or negative.
        """
        if seconds is not None and not seconds > 0:
            raise ValueError("a pipe cannot be non-blocking: use a timeout above 0, or None")
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        return True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return at most ``size`` bytes; ``b""`` is the end. Raises TimeoutError, OSError."""
        _refuse(flags)
        try:
            self._connection.set_read_deadline(0.0 if self._ended else self._deadline())
            return self._connection.read(size)
        except (ClosedError, TimeoutError):
            if self._ended and not self._closed:
                return b""
            raise

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:
        """Read into ``buffer``; return the number of bytes, 0 at the end."""
        _refuse(flags)
        try:
            self._connection.set_read_deadline(0.0 if self._ended else self._deadline())
            if not size:
                return self._connection.readinto(buffer)
            with memoryview(buffer) as view, view.cast("B") as flat, flat[:size] as part:
                return self._connection.readinto(part)
        except (ClosedError, TimeoutError):
            if self._ended and not self._closed:
                return 0
            raise

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Send all of ``data`` within the timeout. Raises TimeoutError, OSError."""
        _refuse(flags)
        self._connection.set_write_deadline(self._deadline())
        self._connection.write(data)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Send all of ``data``; return its length in bytes."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Return a file on the socket, as ``socket.makefile`` does: text unless ``mode`` has "b".

        The connection is closed when the socket and all its files are.
        """
        if not set(mode) <= set("rwb"):
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        raw: Any = _File(self, mode)
        self._files += 1
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering in (None, -1) else buffering
        if raw.readable() and raw.writable():
            file: Any = io.BufferedRWPair(raw, raw, size or 1)
        else:
            file = (io.BufferedWriter if raw.writable() else io.BufferedReader)(raw, size or 1)
        return file if "b" in mode else io.TextIOWrapper(file, encoding, errors, newline)

    def shutdown(self, how: int) -> None:
        """Close one direction, or both; reads then return the end.

        Raises:
            io.UnsupportedOperation: For SHUT_WR on a Windows pipe of the byte type.
        """
        if how == socket.SHUT_WR:
            self._connection.close_write()
            return
        self._ended = True
        if how == socket.SHUT_RDWR:
            self._connection.close()
        else:
            self._connection.set_read_deadline(0.0)

    def close(self) -> None:
        """Close the socket; the connection too, unless a file of it is open. Idempotent."""
        self._closed = True
        self._close_unused()

    def fileno(self) -> int:
        """Return the descriptor, or -1 once closed.

        Raises:
            io.UnsupportedOperation: On Windows, where ``select`` cannot wait for a pipe.
        """
        if sys.platform == "win32":
            raise io.UnsupportedOperation("select() cannot wait for a Windows pipe")
        try:
            return self._connection.fileno()
        except ClosedError:
            return -1

    def detach(self) -> int:
        """Return the descriptor (on Windows the handle), and mark the socket as closed."""
        self._closed = True
        return self._connection.detach()

    def getpeername(self) -> str:
        return str(self._connection.remote_address)

    def getsockname(self) -> str:
        return str(self._connection.local_address)

    def setsockopt(self, *option: object) -> None:
        """Do nothing: TCP_NODELAY and keep-alive have no meaning for a pipe."""

    def _deadline(self) -> float | None:
        return None if self._timeout is None else time.monotonic() + self._timeout

    def _close_file(self) -> None:
        self._files -= 1
        self._close_unused()

    def _close_unused(self) -> None:
        if self._closed and not self._files:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _File(io.RawIOBase):
    """A raw file on a PipeSocket. It has the attribute ``sock``, which docker-py uses."""

    def __init__(self, sock: PipeSocket, mode: str) -> None:
        self.sock, self._mode = sock, mode

    def readable(self) -> bool:
        return "w" not in self._mode or "r" in self._mode

    def writable(self) -> bool:
        return "w" in self._mode

    def fileno(self) -> int:
        return self.sock.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self.sock.recv_into(buffer)

    def write(self, data: ReadableBuffer, /) -> int:
        return self.sock.send(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.sock._close_file()


def _refuse(flags: int) -> None:
    if flags:
        raise OSError(errno.EOPNOTSUPP, "flags such as MSG_PEEK are not supported on a pipe")
