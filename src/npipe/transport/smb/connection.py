"""A ``Connection`` over an open remote pipe, for threads.

One of the threads that wait for a reply is the leader: it waits for the network and passes the
received bytes to the channel. When it has its own reply, another waiting thread becomes the leader.
So a connection needs no thread of its own, and a call that is answered at once wakes no other
thread.

``_state`` guards everything. Only the leader waits for the socket, without holding ``_state``. The
socket is closed only when there is no leader: otherwise its number could belong to another file by
then.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from npipe.errors import ClosedError
from npipe.transport import base, checks
from npipe.transport.call_lock import CallLock
from npipe.transport.smb.channel import READ_SIZE, Channel
from npipe.transport.smb.waiter import Waiter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity
    from npipe.transport.smb.handshake import OpenedPipe

__all__ = ["SmbConnection"]

# Bytes of one recv(): a whole reply to a READ. From 128 KiB on, malloc calls the system each time.
RECEIVE_SIZE: Final = READ_SIZE + 1024


class SmbConnection(base.Connection):
    """A connected remote pipe. Made by ``connect``."""

    def __init__(
        self, result: OpenedPipe, address: Address, peer: PeerIdentity, keepalive: float
    ) -> None:
        """Take over the socket of ``result``, unless this raises."""
        self._sock = result.sock
        self._channel = Channel(result.opened)
        self._waiter = Waiter(result.sock)
        self._address = address
        self._peer = peer
        self._keepalive = keepalive
        self._next_tick = 0.0
        self._unsent: list[memoryview] = []
        # Reentrant: a signal handler may call close() during the call that it ends.
        self._state = threading.Condition(threading.RLock())
        self._leading = False
        self._reading, self._writing = CallLock(), CallLock()  # one read at a time, one write
        self._read_deadline: float | None = None
        self._write_deadline: float | None = None
        self._poisoned = False  # it is unknown how much a write that was cut has sent
        self._closed = False

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        with self._reading.call(), self._state:
            self._check(reading=True)
            if size:
                self._await_data()
            return self._channel.take(size)

    def readall(self) -> bytes:
        parts: list[bytes] = []
        with self._reading.call(), self._state:
            try:
                while True:
                    self._check(reading=True)
                    self._await_data()
                    if not self._channel.received:
                        return b"".join(parts)
                    parts.append(self._channel.take(READ_SIZE))
            except BaseException:
                self._channel.received[:0] = b"".join(parts)
                raise

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with checks.flat_view(buffer) as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        sent, known = 0, True
        with self._writing.call(), self._state, checks.flat_view(data) as view:
            try:
                self._check(reading=False)
                while sent < len(view):
                    with view[sent:] as part:
                        known = False
                        sent += self._write_some(part)
                        known = True
            except BaseException as error:
                # While a request is with the server, it is unknown how much of it is written.
                if known or (isinstance(error, OSError) and not self._channel.writing):
                    error.characters_written = sent  # type: ignore[attr-defined]
                else:
                    self._poisoned = True
                raise
        return sent

    def close_write(self) -> None:
        self._require_open()
        raise io.UnsupportedOperation("a remote pipe has no half-close")

    def has_gone(self) -> bool:
        channel = self._channel
        return self._closed or channel.ended or channel.failed is not None

    def flush(self) -> None:
        """Return at once: the server has confirmed all written bytes."""
        with self._state:
            self._check(reading=False)

    def close(self) -> None:
        with self._state:
            if self._closed:
                return
            self._closed = True
            # The server's system closes the pipe at the end of the connection anyway. This is
            # only earlier, and without a wait.
            self._channel.request_close()
            with contextlib.suppress(OSError):
                self._unsent += self._channel.outgoing()
                self._send()
                self._sock.shutdown(socket.SHUT_RDWR)
            self._waiter.wake()
            self._state.notify_all()
            if not self._leading:
                self._release()

    @property
    def closed(self) -> bool:
        return self._closed

    def set_read_deadline(self, when: float | None) -> None:
        with self._state:
            self._require_open()
            self._read_deadline = checks.deadline(when)
            self._wake()

    def set_write_deadline(self, when: float | None) -> None:
        with self._state:
            self._require_open()
            self._write_deadline = checks.deadline(when)
            self._wake()

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
        if self._closed:
            raise ClosedError

    def _check(self, *, reading: bool) -> None:
        """Raise the error that a call has to raise now, if any."""
        if self._closed:
            raise ClosedError
        deadline = self._read_deadline if reading else self._write_deadline
        if deadline is not None and time.monotonic() >= deadline:
            text = f"{os.strerror(errno.ETIMEDOUT)}: the deadline passed"
            raise TimeoutError(errno.ETIMEDOUT, text)
        if self._poisoned and not reading:
            text = (
                "an earlier write was interrupted, and its count is unknown: close this connection"
            )
            raise BrokenPipeError(errno.EPIPE, text)

    def _wake(self) -> None:
        """Have every waiting call check its condition again. Requires ``_state``."""
        self._waiter.wake()
        self._state.notify_all()

    def _await_data(self) -> None:
        """Wait until there is data to take, or the end. Requires ``_state``."""
        channel = self._channel
        # Requested again at each turn: the server may grant the credit for it only later.
        self._await(
            lambda: channel.received or channel.ended or channel.request_read(), reading=True
        )

    def _write_some(self, view: memoryview) -> int:
        """Write the start of ``view``; return its length. Requires ``_state``."""
        channel = self._channel
        self._await(lambda: channel.start_write(view), reading=False)
        self._await(lambda: not channel.writing, reading=False)
        return channel.finish_write()

    def _await(self, done: Callable[[], object], *, reading: bool) -> None:
        """Wait until ``done()``. Raises ClosedError, TimeoutError, ConnectionError."""
        while not done():
            self._check(reading=reading)
            self._flush()
            if self._channel.failed is not None:
                raise type(self._channel.failed)(*self._channel.failed.args)
            timeout = self._timeout(self._read_deadline if reading else self._write_deadline)
            if self._leading:
                self._state.wait(timeout)
            else:
                self._lead(timeout)

    def _timeout(self, deadline: float | None) -> float:
        """Return the seconds after which a wait has to end in any case."""
        now = time.monotonic()
        if now >= self._next_tick:
            self._channel.tick()
            self._flush()
            self._next_tick = now + self._keepalive
        until = self._next_tick if deadline is None else min(deadline, self._next_tick)
        return max(0.0, until - now)

    def _lead(self, timeout: float) -> None:
        """Wait for the network, and pass on the received bytes."""
        self._leading = True
        self._state.release()
        try:
            self._waiter.wait(timeout, to_write=bool(self._unsent))
        finally:
            self._state.acquire()
            self._leading = False
            self._state.notify_all()
            if self._closed:
                self._release()
        if not self._closed:
            self._receive()

    def _receive(self) -> None:
        try:
            self._channel.receive(self._sock.recv(RECEIVE_SIZE))
        except BlockingIOError:
            pass
        except OSError as error:
            self._channel.fail(ConnectionResetError(errno.ECONNRESET, str(error)))

    def _flush(self) -> None:
        """Send the channel's bytes, as far as that does not block."""
        self._unsent += self._channel.outgoing()
        try:
            self._send()
        except BlockingIOError:
            pass
        except OSError as error:
            self._channel.fail(ConnectionResetError(errno.ECONNRESET, str(error)))

    def _send(self) -> None:
        """Send until that would block; then raise BlockingIOError."""
        while self._unsent:
            first = self._unsent[0]
            sent = self._sock.send(first)
            if self._closed and not self._unsent:  # by a signal handler, which has sent the rest
                return
            if sent < len(first):
                self._unsent[0] = first[sent:]
            else:
                del self._unsent[0]

    def _release(self) -> None:
        """Close the descriptors. Only when closed, and without a leader."""
        self._waiter.close()
        self._sock.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_closed") or self._closed:
            return
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()
