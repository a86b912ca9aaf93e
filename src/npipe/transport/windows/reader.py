"""Reads of a connection: the end of the stream, and the bytes of an interrupted read."""

from __future__ import annotations

import io
from typing import Final

from npipe.transport.windows.direction import Direction
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.memory import address_of
from npipe.transport.windows.overlapped import REFUSED
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_MORE_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_NOT_CONNECTED,
    transfer_error,
)

__all__ = ["LONGEST_READ", "READ_SIZE", "Reader"]

_CUT: Final = (REFUSED, ERROR_OPERATION_ABORTED)
# The peer has closed its handle; or a server has called DisconnectNamedPipe instead.
_END: Final = (ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED)
READ_SIZE: Final = 65536  # bytes
LONGEST_READ: Final = 1 << 30  # bytes; ReadFile takes a DWORD


class Reader(Direction):
    """The reads of one handle. The thread that calls a method holds ``turn``."""

    __slots__ = ("_ended", "_readable", "_spare", "held")

    def __init__(self, api: Kernel32, handle: int, event: int, *, readable: bool) -> None:
        """Prepare the reads.

        Args:
            api: The bindings.
            handle: Handle of the pipe, which the caller still owns.
            event: A manual-reset event, which this object owns.
            readable: False at the end of a one-way pipe that only writes.
        """
        super().__init__(api, handle, event)
        self._readable = readable
        self._ended = False
        self._spare: bytearray | None = None  # buffer of the last read, for reuse
        self.held: bytes = b""  # bytes read but not yet returned to a caller

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; return b"" at the end."""
        size = min(size, READ_SIZE)
        # Removed from the attribute: a signal handler may call read during this read.
        buffer, self._spare = self._spare, None
        if buffer is None or len(buffer) != size:
            buffer = bytearray(size)
        count = self.readinto(buffer)
        data = bytes(buffer) if count == size else bytes(memoryview(buffer)[:count])
        self._spare = buffer
        return data

    def readall(self) -> bytes:
        """Read until the end."""
        parts = []
        buffer = bytearray(READ_SIZE)
        view = memoryview(buffer)
        try:
            while count := self.readinto(view):
                parts.append(bytes(view[:count]))
        except BaseException:
            self.held = b"".join(parts) + self.held
            raise
        return b"".join(parts)

    def readinto(self, view: memoryview | bytearray, due: float | None = None) -> int:
        """Read into ``view``.

        Args:
            view: Receives the bytes.
            due: An additional deadline, a value of ``time.monotonic()`` in seconds; None for none.

        Returns:
            The number of bytes, 0 at the end.
        """
        if not self._readable:
            raise io.UnsupportedOperation("read: this end of a one-way pipe only writes")
        if not view or self.held or self._ended:
            return self._read_held(view)
        size = min(len(view), LONGEST_READ)
        code, count = REFUSED, 0
        while code in _CUT:
            pointer = address_of(view)
            self.forget()
            try:
                code, count = self.transfer(self._api.ReadFile, pointer, size, due)
            except BaseException:
                self.held = bytes(view[: self.result[1]])
                raise
            finally:
                del pointer  # it pins the buffer
            if code in _CUT and (reason := self.refusal(due)):
                raise reason
        # The rest of a message longer than the buffer is returned by the next read. On a message
        # pipe an empty message is the end of the stream.
        if code in _END or (code == 0 and count == 0):
            self._ended = True
            return 0
        if code not in (0, ERROR_MORE_DATA):
            raise transfer_error(code)
        return count

    def wait_readable(self, due: float | None) -> bool:
        """Wait until a read would return at once.

        Args:
            due: A value of ``time.monotonic()`` in seconds; None for no deadline.

        Returns:
            False if that is not so at ``due``.
        """
        if reason := self.refusal():
            raise reason
        if self.held or self._ended:
            return True
        buffer = bytearray(READ_SIZE)
        try:
            count = self.readinto(buffer, due)
        except TimeoutError:
            if self.refusal():
                raise  # the read deadline has passed, not the timeout of this call
            return False
        self.held = bytes(memoryview(buffer)[:count])
        return True

    def release(self) -> None:
        super().release()
        self._spare = None

    def _read_held(self, view: memoryview | bytearray) -> int:
        if reason := self.refusal():
            raise reason
        count = min(len(view), len(self.held))
        view[:count] = self.held[:count]
        self.held = self.held[count:]
        return count
