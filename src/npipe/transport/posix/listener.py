"""Accepting connections on a Unix socket. Its file is the business of ``unix_files.py``."""

from __future__ import annotations

import contextlib
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
from npipe.transport.connecting import accept_backoff
from npipe.transport.posix import files as unix_files
from npipe.transport.posix.connection import (
    PosixConnection,
    adopted_socket,
    peer_of,
    prepare_socket,
)
from npipe.transport.posix.files import BoundSocket
from npipe.transport.posix.waiting import POLLIN, SHORTAGE, SharedSocket, timed_out

__all__ = ["PosixListener", "admits", "bind", "check_size", "listen"]

# The client was there and has gone: take the next one.
_CAME_AND_WENT = {errno.ECONNABORTED, errno.EPROTO}


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
    mode: str = "rw",
) -> PosixListener:
    """Serve ``address``; see ``npipe.listen``.

    ``message_mode``, ``reject_remote`` and ``buffer_size`` concern Windows only.
    """
    base.require_mode(mode)
    check_size(buffer_size)
    del message_mode, reject_remote, buffer_size  # each is true of a Unix socket as it is
    bound = bind(address, access=access, backlog=backlog)
    try:
        return PosixListener(bound, mode)
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

    def __init__(self, bound: BoundSocket, mode: str = "rw", *, adopted: bool = False) -> None:
        """Own the socket, unless this raises.

        Args:
            bound: The socket and the claim on its file.
            mode: The mode of the connections accepted.
            adopted: Other programs use the socket, too: leave it as it was when it is closed.
        """
        self._bound = bound
        self._mode = mode
        self._adopted = adopted
        unblock = adopted and os.get_blocking(bound.socket.fileno())
        self._socket = SharedSocket(bound.socket, (POLLIN,), "listener", unblock=unblock)
        (self._direction,) = self._socket.directions
        with contextlib.suppress(OSError):  # later there may be no descriptor left for a waker
            self._direction.prepare()

    @classmethod
    def adopt(cls, handle: int, address: Address) -> PosixListener:
        sock = adopted_socket(handle, listening=True)
        try:
            return cls(BoundSocket(sock, address, mode_for("owner")), adopted=True)
        except BaseException:
            sock.detach()
            raise

    def share(self) -> PosixListener:
        with self._socket.in_use():
            sock = self._bound.socket.dup()
        try:
            bound = BoundSocket(sock, self.address, self._bound.mode)
            return PosixListener(bound, self._mode, adopted=self._adopted)
        except BaseException:
            sock.close()
            raise

    def claim(self) -> None:
        with self._socket.in_use():
            self._bound.claim()

    def detach(self) -> int:
        descriptor = self._socket.detach()
        self._bound.disclaim()
        os.set_blocking(descriptor, True)
        return descriptor

    @property
    def address(self) -> Address:
        return self._bound.address

    def fileno(self) -> int:
        """Return the descriptor, which stays this object's to close."""
        if self._direction.closed:
            raise ClosedError("listener")
        return self._bound.socket.fileno()

    def set_deadline(self, when: float | None) -> None:
        if self._direction.closed:
            raise ClosedError("listener")
        self._direction.deadline = base.deadline(when)
        self._direction.wake()

    def accept(self, timeout: float | None = None) -> PosixConnection:
        timeout = base.duration(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        accepting = self._direction
        patience = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if not accepting.lock.acquire(timeout=patience):
            raise timed_out()
        try:
            if accepting.busy:
                raise accepting.reentered()
            accepting.busy = True
            try:
                return self._next(until)
            finally:
                accepting.busy = False
        finally:
            accepting.lock.release()
            if accepting.closed:
                self._socket.release()

    def close(self) -> None:
        self._bound.release()  # first, while the inode cannot be another's
        self._socket.shut()

    @property
    def closed(self) -> bool:
        """Whether it has been closed or detached."""
        return self._direction.closed

    def _next(self, until: float | None) -> PosixConnection:
        """Wait for a client that is still there and may be served.

        One that is there already is taken also when the time is up: a timeout of 0 asks.
        """
        accepting, backoff = self._direction, accept_backoff()
        while not accepting.closed:
            try:
                # No flag makes a single accept() non-blocking, as MSG_DONTWAIT does for the rest.
                if self._adopted:  # and another program may make it a blocking one again
                    self._bound.socket.setblocking(False)
                sock, _ = self._bound.socket.accept()
            except BlockingIOError:
                if not accepting.wait(until):
                    raise timed_out() from None
            except OSError as error:
                if error.errno in SHORTAGE:
                    pause = backoff.failed()
                    accepting.pause(pause if until is None else min(pause, _left(until)))
                elif error.errno not in _CAME_AND_WENT:
                    raise
            else:
                try:
                    if not _has_gone(sock) and admits(self._bound, sock):
                        return PosixConnection(prepare_socket(sock), self.address, self._mode)
                except BaseException:
                    sock.close()
                    raise
                sock.close()
                accepting.check()
        raise ClosedError("listener")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "listening"
        return f"<{type(self).__name__} {self.address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_direction") or self.closed:
            return
        try:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        finally:  # also where warnings are errors
            self.close()


def _left(until: float) -> float:
    """Return the seconds until then.

    Raises:
        TimeoutError: There are none.
    """
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise timed_out()
    return seconds


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
