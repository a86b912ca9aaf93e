"""A TCP port of this computer as an endpoint of ``relay`` and ``cat``.

Only the loopback interface is used, because TCP has no access rules. Every program of this computer
may connect to a port, as any user.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["TcpConnection", "TcpListener", "connect", "parse"]

LOOPBACK = {"": "127.0.0.1", "localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}


def parse(text: str) -> tuple[str, int]:
    """Return host and port of ``PORT`` or ``HOST:PORT``. Raises ValueError."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host not in LOOPBACK:
        raise ValueError(
            f"tcp:{text}: only the loopback interface is possible: write tcp:PORT (ssh -L can "
            f"forward a port of another computer)"
        )
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(
            f"tcp:{text}: {port!r} is not a port: write tcp:PORT, with a number up to 65535"
        )
    return LOOPBACK[host], int(port)


def connect(text: str, timeout: float | None) -> TcpConnection:
    """Connect to a port. Raises ValueError, OSError."""
    sock = socket.create_connection(parse(text), timeout)
    sock.settimeout(None)
    return TcpConnection(sock)


class TcpConnection(base.Connection):
    """A TCP connection of this computer. Deadlines are accepted and have no effect."""

    has_deadlines = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._closed = False
        self._writing = threading.Lock()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(65536), b""))
        try:
            data = self._socket.recv(size)
        except OSError:
            if self._closed:
                raise ClosedError from None
            raise
        if not data and self._closed:
            raise ClosedError
        return data

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        with self._writing:
            try:
                self._socket.sendall(data)
            except OSError:
                if self._closed:
                    raise ClosedError from None
                raise
        return memoryview(data).nbytes

    def has_gone(self) -> bool:
        """Tell whether the connection was reset.

        TCP does not distinguish half-close and close.
        """
        if self._closed:
            raise ClosedError
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def close_write(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def flush(self) -> None:
        """Return at once: written bytes are in the kernel."""

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # the peer may have disconnected
            self._socket.shutdown(socket.SHUT_RDWR)  # this wakes a read
        self._socket.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def set_read_deadline(self, when: float | None) -> None:
        pass

    def set_write_deadline(self, when: float | None) -> None:
        pass

    @property
    def local_address(self) -> Address:
        return _address(self._socket.getsockname())

    @property
    def remote_address(self) -> Address:
        return _address(self._socket.getpeername())

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity()


class TcpListener(base.Listener[TcpConnection]):
    """Listens on a port of the loopback interface; port 0 selects a free one."""

    def __init__(self, text: str) -> None:
        host, port = parse(text)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family)
        self._address = _address(self._socket.getsockname())
        self._waker, self._woken = socket.socketpair()
        self._accepting = threading.Lock()
        self._closed = False

    @property
    def address(self) -> Address:
        return self._address

    def accept(self, timeout: float | None = None) -> TcpConnection:
        with self._accepting:
            if not self._closed:
                ready, _, _ = select.select([self._socket, self._woken], [], [], timeout)
            if self._closed:
                raise ClosedError
            if not ready:
                raise TimeoutError("no client connected before the deadline")
            sock, _ = self._socket.accept()
        return TcpConnection(sock)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._waker.close()  # its other end becomes readable, which ends an accept
        with self._accepting:
            self._socket.close()
            self._woken.close()


def _address(name: tuple[str, int]) -> Address:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return Address("unix", f"tcp:{host}:{name[1]}")
