"""Connection over a Windows pipe: its reader, its writer and its end.

``reader.py`` and ``writer.py`` interpret the results of the operations, and ``handles.py`` and
``maker.py`` make the handles.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, Self

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.base import Connection
from npipe.transport.checks import duration, flat_view
from npipe.transport.windows.direction import Direction
from npipe.transport.windows.handles import has_gone, pipe_type, prepare_client
from npipe.transport.windows.identity import peer_of
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.overlapped import new_event
from npipe.transport.windows.reader import Reader
from npipe.transport.windows.writer import Writer, part_size

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.transport.windows.port import CompletionPort
    from npipe.transport.windows.port_channel import PortChannel

__all__ = ["WindowsConnection"]

_DISCONNECT_PAUSE: Final = 0.01  # seconds between two queries whether a client has read everything


class WindowsConnection(Connection):
    """One end of a Windows pipe, as ``connect``, ``Listener.accept`` or ``adopt`` returns it.

    On a pipe of the message type (``message_mode``) one ``write`` is one message, and one read
    returns at most one message; several reads return a message that is longer than the buffer. An
    empty message marks the end of the stream there.
    """

    selectable = True
    counts_partial_writes = False  # CancelIoEx may leave any part of a write sent

    def __init__(
        self,
        api: Kernel32,
        handle: int,
        address: Address,
        *,
        server_end: bool,
        message_mode: bool,
        mode: str = "rw",
        event: int = 0,
        proven_sid: str | None = None,
    ) -> None:
        """Take ownership of ``handle`` and ``event``, unless this raises.

        Args:
            api: The bindings.
            handle: Handle of the pipe, opened for overlapped I/O.
            address: The address of the server.
            server_end: Whether the handle was made by CreateNamedPipe.
            message_mode: Whether the pipe is of the message type.
            mode: "r" if this end only reads, "w" if it only writes, else "rw".
            event: A manual-reset event; 0 to make one.
            proven_sid: SID of the only user that the access list of the pipe admits. It is
                reported as the SID of the peer until the token of the peer can be read.
        """
        self._api = api
        self._handle = handle
        self._address = address
        self._server_end = server_end
        self._message_mode = message_mode
        self.mode = mode
        self._proven_sid = proven_sid
        self._peer: PeerIdentity | None = None
        self._guard = threading.RLock()  # for queries of the handle and for its release
        self._closed = False
        self._released = False
        self._detached = False
        self._channel: PortChannel | None = None
        reading = event or new_event(api)
        try:
            writing = new_event(api)
        except BaseException:
            if not event:
                api.CloseHandle(reading)
            raise
        self._reader = Reader(api, handle, reading, readable="r" in mode)
        self._writer = Writer(
            api,
            handle,
            writing,
            message_mode=message_mode,
            part=part_size(address, message_mode),
            writable="w" in mode,
        )

    @classmethod
    def adopt(cls, handle: int, address: Address, *, api: Kernel32 | None = None) -> Self:
        """Make a connection from the handle of a connected pipe; see ``Connection.adopt``.

        Raises:
            ValueError: The handle was not opened with FILE_FLAG_OVERLAPPED, so that a read would
                block every write (Microsoft page "Synchronous and Asynchronous I/O").
            OSError: The handle is not a pipe.
        """
        api = load() if api is None else api
        server_end, _ = pipe_type(handle, api)
        if not api.is_overlapped(handle):
            raise ValueError(f"handle {handle} was not opened with FILE_FLAG_OVERLAPPED")
        message_mode = prepare_client(handle, api)
        return cls(api, handle, address, server_end=server_end, message_mode=message_mode)

    # -- reading

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        try:
            with self._reader.turn:
                return self._reader.read(size)
        finally:
            if self._closed:
                self._release()

    def readall(self) -> bytes:
        with self._turn(self._reader):
            return self._reader.readall()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = flat_view(buffer)
        try:
            with self._reader.turn:
                return self._reader.readinto(view)
        finally:
            _let_go(view)
            if self._closed:
                self._release()

    def wait_readable(self, timeout: float | None = None) -> bool:
        timeout = duration(timeout)
        due = None if timeout is None else time.monotonic() + timeout
        with self._turn(self._reader):
            return self._reader.wait_readable(due)

    # -- writing

    def write(self, data: ReadableBuffer, /) -> int:
        view = data if type(data) is bytes else flat_view(data)
        try:
            with self._writer.turn:
                return self._writer.write(view)
        finally:
            if type(view) is memoryview:
                _let_go(view)
            if self._closed:
                self._release()

    def close_write(self) -> None:
        with self._turn(self._writer):
            self._writer.close_write()

    def flush(self) -> None:
        with self._turn(self._writer):
            self._writer.flush()

    # -- for an event loop

    def attach(self, port: CompletionPort) -> PortChannel | None:
        """Have ``read_now`` and ``write_now`` work, by a completion port.

        From then on only they read and write. Nothing else may be reading or writing now.

        Args:
            port: The port of the event loop.

        Returns:
            The channel, with which the loop waits; None if the system refuses.

        Raises:
            ClosedError: The connection has been closed.
        """
        with self._guard:
            if self._closed:
                raise ClosedError
            self._channel = port.bind(self._handle, self._reader, message_mode=self._message_mode)
            if self._channel is not None:
                self._reader.rest()
                self._writer.rest()
            return self._channel

    def read_now(self, size: int, /) -> bytes | None:
        if self._channel is None:
            return super().read_now(size)
        try:
            with self._reader.turn:
                return self._channel.read_now(size)
        finally:
            if self._closed:
                self._release()

    def write_now(self, data: ReadableBuffer, /) -> int:
        if self._channel is None:
            return super().write_now(data)
        if not self._writer.turn.acquire(blocking=False):
            return 0
        try:
            if self._closed:
                raise ClosedError
            return self._channel.write_now(data if type(data) is bytes else memoryview(data))
        finally:
            self._writer.turn.release()
            if self._closed:
                self._release()

    def has_gone(self) -> bool:
        with self._guard:
            return self._closed or has_gone(self._handle, self._api)

    def disconnect(self, timeout: float = 0.0) -> bool:
        due = time.monotonic() + (duration(timeout) or 0.0)
        while not self._try_disconnect():
            left = due - time.monotonic()
            if self._closed or not self._server_end or left <= 0:
                return False
            time.sleep(min(left, _DISCONNECT_PAUSE))
        return True

    def _try_disconnect(self) -> bool:
        if not self._server_end or not self._writer.turn.acquire(blocking=False):
            return False
        try:
            with self._guard:
                return not (
                    self._closed
                    or self._api.has_unread(self._handle)
                    or self._api.DisconnectNamedPipe(self._handle)
                )
        finally:
            self._writer.turn.release()
            if self._closed:
                self._release()

    # -- deadlines and the end

    def set_read_deadline(self, when: float | None) -> None:
        self._reader.set_deadline(when)

    def set_write_deadline(self, when: float | None) -> None:
        self._writer.set_deadline(when)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._reader.close()
        self._writer.close()
        self._release()

    def detach(self) -> int:
        """Return the handle to the caller and close this object.

        Calls in flight end with ClosedError first.

        Returns:
            The handle, which the caller closes.

        Raises:
            ClosedError: The connection is closed.
            ValueError: Bytes were read that no call has returned yet: read them first.
            RuntimeError: A signal handler calls this during a read or write of its thread.
        """
        with self._guard:
            if self._closed:
                raise ClosedError
            if held := self._reader.held:
                raise ValueError(f"a read has kept {len(held)} bytes: read them before detach")
            self._detached = True
        self.close()
        with self._reader.turn, self._writer.turn:  # until the last call has ended
            if self._released:
                return self._handle
            self._detached = False
        raise RuntimeError("a signal handler cannot detach a connection that it interrupted")

    def _release(self) -> None:
        """Close the handles once no operation uses them; the last thread to leave calls it."""
        with self._reader.turn, self._writer.turn, self._guard:
            # If an operation has begun, a signal handler runs this during that operation.
            if self._released or self._reader.begun or self._writer.begun:
                return
            self._released = True
            if self._channel:
                self._channel.close()
            # No DisconnectNamedPipe: it would discard the bytes that the other end has not read
            # (Microsoft page "DisconnectNamedPipe").
            if not self._detached:
                self._api.CloseHandle(self._handle)
            self._reader.release()
            self._writer.release()

    @contextlib.contextmanager
    def _turn(self, direction: Direction) -> Any:
        """Hold ``turn`` in the block; afterwards release the handles if ``close`` was called."""
        try:
            with direction.turn:
                yield direction
        finally:
            if self._closed:
                self._release()

    @property
    def message_mode(self) -> bool:
        """Whether the pipe is of the message type."""
        return self._message_mode

    # -- identity

    @property
    def local_address(self) -> Address:
        return self._address

    @property
    def remote_address(self) -> Address:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        """The identity of the peer.

        At the server's end the SID of some clients is None until the server has read from the
        pipe (Microsoft page "ImpersonateNamedPipeClient"). Each access queries it again until the
        token of the client can be read.
        """
        with self._guard:
            peer = self._peer
            if not self._closed and (peer is None or peer.sid is None):
                peer = self._peer = peer_of(self._handle, self._api, server_end=self._server_end)
            if peer is None:
                raise ClosedError
            if peer.sid is None and self._proven_sid:
                return PeerIdentity(pid=peer.pid, sid=self._proven_sid, session=peer.session)
            return peer

    def fileno(self) -> int:
        """Return the handle, which this object still owns."""
        if self._closed:
            raise ClosedError
        return self._handle

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"handle={self._handle:#x}"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_writer") or self._closed:
            return
        try:
            _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        finally:  # -W error makes the warning an exception
            self.close()


def _let_go(view: memoryview) -> None:
    """Release the caller's buffer now, and not only when the last traceback is deleted."""
    # After an interrupt the traceback still references the pointer that was in use.
    with contextlib.suppress(BufferError):
        view.release()
