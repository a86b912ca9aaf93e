"""A connection over a Unix socket: the contract of ``base.Connection``, kept with poll().

A call tries first and waits in poll() only when it could do nothing. On Linux the try itself may
block for a moment (``Direction.may_block``). ``connect.py`` and ``listener.py`` open, accept and
verify the socket; ``waiting.py`` explains how a wait is woken.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import sys
import warnings
from time import monotonic
from typing import TYPE_CHECKING, Any

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base
from npipe.transport.posix.waiting import PATIENCE, POLLIN, POLLOUT, SharedSocket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address

__all__ = ["PosixConnection", "adopted_socket", "peer_of"]

# A program that resets SIGPIPE to its default, as `| head` invites, must not die of a write here.
_NO_SIGPIPE = getattr(socket, "MSG_NOSIGNAL", 0)
_SO_NOSIGPIPE = 0x1022  # macOS has no such flag on send() but this option on the socket
_DONTWAIT = socket.MSG_DONTWAIT
# What one system call moves at most. A send that may block does so for each part of the kernel's
# choosing (32 KiB on Linux), so its length bounds for how long it cannot be woken.
_CHUNK = 65536
_LARGEST_READ = 1 << 20  # recv() makes room for all it is asked for, and the kernel holds less


class PosixConnection(base.Connection):
    """A connected Unix socket. Made by ``connect``, ``Listener.accept`` or ``adopt``."""

    selectable = True

    def __init__(self, sock: socket.socket, address: Address) -> None:
        """Own ``sock``, a connected stream socket; ``address`` is the server's."""
        _set_patience(sock)
        self._descriptor = SharedSocket(sock, (POLLIN, POLLOUT), "connection")
        self._in, self._out = self._descriptor.lanes
        self._recv, self._send = sock.recv, sock.send
        self._recv_into = sock.recv_into
        self._address = address
        self._peer = peer_of(sock)
        self._held = b""  # what a read-until-the-end had got when its deadline passed
        self._write_shut = False
        if sys.platform == "darwin":
            sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)

    @classmethod
    def adopt(cls, handle: int, address: Address) -> PosixConnection:
        return cls(adopted_socket(handle, listening=False), address)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        lane = self._in
        try:
            with lane.lock:
                # The quick way, for the conversation that goes well. All others: _receive.
                if (
                    0 < size <= _CHUNK
                    and not self._held
                    and ((lane.deadline is None and not lane.closed) or lane.may_block())
                ):
                    try:
                        return self._recv(size)
                    except BlockingIOError:
                        pass
                    except ConnectionResetError:
                        return b""
                return self._receive(size)
        finally:
            if lane.closed:
                self._descriptor.release()

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        lane, until = self._in, monotonic() + seconds
        try:
            with lane.lock:
                if self._held:
                    return self._receive(size)
                while True:
                    lane.check()
                    try:
                        return self._recv(size, _DONTWAIT)
                    except BlockingIOError:
                        if monotonic() >= until:
                            return None
                        os.sched_yield()  # the other end may want this very core
                    except ConnectionResetError:
                        return b""
        finally:
            if lane.closed:
                self._descriptor.release()

    def read_now(self, size: int, /) -> bytes | None:
        lane = self._in
        if not lane.lock.acquire(blocking=False):
            if lane.closed:
                raise ClosedError
            return None
        try:
            if lane.closed:
                raise ClosedError
            if self._held:
                data, self._held = self._held[:size], self._held[size:]
                return data
            return self._recv(min(size, _LARGEST_READ), _DONTWAIT)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""
        finally:
            lane.lock.release()
            if lane.closed:
                self._descriptor.release()

    def write_now(self, data: ReadableBuffer, /) -> int:
        lane = self._out
        if not lane.lock.acquire(blocking=False):
            if lane.closed:
                raise ClosedError
            return 0
        try:
            if lane.closed or self._write_shut:
                raise ClosedError("connection's write side" if self._write_shut else "connection")
            return self._send(data, _NO_SIGPIPE | _DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise _cut(error, 0) from None
        finally:
            lane.lock.release()
            if lane.closed:
                self._descriptor.release()

    def readall(self) -> bytes:
        lane = self._in
        try:
            with lane.lock:
                parts = []
                try:
                    while part := self._receive(_CHUNK):
                        parts.append(part)
                except BaseException:
                    self._held = b"".join(parts) + self._held
                    raise
                return b"".join(parts)
        finally:
            if lane.closed:
                self._descriptor.release()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        lane = self._in
        try:
            with lane.lock:
                return self._receive_into(view)
        finally:
            if lane.closed:
                self._descriptor.release()

    def write(self, data: ReadableBuffer, /) -> int:
        lane, sent = self._out, 0
        try:
            with lane.lock:
                # The quick way, as in read. All others: _send_rest.
                if type(data) is bytes and len(data) <= _CHUNK and not self._write_shut:
                    try:
                        if (lane.deadline is None and not lane.closed) or lane.may_block():
                            sent = self._send(data, _NO_SIGPIPE)
                    except BlockingIOError:
                        pass
                    except OSError as error:
                        raise _cut(error, 0) from None
                    if sent == len(data):
                        return sent
                return self._send_rest(memoryview(data).cast("B"), sent)
        finally:
            if lane.closed:
                self._descriptor.release()

    def close_write(self) -> None:
        lane = self._out
        try:
            with lane.lock:
                lane.check()
                if not self._write_shut:
                    self._write_shut = True
                    with contextlib.suppress(OSError):  # macOS: ENOTCONN when the peer is gone
                        self._descriptor.socket.shutdown(socket.SHUT_WR)
        finally:
            if lane.closed:
                self._descriptor.release()

    def has_gone(self) -> bool:
        poll = select.poll()
        try:
            poll.register(self.fileno(), 0)  # HUP and ERR are always told
        except OSError:
            return True
        return bool(poll.poll(0))

    def flush(self) -> None:
        self._out.check()

    def close(self) -> None:
        self._descriptor.shut()

    @property
    def closed(self) -> bool:
        return self._in.closed

    def fileno(self) -> int:
        """Return the descriptor, which stays this object's to close, block or read."""
        self._require_open()
        return self._descriptor.socket.fileno()

    def set_read_deadline(self, when: float | None) -> None:
        self._require_open()
        self._in.deadline = base.deadline(when)
        self._in.ring()

    def set_write_deadline(self, when: float | None) -> None:
        self._require_open()
        self._out.deadline = base.deadline(when)
        self._out.ring()

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

    def _receive(self, size: int) -> bytes:
        """Return at most ``size`` bytes; wait for the first. Needs the read lock."""
        lane = self._in
        flags = 0 if lane.may_block() else _DONTWAIT
        if self._held or not size:
            data, self._held = self._held[:size], self._held[size:]
            return data
        size = min(size, _LARGEST_READ)
        while True:
            try:
                return self._recv(size, flags)
            except BlockingIOError:
                lane.wait()
                flags = _DONTWAIT
            except ConnectionResetError:
                return b""  # it closed without reading all of ours; all of its own has come

    def _receive_into(self, view: memoryview) -> int:
        """Like ``_receive``, into a buffer. Needs the read lock."""
        lane = self._in
        flags = 0 if lane.may_block() else _DONTWAIT
        if self._held or not view:
            data = self._receive(len(view))
            view[: len(data)] = data
            return len(data)
        while True:
            try:
                return self._recv_into(view, 0, flags)
            except BlockingIOError:
                lane.wait()
                flags = _DONTWAIT
            except ConnectionResetError:
                return 0

    def _send_rest(self, data: memoryview, sent: int) -> int:
        """Write what follows the first ``sent`` bytes of ``data``; return its whole length.

        Needs the write lock.
        """
        lane = self._out
        try:
            lane.check()
            if self._write_shut:
                raise ClosedError("connection's write side")
            while sent < len(data):
                flags = _NO_SIGPIPE if lane.may_block() else _NO_SIGPIPE | _DONTWAIT
                try:
                    sent += self._send(data[sent : sent + _CHUNK], flags)
                except BlockingIOError:
                    lane.wait()
        except OSError as error:
            raise _cut(error, sent) from None
        return sent

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"fd={self._descriptor.socket.fileno()}"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_write_shut") or self.closed:
            return
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()


def _set_patience(sock: socket.socket) -> None:
    """Let a call without _DONTWAIT block for PATIENCE at most; not at all where it is unknown how
    a system other than Linux counts.
    """
    sock.setblocking(sys.platform == "linux")
    if sys.platform == "linux":
        patience = struct.pack("ll", 0, int(PATIENCE * 1e6))  # a struct timeval
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)


