"""A connection over a Windows pipe: what the bytes mean, on top of two lanes (``overlapped.py``).

Here is decided what the end of the stream is, what becomes of bytes whose reader was interrupted,
and what may be said of a write that was cut. How an operation runs and ends is the lane's matter,
and how the handle was made ``windows_handles.py``'s.
"""

from __future__ import annotations

import contextlib
import errno
import io
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final, Self

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.base import Connection
from npipe.transport.windows.handles import peer_of, pipe_type, prepare_client
from npipe.transport.windows.kernel32 import Kernel32, address_of, load
from npipe.transport.windows.overlapped import REFUSED, Direction, new_event
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_MORE_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_NOT_CONNECTED,
    error,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["WindowsConnection"]

_CUT: Final = (REFUSED, ERROR_OPERATION_ABORTED)
# The other end has closed; the server has disconnected us, as some do where others close.
_END: Final = (ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED)
_READ_SIZE: Final = 65536
# One WriteFile pins its buffer and may have it copied to memory that is never paged out.
_WRITE_SIZE: Final = 1 << 20
_POISON: Final = (
    "an earlier write was cut while it waited for the other end to read, and Windows does not say "
    "how much of it arrived: close this connection"
)


class WindowsConnection(Connection):
    """One end of a pipe. Made by ``connect``, ``Listener.accept`` or ``adopt``."""

    counts_partial_writes = False  # CancelIoEx may leave any part of a write sent

    def __init__(
        self,
        api: Kernel32,
        handle: int,
        address: Address,
        *,
        server_end: bool,
        message_mode: bool,
        event: int = 0,
    ) -> None:
        """Own ``handle`` (opened for overlapped I/O) and ``event``, unless this raises."""
        self._api = api
        self._handle = handle
        self._address = address
        self._server_end = server_end
        self._message_mode = message_mode
        self._peer: PeerIdentity | None = None
        self._guard = threading.RLock()  # for calls that only ask the handle, and its end
        self._closed = False
        self._released = False
        self._held = b""  # read, but the reader was interrupted or timed out before the end
        self._spare: bytearray | None = None  # the last read's buffer, for the next one
        self._read_ended = False
        self._write_ended = False
        self._poison: str | None = None
        reading = event or new_event(api)
        try:
            writing = new_event(api)
        except BaseException:
            if not event:
                api.CloseHandle(reading)
            raise
        self._reader = Direction(api, handle, reading)
        self._writer = Direction(api, handle, writing)

    @classmethod
    def adopt(cls, handle: int, address: Address, *, api: Kernel32 | None = None) -> Self:
        """Take over a connected pipe's handle: it is this connection's, unless this raises.

        Raises ValueError if it was not opened with FILE_FLAG_OVERLAPPED: a read would then keep
        every write waiting. Raises OSError if it is no pipe.
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
        size = min(size, _READ_SIZE)
        try:
            with self._reader.turn:
                # Taken, not shared: a signal handler may read in the middle of this.
                buffer, self._spare = self._spare, None
                if buffer is None or len(buffer) != size:
                    buffer = bytearray(size)
                count = self._read(buffer)
                data = bytes(buffer) if count == size else bytes(memoryview(buffer)[:count])
                self._spare = buffer
                return data
        finally:
            if self._closed:
                self._release()

    def readall(self) -> bytes:
        parts = []
        with self._turn(self._reader):
            buffer = bytearray(_READ_SIZE)
            view = memoryview(buffer)
            try:
                while count := self._read(view):
                    parts.append(bytes(view[:count]))
            except BaseException:
                self._held = b"".join(parts) + self._held
                raise
        return b"".join(parts)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            with self._reader.turn:
                return self._read(view)
        finally:
            _let_go(view)
            if self._closed:
                self._release()

    def _read(self, view: memoryview | bytearray) -> int:
        """Read into ``view``; 0 at the end. The turn is held."""
        lane = self._reader
        if not view or self._held or self._read_ended:
            return self._read_held(view)
        code, count = REFUSED, 0
        while code in _CUT:
            pointer = address_of(view)
            lane.interrupted = (REFUSED, 0)
            try:
                code, count = lane.transfer(self._api.ReadFile, pointer, len(view))
            except BaseException:
                self._held = bytes(view[: lane.interrupted[1]])
                raise
            finally:
                del pointer  # it pins the buffer
            if code in _CUT and (reason := lane.refusal()):
                raise reason
        # A message longer than the buffer is not cut: its rest comes with the next read. A message
        # of no bytes is how the other end says, on a message pipe, that it writes no more.
        if code in _END or (code == 0 and count == 0):
            self._read_ended = True
            return 0
        if code not in (0, ERROR_MORE_DATA):
            raise error(code)
        return count

    def _read_held(self, view: memoryview | bytearray) -> int:
        if reason := self._reader.refusal():
            raise reason
        count = min(len(view), len(self._held))
        view[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    # -- writing

    def write(self, data: ReadableBuffer, /) -> int:
        view = data if type(data) is bytes else memoryview(data).cast("B")
        try:
            with self._writer.turn:
                return self._write(view)
        finally:
            if type(view) is memoryview:
                _let_go(view)
            if self._closed:
                self._release()

    def _write(self, view: memoryview | bytes) -> int:
        """Write ``view``. The turn is held."""
        self._require_writable()
        size = len(view)
        if not size:  # a message of no bytes would say that nothing follows
            return 0
        if size <= _WRITE_SIZE or self._message_mode:  # one call is one message
            self._write_part(view, 0)
        else:
            for start in range(0, size, _WRITE_SIZE):
                self._write_part(view[start : start + _WRITE_SIZE], start)
        return size

    def _write_part(self, view: memoryview | bytes, before: int) -> None:
        """Write ``view`` whole; ``before`` bytes of the caller's data have gone already."""
        lane, size = self._writer, len(view)
        code, count = REFUSED, 0
        while code == REFUSED:
            # bytes go as they are; ctypes takes the address of other memory only if it is writable.
            pointer = view if isinstance(view, bytes) else _pointer(view)
            lane.interrupted = (REFUSED, 0)
            try:
                code, count = lane.transfer(self._api.WriteFile, pointer, size)
            except BaseException:
                if lane.interrupted not in ((0, size), (REFUSED, 0)):
                    self._poison = _POISON
                raise
            finally:
                del pointer  # it pins the buffer
            if code == REFUSED and (reason := lane.refusal()):
                raise _told(reason, before)
        if code in (0, ERROR_OPERATION_ABORTED) and count < size:
            # Cut. The kernel says that 0 bytes went, and drops the rest, also when the other end
            # has read half of it.
            self._poison = _POISON
            raise _told(lane.refusal() or error(ERROR_OPERATION_ABORTED), None)
        if code:
            raise _told(error(code), before)

    def _require_writable(self) -> None:
        if reason := self._writer.refusal():
            raise _told(reason, 0)
        if self._write_ended:
            raise _told(ClosedError("write side of the connection"), 0)
        if self._poison:
            raise _told(BrokenPipeError(errno.EPIPE, self._poison), 0)

    def close_write(self) -> None:
        with self._turn(self._writer) as lane:
            if self._closed:
                raise ClosedError
            if not self._message_mode:
                raise io.UnsupportedOperation(
                    "close_write: a pipe of the byte type has no such thing; its server must make "
                    "it with message_mode=True"
                )
            if self._write_ended:
                return
            self._require_writable()
            code = REFUSED
            while code in _CUT:  # an empty message goes whole or not at all
                code, _ = lane.transfer(self._api.WriteFile, b"", 0)
                if code in _CUT and (reason := lane.refusal()):
                    raise reason
            if code:
                raise error(code)
            self._write_ended = True

    def has_gone(self) -> bool:
        with self._guard:
            if self._closed:
                return True
            gone, left = self._api.PeekNamedPipe(self._handle)
            return bool(gone) and not left

    def flush(self) -> None:
        with self._turn(self._writer) as lane:
            code = REFUSED
            while code in _CUT:
                code = lane.run_aside(
                    lambda: self._api.FlushFileBuffers(self._handle), "npipe-flush"
                )
                if code in _CUT and (reason := lane.refusal()):
                    raise reason
            if code:
                raise error(code)

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

    def _release(self) -> None:
        """Give the handles back once no operation uses them. The last one out does it."""
        with self._reader.turn, self._writer.turn, self._guard:
            # Begun: this is a signal handler, in the middle of that very operation.
            if self._released or self._reader.begun or self._writer.begun:
                return
            self._released = True
            self._spare = None
            # No DisconnectNamedPipe: it would take from the other end what it has not read yet.
            self._api.CloseHandle(self._handle)
            self._reader.release()
            self._writer.release()

    @contextlib.contextmanager
    def _turn(self, lane: Direction) -> Any:
        """Hold the turn; afterwards do what a close in the meantime left to do."""
        try:
            with lane.turn:
                yield lane
        finally:
            if self._closed:
                self._release()

    # -- who

    @property
    def local_address(self) -> Address:
        return self._address

    @property
    def remote_address(self) -> Address:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the other end; ``sid`` may become known only after the first read."""
        with self._guard:
            if self._peer is None or self._peer.sid is None:
                if self._closed:
                    raise ClosedError
                self._peer = peer_of(self._handle, self._api, server_end=self._server_end)
            return self._peer

    def fileno(self) -> int:
        """Return the handle. It stays this object's to close."""
        if self._closed:
            raise ClosedError
        return self._handle

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"handle={self._handle:#x}"
        return f"<{type(self).__name__} {self._address} {state}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if not hasattr(self, "_writer") or self._closed:
            return
        _warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self.close()


def _let_go(view: memoryview) -> None:
    """Release the caller's buffer now, not when the last traceback is forgotten."""
    # After an interrupt the traceback still holds the pointer that was in use.
    with contextlib.suppress(BufferError):
        view.release()


def _pointer(view: memoryview) -> Any:
    return bytes(view) if view.readonly else address_of(view)


def _told(exc: Exception, written: int | None) -> Exception:
    """Say in the exception how many bytes went; say nothing where the system does not tell."""
    if written is not None:
        exc.characters_written = written  # type: ignore[attr-defined]  # every OSError has it
    return exc
