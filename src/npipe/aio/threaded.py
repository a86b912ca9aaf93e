"""Transport over a blocking connection, for loops that cannot wait for a Windows pipe.

The Selector loop, which psycopg, pyzmq and the workers of uvicorn require, watches sockets only.
Here each connection has two threads, one that reads and one that writes, in place of the
overlapped I/O of the Proactor loop; the protocol gets the same calls. Nothing in this module is
specific to Windows.

Shared state: ``_chunks``, ``_ending`` and ``_may_read`` are guarded by ``_changed``; only the
thread of the loop uses all other attributes.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from asyncio import trsock
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from npipe.aio.server import AcceptedClient
from npipe.errors import ClosedError
from npipe.transport.base import Connection, Listener
from npipe.transport.connecting import accept_backoff

__all__ = ["ThreadAcceptor", "ThreadClient", "ThreadTransport"]

_READ_SIZE: Final = 65536  # bytes
_HIGH_WATER: Final = 65536  # bytes; the default of asyncio
_END: Final = b""  # entry in the queue of the writer that stands for the end of the stream


class ThreadTransport(asyncio.Transport):
    """Transport over a ``Connection``. Each ``write`` is one write of the connection."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: Connection,
        protocol: asyncio.BaseProtocol,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        """Call ``protocol.connection_made`` and start the two threads.

        Args:
            loop: The event loop of the protocol.
            connection: The connection, which the transport owns.
            protocol: The protocol.
            on_close: Called once, when the transport has closed.
        """
        super().__init__()
        self._loop = loop
        self._connection = connection
        self._protocol = protocol
        self._on_close = on_close
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._may_read = True
        self._ending = False  # close after the queue has been written
        self._size = 0  # bytes that are queued or being written
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._paused_protocol = False
        self._paused = False
        self._closing = False
        self._eof_written = False
        self._lost = False
        protocol.connection_made(self)
        threading.Thread(target=self._write, name="npipe-write", daemon=True).start()
        if connection.readable():
            threading.Thread(target=self._read, name="npipe-read", daemon=True).start()

    # -- the two threads

    def _read(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._may_read)
                data = self._connection.read(_READ_SIZE)
                with self._changed:
                    self._may_read = not data  # read on only after the data has been delivered
                self._tell(self._received, data)
                if not data:
                    return
        except OSError as failure:
            self._tell(self._fail, failure)

    def _write(self) -> None:
        failure: OSError | None = None
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._chunks or self._ending)
                    if not self._chunks:
                        break
                    chunk = self._chunks.popleft()
                if chunk:
                    self._connection.write(chunk)
                    self._tell(self._written, len(chunk))
                else:
                    self._connection.close_write()
        except OSError as caught:
            failure = caught
        self._tell(self._fail, failure)

    def _tell(self, what: Callable[..., object], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed
            self._connection.close()

    # -- in the loop's thread

    def _received(self, data: bytes) -> None:
        if self._closing or self._lost:
            return
        if data:
            self._protocol.data_received(data)  # type: ignore[attr-defined]
            self._let_read()
        elif not self._protocol.eof_received():  # type: ignore[attr-defined]
            self.close()

    def _written(self, size: int) -> None:
        self._size -= size
        if self._paused_protocol and self._size <= self._low:
            self._paused_protocol = False
            self._protocol.resume_writing()

    def _fail(self, failure: OSError | None) -> None:
        """Close after an error or after the last write; call ``connection_lost`` once."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._stop()
        error = None if isinstance(failure, ClosedError) else failure
        self._loop.call_soon(self._call_connection_lost, error)

    def _call_connection_lost(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._on_close()

    def _stop(self) -> None:
        self._connection.close()
        with self._changed:
            self._chunks.clear()
            self._ending = self._may_read = True
            self._changed.notify_all()

    def _let_read(self) -> None:
        with self._changed:
            self._may_read = not self._paused
            self._changed.notify_all()

    # -- asyncio's methods

    def write(self, data: Any) -> None:
        if not self._connection.writable():
            raise io.UnsupportedOperation("write: this end of a one-way pipe only reads")
        if self._eof_written:
            raise RuntimeError("write_eof() already called")
        if not data or self._closing:
            return
        self._put(bytes(data))

    def _put(self, chunk: bytes) -> None:
        self._size += len(chunk)
        with self._changed:
            self._chunks.append(chunk)
            self._changed.notify_all()
        if self._size > self._high and not self._paused_protocol:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return bool(getattr(self._connection, "message_mode", True))

    def write_eof(self) -> None:
        if self._closing or self._eof_written:
            return
        if not self.can_write_eof():
            raise NotImplementedError(
                "a pipe of the byte type has no half-close; its server must create it with "
                "message_mode=True"
            )
        self._eof_written = True
        self._put(_END)

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def abort(self) -> None:
        self._fail(None)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True
        with self._changed:
            self._may_read = False

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._let_read()

    def is_reading(self) -> bool:
        return not (self._paused or self._closing)

    def get_write_buffer_size(self) -> int:
        return self._size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 4 * low if low is not None else _HIGH_WATER
        self._low = low if low is not None else self._high // 4

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peer":
            with contextlib.suppress(OSError):
                return self._connection.peer
        elif name in ("peername", "sockname"):
            return self._connection.remote_address
        elif name == "pipe":  # with ``has_gone`` and ``disconnect``, as that of the Proactor loop
            return self._connection
        return default


class ThreadClient:
    """Accepted connection for which no transport has been made yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.on_close: Callable[[], None] | None = None

    def close(self) -> None:
        self._connection.close()
        self._closed()

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        loop = asyncio.get_running_loop()
        return ThreadTransport(loop, self._connection, protocol, self._closed)

    def _closed(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


class ThreadAcceptor:
    """Acceptor that runs ``accept`` in a thread and passes each client to the loop."""

    def __init__(self, listener: Listener[Any]) -> None:
        """Take ownership of ``listener``; ``close`` closes it."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._stopped = threading.Event()

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        return ()

    def start(self, arrived: Callable[[AcceptedClient], None]) -> None:
        run = partial(self._run, arrived)
        threading.Thread(target=run, name="npipe-accept", daemon=True).start()

    def close(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _run(self, arrived: Callable[[AcceptedClient], None]) -> None:
        backoff = accept_backoff()
        while not self._stopped.is_set():
            try:
                connection = self._listener.accept()
            except ClosedError:
                return
            except OSError as problem:
                if not backoff.failures:
                    message = f"accepting clients on {self._listener.address} fails"
                    context = {"message": message, "exception": problem}
                    self._in_loop(self._loop.call_exception_handler, context)
                self._stopped.wait(backoff.failed())
            else:
                backoff.succeeded()
                if not self._in_loop(self._arrive, arrived, connection):
                    connection.close()

    def _arrive(self, arrived: Callable[[AcceptedClient], None], connection: Connection) -> None:
        if self._stopped.is_set():
            connection.close()
        else:
            arrived(ThreadClient(connection))

    def _in_loop(self, what: Callable[..., object], *arguments: Any) -> bool:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed
            self._stopped.set()
            return False
        return True