def adopted_socket(handle: int, *, listening: bool) -> socket.socket:
    """Return the socket with this descriptor; raise ValueError if it is not of the kind wanted."""
    sock = socket.socket(fileno=handle)
    try:
        if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
            raise ValueError(f"descriptor {handle} is no Unix stream socket")
        if bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) != listening:
            wanted = "a listening socket" if listening else "a connection"
            raise ValueError(f"descriptor {handle} is a Unix socket, but not {wanted}")
        if not listening:
            sock.getpeername()  # OSError (ENOTCONN) if it is not connected
    except BaseException:
        sock.detach()  # the caller keeps what is not taken
        raise
    return sock


_NOBODY = 0xFFFFFFFF  # (uid_t)-1: what the kernel says of a socket that has no peer


def peer_of(sock: socket.socket) -> PeerIdentity:
    """Ask the kernel who connected, or listens, at the other end. All None where it cannot tell."""
    try:
        if sys.platform == "linux":
            size = struct.calcsize("iII")
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid, uid, gid = struct.unpack("iII", raw)
            if uid == _NOBODY:
                return PeerIdentity()
            return PeerIdentity(pid=pid or None, uid=uid, gid=gid)
        return _peer_of_bsd(sock)
    except (OSError, struct.error):
        return PeerIdentity()


# <sys/un.h> of macOS and FreeBSD; Python's socket module has no names for these.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2  # macOS only
_XUCRED = "IIh2xI"  # version, uid, number of groups, (padding,) the first group


def _peer_of_bsd(sock: socket.socket) -> PeerIdentity:
    raw = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128)
    _, uid, groups, gid = struct.unpack_from(_XUCRED, raw)
    pid = None
    if sys.platform == "darwin":
        pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID) or None
    return PeerIdentity(pid=pid, uid=uid, gid=gid if groups else None)


def _cut(error: OSError, sent: int) -> OSError:
    """Return the error of a write that ended after ``sent`` bytes."""
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        text = f"{os.strerror(errno.EPIPE)}: the other end has closed"
        error = BrokenPipeError(errno.EPIPE, text)
    error.characters_written = sent  # type: ignore[attr-defined]  # every OSError has it
    return error
