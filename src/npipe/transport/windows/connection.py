"""Connection over a Windows pipe, on top of two ``Direction`` objects.

This module decides which results end the stream, keeps the bytes of an interrupted read, and
reports the length of an incomplete write. Overlapped operations are in ``overlapped.py``, and the
creation of handles is in ``handles.py``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final, Self

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.base import Connection
from npipe.transport.checks import duration
from npipe.transport.windows.handles import pipe_type, prepare_client
from npipe.transport.windows.identity import peer_of
from npipe.transport.windows.kernel32 import Kernel32, address_of, load
from npipe.transport.windows.overlapped import REFUSED, Direction, new_event
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_MORE_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_NOT_CONNECTED,
    error,
    transfer_error,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["LONGEST_REMOTE_WRITE", "WRITE_SIZE", "WindowsConnection"]

_CUT: Final = (REFUSED, ERROR_OPERATION_ABORTED)
# The other end has closed its handle; or a server has called DisconnectNamedPipe instead.
_END: Final = (ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED)
_READ_SIZE: Final = 65536  # bytes
_LONGEST_READ: Final = 1 << 30  # bytes; ReadFile takes a DWORD
# The kernel copies the buffer of a WriteFile to non-paged memory: write at most 1 MiB at a time.
WRITE_SIZE: Final = 1 << 20
# "Pipe write operations across a network are limited to 65,535 bytes" (Microsoft page
# "WriteFileEx").
LONGEST_REMOTE_WRITE: Final = 65535
_POISON: Final = (
    "an earlier write was cut while it waited for the other end to read, and Windows does not say "
    "how much of it arrived: close this connection"
)


class WindowsConnection(Connection):
    """One end of a Windows pipe, as ``connect``, ``Listener.accept`` or ``adopt`` returns it.

    On a pipe of the message type (``message_mode``) one ``write`` is one message, and one read
    returns at most one message; several reads return a message that is longer than the buffer. An
    empty message marks the end of the stream there.
    """

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
        self._held = b""  # bytes read but not yet returned to a caller
        self._spare: bytearray | None = None  # buffer of the last read, for reuse
        self._read_ended = False
        self._write_ended = False
        self._poison: str | None = None
        self._part = _part_size(address, message_mode)
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
        size = min(size, _READ_SIZE)
        try:
            with self._reader.turn:
                # Removed from the attribute: a signal handler may call read during this read.
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

    def wait_readable(self, timeout: float | None = None) -> bool:
        timeout = duration(timeout)
        due = None if timeout is None else time.monotonic() + timeout
        with self._turn(self._reader):
            if reason := self._reader.refusal():
                raise reason
            if self._held or self._read_ended:
                return True
            buffer = bytearray(_READ_SIZE)
            try:
                count = self._read(buffer, due)
            except TimeoutError:
                if self._reader.refusal():
                    raise  # the read deadline has passed, not the timeout of this call
                return False
            self._held = bytes(memoryview(buffer)[:count])
            return True

    def _read(self, view: memoryview | bytearray, due: float | None = None) -> int:
        """Read into ``view``; return the number of bytes, 0 at the end. Needs ``turn``."""
        if "r" not in self.mode:
            raise io.UnsupportedOperation("read: this end of a one-way pipe only writes")
        direction = self._reader
        if not view or self._held or self._read_ended:
            return self._read_held(view)
        size = min(len(view), _LONGEST_READ)
        code, count = REFUSED, 0
        while code in _CUT:
            pointer = address_of(view)
            direction.forget()
            try:
                code, count = direction.transfer(self._api.ReadFile, pointer, size, due)
            except BaseException:
                self._held = bytes(view[: direction.result[1]])
                raise
            finally:
                del pointer  # it pins the buffer
            if code in _CUT and (reason := direction.refusal(due)):
                raise reason
        # The rest of a message longer than the buffer is returned by the next read. On a message
        # pipe an empty message is the end of the stream.
        if code in _END or (code == 0 and count == 0):
            self._read_ended = True
            return 0
        if code not in (0, ERROR_MORE_DATA):
            raise transfer_error(code)
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
        """Write ``view``. The caller holds ``turn``."""
        self._require_writable()
        size = len(view)
        if not size:  # an empty message would mark the end of the stream
            return 0
        if self._message_mode and size > self._part:  # one call is one message
            text = f"a message of {size} bytes: this pipe takes at most {self._part} in one write"
            raise _counted(OSError(errno.EMSGSIZE, text), 0)
        if size <= self._part:
            self._write_part(view, 0)
        else:
            for start in range(0, size, self._part):
                self._write_part(view[start : start + self._part], start)
        return size

    def _write_part(self, view: memoryview | bytes, before: int) -> None:
        """Write all of ``view``; ``before`` bytes of the caller's data were written before it."""
        direction, size = self._writer, len(view)
        code, count = REFUSED, 0
        while code == REFUSED:
            # bytes are passed directly; ctypes takes the address of other memory only if writable.
            pointer = view if isinstance(view, bytes) else _pointer(view)
            direction.forget()
            try:
                code, count = direction.transfer(self._api.WriteFile, pointer, size)
            except BaseException:
                if direction.result not in ((0, size), (REFUSED, 0)):
                    self._poison = _POISON
                raise
            finally:
                del pointer  # it pins the buffer
            if code == REFUSED and (reason := direction.refusal()):
                raise _counted(reason, before)
        if code in (0, ERROR_OPERATION_ABORTED) and count < size:
            # The write was cancelled. The kernel reports 0 bytes and drops the rest, also when the
            # other end has read half of the data.
            self._poison = _POISON
            raise _counted(direction.refusal() or error(ERROR_OPERATION_ABORTED), None)
        if code:
            raise _counted(transfer_error(code), before)

    def _require_writable(self) -> None:
        if "w" not in self.mode:
            raise io.UnsupportedOperation("write: this end of a one-way pipe only reads")
        if reason := self._writer.refusal():
            raise _counted(reason, 0)
        if self._write_ended:
            raise _counted(ClosedError("write side of the connection"), 0)
        if self._poison:
            raise _counted(BrokenPipeError(errno.EPIPE, self._poison), 0)

    def close_write(self) -> None:
        with self._turn(self._writer) as direction:
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
            while code in _CUT:  # an empty message cannot be written in part
                code, _ = direction.transfer(self._api.WriteFile, b"", 0)
                if code in _CUT and (reason := direction.refusal()):
                    raise reason
            if code:
                raise transfer_error(code)
            self._write_ended = True

    def has_gone(self) -> bool:
        with self._guard:
            if self._closed:
                return True
            gone, left = self._api.PeekNamedPipe(self._handle)
            return bool(gone) and not left

    def flush(self) -> None:
        with self._turn(self._writer) as direction:
            if reason := direction.refusal():
                raise reason
            # The empty message at the end of a message pipe uses no quota, so `has_unread` does not
            # count it.
            if not (self._write_ended or self.has_gone() or self._api.has_unread(self._handle)):
                return
            code = REFUSED
            while code in _CUT:
                code = direction.run_aside(
                    lambda: self._api.FlushFileBuffers(self._handle), "npipe-flush"
                )
                if code in _CUT and (reason := direction.refusal()):
                    raise reason
            if code:
                raise transfer_error(code)

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
            if self._held:
                raise ValueError(f"{len(self._held)} bytes were read and not taken: read them")
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
            self._spare = None
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
        """The identity of the other end.

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


def _part_size(address: Address, message_mode: bool) -> int:
    """Return the maximum number of bytes for one WriteFile."""
    if address.host is not None:
        return LONGEST_REMOTE_WRITE
    return _LONGEST_READ if message_mode else WRITE_SIZE


def _let_go(view: memoryview) -> None:
    """Release the caller's buffer now, and not only when the last traceback is deleted."""
    # After an interrupt the traceback still references the pointer that was in use.
    with contextlib.suppress(BufferError):
        view.release()


def _pointer(view: memoryview) -> Any:
    return bytes(view) if view.readonly else address_of(view)


def _counted(exc: Exception, written: int | None) -> Exception:
    """Set ``characters_written`` of the exception, unless the number of bytes is not known."""
    if written is not None:
        exc.characters_written = written  # type: ignore[attr-defined]  # every OSError has it
    return exc
