"""The TCP connection of a handshake, with the methods that smbprotocol expects of a transport."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from npipe.transport.smb.waiter import Waiter

try:
    from smbprotocol.exceptions import SMBConnectionClosed
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        f'remote pipes need {_missing.name}: pip install "npipe[smb]"', name=_missing.name
    ) from None

__all__ = ["SocketTransport"]

FRAME_LIMIT: Final = 1 << 18  # bytes; a log-on with a Kerberos ticket has about ten thousand


class SocketTransport:
    """A TCP connection to an SMB server, in the form of smbprotocol's transport.

    Every wait ends at ``deadline``, or when another thread calls ``abort``.
    """

    def __init__(self, deadline: float) -> None:
        self.connected: bool = False
        self.broken: str = ""
        """The error in a received message, if there was one."""
        self._deadline = deadline
        self._guard = threading.Lock()
        self._sock: socket.socket | None = None
        self._waiter: Waiter | None = None
        self._ended = False

    def open(self, host: str, port: int) -> None:
        """Connect to the server. Raises OSError, also socket.gaierror and TimeoutError."""
        sock = socket.create_connection((host, port), timeout=self.left())
        _set_options(sock)
        with self._guard:
            self._sock, self._waiter = sock, Waiter(sock)
            self.connected = not self._ended

    def left(self) -> float:
        """Return the remaining seconds. Raises TimeoutError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "the deadline passed")
        return left

    def connect(self) -> None:
        """Do nothing: the transport is connected."""

    def send(self, message: Any) -> None:
        """Send one message, bytes or a structure of smbprotocol, with its length."""
        sock = self._sock
        if sock is None or not self.connected:
            raise SMBConnectionClosed("the connection has ended")
        body: bytes = message if isinstance(message, bytes) else message.pack()
        data = memoryview(len(body).to_bytes(4, "big") + body)
        try:
            while data:
                data = data[self._when_ready(sock.send, data, to_write=True) :]
        except OSError as error:
            self.abort()
            raise SMBConnectionClosed(str(error)) from error

    def recv(self, timeout: float) -> bytes:
        """Return the next message, or ``b""`` at the end. For smbprotocol's thread."""
        del timeout  # the deadline applies instead
        try:
            size = int.from_bytes(self._exactly(4), "big")
            if size > FRAME_LIMIT:
                self.broken = f"a message of {size} bytes in the handshake"
                raise OSError(errno.EMSGSIZE, self.broken)
            return self._exactly(size)
        except OSError:
            self.connected = False  # before the return, because smbprotocol reads it then
            return b""

    def close(self) -> None:
        """End the connection. smbprotocol calls it after an invalid reply."""
        self.abort()

    def abort(self) -> None:
        """End the connection and every wait for it, from any thread."""
        self.stop()
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the socket, once no other thread uses it."""
        if self._waiter is not None:
            self._waiter.close()
        if self._sock is not None:
            self._sock.close()

    def hand_over(self) -> socket.socket:
        """Return the open socket, and end smbprotocol's thread. Raises TimeoutError."""
        self.left()
        with self._guard:
            if self._ended or self._sock is None:
                raise TimeoutError(errno.ETIMEDOUT, "connecting was cancelled")
            taken = self._sock.dup()
        self.stop()
        taken.setblocking(False)
        return taken

    def stop(self) -> None:
        """End every wait. A connection that was handed over stays open."""
        with self._guard:
            self._ended = True
            self.connected = False
            if self._waiter is not None:
                self._waiter.wake()

    def _exactly(self, size: int) -> bytes:
        sock = self._sock
        assert sock is not None
        data = b""
        while len(data) < size:
            part: bytes = self._when_ready(sock.recv, size - len(data))
            if not part:
                raise ConnectionResetError(
                    errno.ECONNRESET, "the SMB server has closed the connection"
                )
            data += part
        return data

    def _when_ready(self, call: Callable[[Any], Any], data: Any, *, to_write: bool = False) -> Any:
        """Call a function until it does not block. Raises OSError."""
        assert self._waiter is not None
        while True:
            if self._ended:
                raise ConnectionAbortedError(errno.ECONNABORTED, "connecting was cancelled")
            try:
                return call(data)
            except BlockingIOError:
                self._waiter.wait(self.left(), to_write=to_write)


def _set_options(sock: socket.socket) -> None:
    """Disable delays of small messages, and enable TCP keepalive."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
