"""Accepting connections on a Unix socket. Its file is the business of ``unix_files.py``."""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import threading
import time
import warnings
from typing import Any

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import mode_admits, mode_for
from npipe.transport import base
from npipe.transport.posix import files as unix_files
from npipe.transport.posix.connection import PosixConnection, adopted_socket, peer_of
from npipe.transport.posix.files import BoundSocket
from npipe.transport.posix.waiting import POLLIN, SharedSocket, timed_out

__all__ = ["PosixListener", "admits", "bind", "check_size", "listen"]

# No descriptor or memory for one more connection: wait until others are closed.
_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# The client was there and has gone: take the next one.
_CAME_AND_WENT = {errno.ECONNABORTED, errno.EPROTO}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 1.0  # seconds


def bind(
    address: Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    patience: float | None = None,
) -> BoundSocket:
    """Make a listening, non-blocking socket with the access asked for.

    While another process does the same at the same address this waits, in a blocking way, for
    ``patience`` seconds (0: not at all; None: long enough); then it raises TimeoutError.

    The caller serves ``.socket`` and calls ``.release()`` before closing it. Clients of an
    abstract socket it must check with ``admits``. Raises as ``listen`` does.
    """
    mode = mode_for(access)
    if backlog is None:
        backlog = socket.SOMAXCONN
    elif not isinstance(backlog, int) or backlog < 0:
        raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
    if address.kind == "pipe":
        raise ValueError(f"bad address {str(address)!r}: there are no Windows pipes on this system")
    return unix_files.bind(address, mode=mode, backlog=backlog, patience=patience)


def admits(bound: BoundSocket, sock: socket.socket) -> bool:
    """Say whether the client connected by ``sock`` may be served.

    The kernel has seen to it where the socket has a file. An abstract socket has none, so its
    clients are measured by the mode that the file would have had.
    """
    if bound.address.kind != "abstract":
        return True
    return mode_admits(bound.mode, peer_of(sock), os.geteuid(), os.getegid())


def listen(
    address: Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
) -> PosixListener:
    """Serve ``address``; see ``npipe.listen``, whose last three options concern Windows only."""
    check_size(buffer_size)
    del message_mode, reject_remote, buffer_size  # each is true of a Unix socket as it is
    bound = bind(address, access=access, backlog=backlog)
    try:
        return PosixListener(bound)
    except BaseException:
        bound.release()
        bound.socket.close()
        raise


def check_size(buffer_size: int) -> None:
    """Raise ValueError for what is no size of a buffer, though none is set by it here."""
    if not isinstance(buffer_size, int) or buffer_size < 0:
        raise ValueError(f"buffer_size={buffer_size!r}: give a number of bytes")


class PosixListener(base.Listener[PosixConnection]):
    """A listening Unix socket. Made by ``listen`` or ``adopt``."""

    def __init__(self, bound: BoundSocket) -> None:
        """Own the socket, unless this raises."""
        self._bound = bound
        self._descriptor = SharedSocket(bound.socket, (POLLIN,), "listener")
        (lane,) = self._descriptor.lanes
        lane.prepare()  # now: later there may be no descriptor left to make a bell of
        self._lane = lane

    @classmethod
    def adopt(cls, handle: int, address: Address) -> PosixListener:
        sock = adopted_socket(handle, listening=True)
        try:
            sock.setblocking(False)
            return cls(BoundSocket(sock, address, mode_for("owner")))
        except BaseException:
            sock.detach()
            raise

    def share(self) -> PosixListener:
        sock = self._bound.socket.dup()
        try:
            return PosixListener(BoundSocket(sock, self._bound.address, self._bound.mode))
        except BaseException:
            sock.close()
            raise

    @property
    def address(self) -> Address:
        return self._bound.address

    def fileno(self) -> int:
        """Return the descriptor, which stays this object's to close."""
        if self._lane.closed:
            raise ClosedError("listener")
        return self._bound.socket.fileno()

    def accept(self, timeout: float | None = None) -> PosixConnection:
        deadline = None if timeout is None else time.monotonic() + timeout
        lane = self._lane
        patience = -1 if timeout is None else min(max(timeout, 0), threading.TIMEOUT_MAX)
        if not lane.lock.acquire(timeout=patience):
            raise timed_out()
        try:
            lane.deadline = deadline
            return self._next()
        finally:
            lane.lock.release()
            if lane.closed:
                self._descriptor.release()

    def close(self) -> None:
        self._bound.release()  # first, while the inode cannot be another's
        self._descriptor.shut()

    def _next(self) -> PosixConnection:
        """Wait for a client that is still there and may be served. Needs the lock.

        Who is there already is taken also when the deadline has passed: a timeout of 0 asks.
        """
        pause = _FIRST_PAUSE
        while not self._lane.closed:
            try:
                sock, _ = self._bound.socket.accept()
            except BlockingIOError:
                self._lane.wait()
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._lane.pause(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                elif error.errno not in _CAME_AND_WENT:
                    raise
            else:
                if not _has_gone(sock) and admits(self._bound, sock):
                    return PosixConnection(sock, self.address)
                sock.close()
                self._lane.check()
        raise ClosedError("listener")

    def __repr__(self) -> str:
        state = "closed" if self._lane.closed else "listening"
        return f"<{type(self).__name__} {self.address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_lane") or self._lane.closed:
            return
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()


def _has_gone(sock: socket.socket) -> bool:
    """Say whether the client has closed already without having written anything.

    Hung up and nothing to read: then no one would notice an answer. A client that has only shut
    its write side is not hung up.
    """
    poll = select.poll()
    poll.register(sock, 0)  # a hang-up is always reported
    if not poll.poll(0):
        return False
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True
