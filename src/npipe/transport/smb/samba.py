r"""Serving a pipe of this system to the clients of a Samba server: ``\\host\pipe\name``.

For each client that opens the pipe, smbd connects to a Unix socket in a directory of its own and
sends the identity of the client (``npa.py``). The listener here listens on that socket and replies
to smbd. Its connections are Unix sockets with two differences:

* ``peer`` is the client as Samba authenticated it, not smbd;
* ``close`` returns at once, but the socket stays open until smbd has read everything and had time
  to forward it: on a hang-up smbd discards the bytes that its client has not read yet.

While smbd waits for the reply, the client's other files and pipes wait too. A thread of the
listener therefore replies, not the program's next call of ``accept``.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import io
import logging
import math
import os
import select
import socket
import sys
import termios
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

assert sys.platform != "win32"  # mypy then skips the rest on Windows

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity, peer_is_user
from npipe.transport import base
from npipe.transport.posix import files
from npipe.transport.posix.adopted import adopted_socket
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.files import BoundSocket
from npipe.transport.smb import npa
from npipe.transport.smb.acceptor import SambaAcceptor

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["DIRECTORY", "Access", "SambaConnection", "SambaListener", "linger"]

DIRECTORY: Final = "/run/samba/ncalrpc/np"  # on Debian; elsewhere: smbd -b, NCALRPCDIR
BACKLOG: Final = 128  # number of clients that may wait for `accept`
LINGER: Final = 10.0  # seconds that a client has after `close` to read the rest
PASSING_ON: Final = 0.02  # seconds that smbd needs to forward bytes that it has read

Access = str | Callable[[PeerIdentity], object]
log: logging.Logger = logging.getLogger(__name__)


class SambaConnection(PosixConnection):
    """A connection to a client of Samba, as ``SambaListener.accept`` returns it."""

    def __init__(self, sock: socket.socket, address: Address, peer: PeerIdentity) -> None:
        super().__init__(sock, address)
        self._peer = peer
        self._written = 0.0  # time.monotonic() of the last write

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        finally:
            self._written = time.monotonic()

    def close_write(self) -> None:
        self._require_open()
        raise io.UnsupportedOperation("a pipe behind Samba has no half-close")

    def close(self) -> None:
        if self.closed:
            return
        left = None
        with contextlib.suppress(OSError):  # no free descriptor: the last bytes may be lost
            left = self._socket.socket.dup()
        super().close()
        if left is not None:
            linger(left, self._written)

    def hand_over(self) -> socket.socket:
        """Return the socket to the caller and close this object."""
        self._require_open()
        taken = self._socket.socket.dup()
        super().close()
        return taken


def linger(sock: socket.socket, written: float = math.inf) -> None:
    """Close the socket once smbd has read and forwarded the written bytes; return at once.

    Args:
        sock: The socket, which this function owns.
        written: Time of the last write, a value of ``time.monotonic()``.
    """
    if not _unread(sock) and time.monotonic() >= written + PASSING_ON:
        sock.close()
        return
    # Not a daemon thread: the interpreter waits for it at exit.
    threading.Thread(target=_linger, args=(sock,), name="npipe-samba-linger").start()


def _linger(sock: socket.socket) -> None:
    """Close the socket when smbd has read and forwarded all bytes, or has closed it."""
    deadline = time.monotonic() + LINGER
    poll = select.poll()
    poll.register(sock, 0)  # a hang-up is always reported
    with sock:
        pause = 1.0  # milliseconds
        while _unread(sock) and time.monotonic() < deadline:
            if poll.poll(pause):
                return
            pause = min(2 * pause, 50)
        poll.poll(PASSING_ON * 1000)


def _unread(sock: socket.socket) -> int:
    """Return the number of written bytes that the peer has not read (TIOCOUTQ, tty(4))."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class SambaListener(base.Listener[SambaConnection]):
    r"""A listener whose clients open ``\\host\pipe\name`` of this computer through Samba.

    Args:
        name: The name of the pipe. Samba looks it up in lower case.
        access: The accounts that may connect, of those that Samba authenticated: "owner" (the
            user of this program, and root), "group" (the members of its group), "everyone" (every
            account), or a function that takes the PeerIdentity and returns whether to admit it.
        anonymous: Whether to admit also clients that did not log on, and clients of a Samba
            version whose identity message is unknown. ``access`` does not apply to them.
        directory: The directory in which Samba looks for the sockets of pipes. Only root may
            write to it, so root has to start the program, or the program has to ``adopt`` a
            socket from systemd.
        backlog: Number of clients that may wait to be accepted.

    Raises:
        ValueError: The name or an option is bad.
        FileNotFoundError: The directory does not exist: Samba was never started, or uses another
            directory.
        PermissionError: This user may not write to the directory.
        OSError: The name is served already (errno EADDRINUSE).
    """

    def __init__(
        self,
        name: str,
        *,
        access: Access = "owner",
        anonymous: bool = False,
        directory: str = DIRECTORY,
        backlog: int = BACKLOG,
    ) -> None:
        address = Address("unix", f"{directory}/{_checked_name(name)}")
        admits = _admission(access)
        bound = files.bind(address, mode=0o600, backlog=backlog)
        self._set_up(bound, admits, anonymous, backlog)

    def _set_up(
        self,
        bound: BoundSocket,
        admits: Callable[[PeerIdentity], object],
        anonymous: bool,
        backlog: int,
    ) -> None:
        """Set the attributes and start to accept; the listener owns ``bound`` from here on."""
        self._bound = bound
        self._admits = admits
        self._anonymous = anonymous
        self._backlog = max(1, backlog)
        self._state = threading.Condition(threading.RLock())  # guards _ready and _closed
        self._ready: collections.deque[SambaConnection] = collections.deque()
        self._closed = False
        self._acceptor = SambaAcceptor(
            bound.socket,
            wanted=lambda: len(self._ready) < self._backlog,
            arrived=self._arrived,
            name=bound.address.path,
        )

    @classmethod
    def adopt(
        cls,
        handle: int,
        address: Address,
        *,
        access: Access = "owner",
        anonymous: bool = False,
        backlog: int = BACKLOG,
    ) -> SambaListener:
        """Make a listener from a socket that systemd bound in Samba's directory.

        Args:
            handle: The file descriptor of a listening Unix stream socket.
            address: The address of the socket.
            access: The accounts that may connect; see the class.
            anonymous: Whether to admit also clients without an identity; see the class.
            backlog: Number of clients that may wait to be accepted.

        Returns:
            The listener, which owns the descriptor and which the caller closes.

        Raises:
            ValueError: ``handle`` is not such a socket, or ``access`` is bad.
            OSError: The system refuses.
        """
        admits = _admission(access)
        sock = adopted_socket(handle, listening=True)
        sock.setblocking(False)
        listener = cls.__new__(cls)
        listener._set_up(BoundSocket(sock, address, 0o600), admits, anonymous, backlog)
        return listener

    @property
    def address(self) -> Address:
        """The address of the socket that smbd connects to."""
        return self._bound.address

    def accept(self, timeout: float | None = None) -> SambaConnection:
        """Wait for the next admitted client and return the connection to it.

        Args:
            timeout: Seconds to wait, at most; None waits without a limit.

        Returns:
            The connection, which the caller closes.

        Raises:
            TimeoutError: No client connected in time.
            ClosedError: The listener has been closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._state:
            while not self._ready:
                if self._closed:
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("no client connected before the deadline")
                self._state.wait(left)
            if self._closed:
                raise ClosedError("listener")
            connection = self._ready.popleft()
            self._acceptor.wake()  # there is room for one more
            return connection

    def close(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
            self._bound.release()  # first, while no other socket can reuse the inode
            waiting, self._ready = self._ready, collections.deque()
            self._acceptor.close()  # and the socket with it
            self._state.notify_all()
        for connection in waiting:
            connection.close()

    def _arrived(self, sock: socket.socket, message: bytes) -> None:
        """Admit a client, or refuse it by closing the socket. Runs in the acceptor's thread."""
        peer = self._admitted(message)
        if peer is None:
            sock.close()
            return
        sock.send(npa.reply(npa.level_of(message)))  # 36 bytes always fit the empty socket buffer
        connection = SambaConnection(sock, self.address, peer)
        with self._state:
            if not self._closed:
                self._ready.append(connection)
                self._state.notify()
                return
        connection.close()

    def _admitted(self, message: bytes) -> PeerIdentity | None:
        """Return the identity of the client; None if it may not connect."""
        try:
            greeting = npa.parse(message)
        except npa.UnknownLevel as error:
            if self._anonymous:
                return PeerIdentity()
            log.error("refused a client of %s: %s", self.address, error)
            return None
        peer = greeting.peer
        if not greeting.authenticated and self._anonymous:
            return peer
        if greeting.authenticated and self._admits(peer):
            return peer
        log.info("refused %s\\%s (%s) on %s", peer.domain, peer.account, peer.host, self.address)
        return None

    def __repr__(self) -> str:
        state = "closed" if self._closed else "listening"
        return f"<{type(self).__name__} {self.address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_closed") or self._closed:
            return
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()


def _checked_name(name: str) -> str:
    """Return the name in the form that Samba looks up; raise ValueError if it is bad."""
    lower = name.lower()
    if not lower or "/" in lower or "\0" in lower or lower in (".", ".."):
        raise ValueError(rf"bad name {name!r}: give what follows \pipe\, without a slash")
    return lower


def _admission(access: Access) -> Callable[[PeerIdentity], object]:
    """Return a function that decides whether an authenticated client may connect.

    Raises:
        ValueError: ``access`` is none of the words and not a function.
    """
    if callable(access):
        return access
    if access == "owner":
        return lambda peer: peer_is_user(peer, os.geteuid())
    if access == "group":
        return lambda peer: os.getegid() in (peer.gid, *peer.groups)
    if access == "everyone":
        return lambda peer: True
    raise ValueError(f'access={access!r}: pass "owner", "group", "everyone" or a function')
