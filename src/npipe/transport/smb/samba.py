r"""Serving a pipe of this system to the clients of a Samba server: ``\\host\pipe\name``.

smbd connects each client that opens the pipe to a Unix socket in a directory of its own, and says
who the client is (``npa.py``). So a listener here is one on that socket which answers smbd, and
its connections are ones on Unix sockets, with two differences:

* ``peer`` is the client as Samba authenticated it, not smbd;
* ``close`` returns at once, but the socket stays open until smbd has read everything and had the
  time to pass it on: on a hang-up smbd throws away what its client has not read yet.

smbd waits for the answer, and the client's other files and pipes wait with it. That is why a
thread of the listener gives it, and not the program's next call of ``accept``.
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

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity, peer_is_user
from npipe.transport import base
from npipe.transport.posix import files
from npipe.transport.posix.connection import PosixConnection, adopted_socket
from npipe.transport.posix.files import BoundSocket
from npipe.transport.smb import npa
from npipe.transport.smb.acceptor import Acceptor

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["DIRECTORY", "Access", "SambaConnection", "SambaListener", "linger"]

DIRECTORY: Final = "/run/samba/ncalrpc/np"  # Debian's; elsewhere see smbd -b, NCALRPCDIR
BACKLOG: Final = 128  # clients that wait for `accept`
LINGER: Final = 10.0  # seconds that a client has to read what is left after `close`
PASSING_ON: Final = 0.02  # seconds that smbd needs for what it has read from the socket

Access = str | Callable[[PeerIdentity], object]
log = logging.getLogger(__name__)


class SambaConnection(PosixConnection):
    """A client that came through Samba. Made by ``SambaListener.accept``."""

    def __init__(self, sock: socket.socket, address: Address, peer: PeerIdentity) -> None:
        super().__init__(sock, address)
        self._peer = peer
        self._written = 0.0  # when, of the last byte

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
        with contextlib.suppress(OSError):  # no descriptor left: then a tail may be lost
            left = self._socket.socket.dup()
        super().close()
        if left is not None:
            linger(left, self._written)

    def hand_over(self) -> socket.socket:
        """Return the socket, to be used by something else; this object is closed."""
        self._require_open()
        taken = self._socket.socket.dup()
        super().close()
        return taken


def linger(sock: socket.socket, written: float = math.inf) -> None:
    """Close the socket once smbd has read and passed on what was written to it, last at
    ``written``, in ``time.monotonic()``. Returns at once.
    """
    if not _unread(sock) and time.monotonic() >= written + PASSING_ON:
        sock.close()
        return
    # Not a daemon: at the end of the program this is waited for, too.
    threading.Thread(target=_linger, args=(sock,), name="npipe-samba-linger").start()


def _linger(sock: socket.socket) -> None:
    """Close the socket when smbd has read all of it and passed it on, or has gone."""
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
    """Return how much of what was written the other end has not read; 0 if none."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


class SambaListener(base.Listener[SambaConnection]):
    r"""Listens behind Samba: its clients open ``\\host\pipe\name`` of this computer.

    Args:
        name: The pipe's name. Samba looks for it in lower case.
        access: Who may connect, of those whom Samba authenticated: "owner" (the user of this
            program, and root), "group" (its group's members), "everyone" (every account), or a
            function that is given the PeerIdentity and says yes or no.
        anonymous: Let clients in that did not log on, too, and those of a Samba that is unknown
            here and so cannot say who they are. What ``access`` says is not asked for them.
        directory: Where Samba looks for the sockets of pipes. Only root may write there, so the
            program has to be started by root, or to ``adopt`` a socket from systemd.
        backlog: How many clients may wait to be accepted.

    Raises:
        ValueError: A name or an option that cannot be.
        FileNotFoundError: There is no such directory: Samba was never started here, or keeps it
            elsewhere.
        PermissionError: This user may not write there.
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
        """Own ``bound``."""
        self._bound = bound
        self._admits = admits
        self._anonymous = anonymous
        self._backlog = max(1, backlog)
        self._state = threading.Condition(threading.RLock())  # guards what follows
        self._ready: collections.deque[SambaConnection] = collections.deque()
        self._closed = False
        self._acceptor = Acceptor(
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
        """Own a listening socket that systemd bound in Samba's directory, with descriptor
        ``handle``; the other options are those of the class.
        """
        admits = _admission(access)
        sock = adopted_socket(handle, listening=True)
        sock.setblocking(False)
        listener = cls.__new__(cls)
        listener._set_up(BoundSocket(sock, address, 0o600), admits, anonymous, backlog)
        return listener

    @property
    def address(self) -> Address:
        return self._bound.address

    def accept(self, timeout: float | None = None) -> SambaConnection:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._state:
            while not self._ready:
                if self._closed:
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("no client came in time")
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
            self._bound.release()  # first, while the inode cannot be another's
            waiting, self._ready = self._ready, collections.deque()
            self._acceptor.close()  # and the socket with it
            self._state.notify_all()
        for connection in waiting:
            connection.close()

    def _arrived(self, sock: socket.socket, message: bytes) -> None:
        """Admit a client, or close the socket, which refuses it. In the acceptor's thread."""
        peer = self._admitted(message)
        if peer is None:
            sock.close()
            return
        sock.send(npa.reply(npa.level_of(message)))  # 36 bytes: there is room for them
        connection = SambaConnection(sock, self.address, peer)
        with self._state:
            if not self._closed:
                self._ready.append(connection)
                self._state.notify()
                return
        connection.close()

    def _admitted(self, message: bytes) -> PeerIdentity | None:
        """Return who the client is; None if it may not connect."""
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
    """Return the name as Samba looks for it. Raises ValueError."""
    lower = name.lower()
    if not lower or "/" in lower or "\0" in lower or lower in (".", ".."):
        raise ValueError(rf"bad name {name!r}: give what follows \pipe\, without a slash")
    return lower


def _admission(access: Access) -> Callable[[PeerIdentity], object]:
    """Return what decides whether an authenticated client may connect. Raises ValueError."""
    if callable(access):
        return access
    if access == "owner":
        return lambda peer: peer_is_user(peer, os.geteuid())
    if access == "group":
        return lambda peer: os.getegid() in (peer.gid, *peer.groups)
    if access == "everyone":
        return lambda peer: True
    raise ValueError(f'access={access!r}: give "owner", "group", "everyone" or a function')
