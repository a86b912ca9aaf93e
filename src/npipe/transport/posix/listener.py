"""Listener on a Unix socket. Its file is managed by ``files.py``."""

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
from npipe.transport import base, checks
from npipe.transport.connecting import accept_backoff
from npipe.transport.posix import files as unix_files
from npipe.transport.posix.adopted import adopted_socket, prepare_socket
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.files import BoundSocket
from npipe.transport.posix.peer import peer_of
from npipe.transport.posix.shared_socket import SharedSocket
from npipe.transport.posix.waiting import POLLIN, SHORTAGE, timed_out

__all__ = ["PosixListener", "admits", "bind", "check_size", "listen"]

# Errors of a client that disconnected before it was accepted (man page accept(2)).
_CAME_AND_WENT = {errno.ECONNABORTED, errno.EPROTO}


def bind(
    address: Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    patience: float | None = None,
) -> BoundSocket:
    """Make a listening non-blocking socket with the access of the option.

    The caller accepts on ``.socket`` and calls ``.release()`` before closing it. It must check the
    clients of an abstract socket with ``admits``.

    Args:
        address: The address to bind.
        access: The users that may connect; see ``npipe.listen``.
        backlog: Number of clients that may wait to be accepted; None means SOMAXCONN.
        patience: Seconds to block while another process binds the same address; 0 does not
            block, None means 10 seconds.

    Returns:
        The socket and the claim on its file.

    Raises:
        TimeoutError: Another process binds the same address.
        ValueError: The address or an option is bad.
        OSError: The address cannot be served; see ``npipe.listen``.
    """
    mode = mode_for(access)
    if backlog is None:
        backlog = socket.SOMAXCONN
    elif not isinstance(backlog, int) or backlog < 0:
        raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
    if address.kind == "pipe":
        raise ValueError(f"bad address {str(address)!r}: this system has no Windows pipes")
    return unix_files.bind(address, mode=mode, backlog=backlog, patience=patience)


def admits(bound: BoundSocket, sock: socket.socket) -> bool:
    """Tell whether the client connected by ``sock`` may be served.

    The kernel checks the mode of a socket file (man page unix(7)). An abstract socket has no file,
    so this applies the mode to the identity of the client.
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
    """Listen on a Unix socket; see ``npipe.listen``.

    ``message_mode``, ``reject_remote`` and ``buffer_size`` have an effect on Windows only.
    """
    checks.require_mode(mode)
    check_size(buffer_size)
    del message_mode, reject_remote, buffer_size  # none applies to a Unix socket
    bound = bind(address, access=access, backlog=backlog)
    try:
        return PosixListener(bound, mode)
    except BaseException:
        bound.release()
        bound.socket.close()
        raise


def check_size(buffer_size: int) -> None:
    """Check that ``buffer_size`` is a size in bytes; raise ValueError if not. It has no effect."""
    if not isinstance(buffer_size, int) or buffer_size < 0:
        raise ValueError(f"buffer_size={buffer_size!r}: give a number of bytes")


class PosixListener(base.Listener[PosixConnection]):
    """Listening Unix socket, as ``listen`` or ``adopt`` returns it."""

    def __init__(self, bound: BoundSocket, mode: str = "rw", *, adopted: bool = False) -> None:
        """Take ownership of the socket, unless this raises.

        Args:
            bound: The socket and the claim on its file.
            mode: The mode of the accepted connections.
            adopted: Whether other programs share the socket, so that its flags are restored at
                the end.
        """
        self._bound = bound
        self._mode = mode
        self._adopted = adopted
        unblock = adopted and os.get_blocking(bound.socket.fileno())
        self._socket = SharedSocket(bound.socket, (POLLIN,), "listener", unblock=unblock)
        (self._direction,) = self._socket.directions
        with contextlib.suppress(OSError):  # later no descriptor may be free for a waker
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
        """Return the descriptor, which this object still owns."""
        if self._direction.closed:
            raise ClosedError("listener")
        return self._bound.socket.fileno()

    def set_deadline(self, when: float | None) -> None:
        if self._direction.closed:
            raise ClosedError("listener")
        self._direction.deadline = checks.deadline(when)
        self._direction.wake()

    def accept(self, timeout: float | None = None) -> PosixConnection:
        timeout = checks.duration(timeout)
        until = None if timeout is None else time.monotonic() + timeout
        accepting = self._direction
        patience = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if not accepting.lock.acquire(timeout=patience):
            if accepting.closed:  # and the call in progress has not ended yet
                raise ClosedError("listener")
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
        self._bound.release()  # first, while no other socket can reuse the inode
        self._socket.shut()

    @property
    def closed(self) -> bool:
        """Whether the listener has been closed or detached."""
        return self._direction.closed

    def _next(self, until: float | None) -> PosixConnection:
        """Wait for a client that is still connected and may be served.

        A client that waits already is returned also after ``until``, so a timeout of 0 polls.
        """
        accepting, backoff = self._direction, accept_backoff()
        while not accepting.closed:
            try:
                # accept() has no flag for one non-blocking call, such as MSG_DONTWAIT of recv().
                if self._adopted:  # another program may have set blocking mode again
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
    """Return the seconds until the time ``until``.

    Raises:
        TimeoutError: ``until`` has passed.
    """
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise timed_out()
    return seconds


def _has_gone(sock: socket.socket) -> bool:
    """Tell whether the client has closed already without having written anything.

    That is a hang-up (POLLHUP, man page poll(2)) without unread bytes: no process would read a
    reply. A client that has only shut down its write side has not hung up.
    """
    poll = select.poll()
    poll.register(sock, 0)  # a hang-up is always reported
    if not poll.poll(0):
        return False
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return True
