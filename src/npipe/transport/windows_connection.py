"""A connection over a Windows pipe: what bytes mean, on top of two lanes (``overlapped.py``)."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import TYPE_CHECKING, Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.base import Connection
from npipe.transport.kernel32 import Kernel32, address_of
from npipe.transport.overlapped import REFUSED, Lane, new_event
from npipe.transport.windows_handles import peer_of, pipe_type
from npipe.transport.winerror import (
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
_END: Final = (ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED)
_READ_SIZE: Final = 65536
# One WriteFile pins its buffer and may have it copied to memory that is never paged out.
_WRITE_SIZE: Final = 1 << 20
_POISON: Final = (
    "an earlier write was cut while the other end was reading it, and Windows does not say how "
    "much arrived: close this connection"
)


class WindowsConnection(Connection):
    """One end of a pipe whose handle was opened with FILE_FLAG_OVERLAPPED."""

    def __init__(
        self, api: Kernel32, handle: int, address: Address, *, server_end: bool, event: int = 0
    ) -> None:
        """Own ``handle``, and ``event`` if given, unless this raises."""
        self._api = api
        self._handle = handle
        self._address = address
        self._server_end = server_end
        self._message_mode = pipe_type(handle, api)[1]
        self._peer: PeerIdentity | None = None
        self._guard = threading.Lock()  # for _closing and for calls that only ask about the handle
        self._closing = False
        self._released = False
        self._spare = b""  # read, but its reader was interrupted
        self._ended = False
        self._poison: str | None = None
        made: list[int] = []
        try:
            made = [event] if event else [new_event(api)]
            made.append(new_event(api))
        except BaseException:
            for mine in made:
                if mine != event:
                    api.CloseHandle(mine)
            raise
        self._reader = Lane(api, handle, made[0])
        self._writer = Lane(api, handle, made[1])

    # -- reading

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        with self._reader.turn:
            buffer = bytearray(min(size, _READ_SIZE))
            count = self._read(memoryview(buffer))
            del buffer[count:]
            return bytes(buffer)

    def readall(self) -> bytes:
        parts = []
        while part := self.read(_READ_SIZE):
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with self._reader.turn:
            view = memoryview(buffer).cast("B")
            try:
                return self._read(view)
            finally:
                _release(view)

    def _read(self, view: memoryview) -> int:
        """Read into ``view``; 0 at the end. The turn is held."""
        lane = self._reader
        if not view or self._spare or self._ended:
            return self._read_spare(view)
        code, count = ERROR_OPERATION_ABORTED, 0
        while code in _CUT:
            pointer = address_of(view)
            try:
                code, count = lane.transfer(self._api.ReadFile, pointer, len(view))
            except BaseException:
                self._spare = bytes(view[: lane.interrupted[1]])
                raise
            finally:
                del pointer  # it pins the buffer
            if code in _CUT and (reason := lane.refusal()):
                raise reason
        # A message longer than the buffer is not cut: its rest comes with the next read. A message
        # of no bytes is how the other end says, on a message pipe, that it writes no more.
        if code in _END or (code == 0 and count == 0):
            self._ended = True
            return 0
        if code not in (0, ERROR_MORE_DATA):
            raise error(code)
        return count

    def _read_spare(self, view: memoryview) -> int:
        if reason := self._reader.refusal():
            raise reason
        count = min(len(view), len(self._spare))
        view[:count] = self._spare[:count]
        self._spare = self._spare[count:]
        return count

    # -- writing

    def write(self, data: ReadableBuffer, /) -> int:
        with self._writer.turn:
            view = memoryview(data).cast("B")
            try:
                return self._write(data, view)
            finally:
                _release(view)

    def _write(self, data: ReadableBuffer, view: memoryview) -> int:
        """Write ``view``, which shows ``data``. The turn is held."""
        self._require_writable()
        size = len(view)
        if not size:  # a message of no bytes would say that nothing follows
            return 0
        if size <= _WRITE_SIZE or self._message_mode:  # one call is one message
            return self._write_part(data, view, 0)
        for start in range(0, size, _WRITE_SIZE):
            part = view[start : start + _WRITE_SIZE]
            self._write_part(part, part, start)
        return size

    def _write_part(self, data: ReadableBuffer, view: memoryview, before: int) -> int:
        """Write ``view`` whole; ``before`` bytes of the caller's data have gone already."""
        lane, size = self._writer, len(view)
        code = REFUSED
        while code == REFUSED:
            # bytes go as they are; ctypes takes the address of other memory only if it is writable.
            pointer = data if isinstance(data, bytes) else _pointer(view)
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
        if code == 0 and count == size:
            return size
        if code in (0, ERROR_OPERATION_ABORTED):
            self._poison = _POISON
            raise _told(lane.refusal() or error(code), None)
        raise _told(error(code), before)

    def _require_writable(self) -> None:
        if reason := self._writer.refusal():
            raise _told(reason, 0)
        if self._poison:
            raise _told(BrokenPipeError(self._poison), 0)

    def close_write(self) -> None:
        raise io.UnsupportedOperation("close_write")

    def flush(self) -> None:
        if self.closed:
            raise ClosedError

    # -- deadlines and the end

    def set_read_deadline(self, when: float | None) -> None:
        self._reader.set_deadline(when)

    def set_write_deadline(self, when: float | None) -> None:
        self._writer.set_deadline(when)

    @property
    def closed(self) -> bool:
        return self._closing

    def close(self) -> None:
        """End both directions, and wait until the kernel has let go of what was in flight."""
        if not hasattr(self, "_writer"):
            return  # the constructor failed, and the handle is its caller's
        with self._guard:
            self._closing = True
        self._reader.close()
        self._writer.close()
        with self._reader.turn, self._writer.turn, self._guard:
            if self._released:
                return
            self._released = True
            # No DisconnectNamedPipe: it would take from the other end what it has not read yet.
            self._api.CloseHandle(self._handle)
            self._reader.release()
            self._writer.release()

    # -- who

    @property
    def local_address(self) -> Address:
        return self._address

    @property
    def remote_address(self) -> Address:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        with self._guard:
            if self._peer is None or self._peer.sid is None:
                if self._closing:
                    raise ClosedError
                self._peer = peer_of(self._handle, self._api, server_end=self._server_end)
            return self._peer

    def fileno(self) -> int:
        """Return the handle, as a number. It stays this connection's."""
        with self._guard:
            if self._closing:
                raise ClosedError
            return self._handle


def _release(view: memoryview) -> None:
    """Let go of the caller's buffer now, not when the last traceback is forgotten."""
    # After an interrupt the traceback still holds the pointer that was in use.
    with contextlib.suppress(BufferError):
        view.release()


def _pointer(view: memoryview) -> object:
    return bytes(view) if view.readonly else address_of(view)


def _told(exc: OSError, written: int | None) -> OSError:
    """Say in the exception how many bytes went; say nothing where the system does not tell."""
    if written is not None:
        exc.characters_written = written  # type: ignore[attr-defined]
    return exc
