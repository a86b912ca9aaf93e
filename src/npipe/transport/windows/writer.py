"""Writes of a connection: their parts, and the length of an incomplete write."""

from __future__ import annotations

import errno
import io
from typing import Any, Final

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows.direction import Direction
from npipe.transport.windows.handles import has_gone
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.memory import address_of
from npipe.transport.windows.overlapped import REFUSED
from npipe.transport.windows.reader import LONGEST_READ
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED, error, transfer_error

__all__ = ["LONGEST_REMOTE_WRITE", "WRITE_SIZE", "Writer", "part_size"]

_CUT: Final = (REFUSED, ERROR_OPERATION_ABORTED)
# The kernel copies the buffer of a WriteFile to non-paged memory: write at most 1 MiB at a time.
WRITE_SIZE: Final = 1 << 20
# "Pipe write operations across a network are limited to 65,535 bytes" (Microsoft page
# "WriteFileEx").
LONGEST_REMOTE_WRITE: Final = 65535
_POISON: Final = (
    "an earlier write was cut while it waited for the peer to read, and Windows does not report "
    "how much of it arrived: close this connection"
)


class Writer(Direction):
    """The writes of one handle. The thread that calls a method holds ``turn``."""

    __slots__ = ("_ended", "_message_mode", "_part", "_poison", "_writable")

    def __init__(
        self,
        api: Kernel32,
        handle: int,
        event: int,
        *,
        message_mode: bool,
        part: int,
        writable: bool,
    ) -> None:
        """Prepare the writes.

        Args:
            api: The bindings.
            handle: Handle of the pipe, which the caller still owns.
            event: A manual-reset event, which this object owns.
            message_mode: Whether the pipe is of the message type.
            part: Maximum number of bytes for one WriteFile; see ``part_size``.
            writable: False at the end of a one-way pipe that only reads.
        """
        super().__init__(api, handle, event)
        self._message_mode = message_mode
        self._part = part
        self._writable = writable
        self._ended = False
        self._poison: str | None = None

    def write(self, view: memoryview | bytes) -> int:
        """Write all of ``view``; return its length."""
        self._require_writable()
        size = len(view)
        if not size:  # an empty message would mark the end of the stream
            return 0
        if self._message_mode and size > self._part:  # one call is one message
            text = f"a message of {size} bytes: this pipe accepts at most {self._part} in one write"
            raise _counted(OSError(errno.EMSGSIZE, text), 0)
        if size <= self._part:
            self._write_part(view, 0)
        else:
            for start in range(0, size, self._part):
                self._write_part(view[start : start + self._part], start)
        return size

    def _write_part(self, view: memoryview | bytes, before: int) -> None:
        """Write all of ``view``; ``before`` bytes of the caller's data were written before it."""
        size = len(view)
        code, count = REFUSED, 0
        while code == REFUSED:
            # bytes are passed directly; ctypes takes the address of other memory only if writable.
            pointer = view if isinstance(view, bytes) else _pointer(view)
            self.forget()
            try:
                code, count = self.transfer(self._api.WriteFile, pointer, size)
            except BaseException:
                if self.result not in ((0, size), (REFUSED, 0)):
                    self._poison = _POISON
                raise
            finally:
                del pointer  # it pins the buffer
            if code == REFUSED and (reason := self.refusal()):
                raise _counted(reason, before)
        if code in (0, ERROR_OPERATION_ABORTED) and count < size:
            # The write was cancelled. The kernel reports 0 bytes and drops the rest, also when the
            # other end has read half of the data.
            self._poison = _POISON
            raise _counted(self.refusal() or error(ERROR_OPERATION_ABORTED), None)
        if code:
            raise _counted(transfer_error(code), before)

    def _require_writable(self) -> None:
        if not self._writable:
            raise io.UnsupportedOperation("write: this end of a one-way pipe only reads")
        if reason := self.refusal():
            raise _counted(reason, 0)
        if self._ended:
            raise _counted(ClosedError("write side of the connection"), 0)
        if self._poison:
            raise _counted(BrokenPipeError(errno.EPIPE, self._poison), 0)

    def close_write(self) -> None:
        """Write the empty message that marks the end of the stream on a message pipe."""
        if self._closed:
            raise ClosedError
        if not self._message_mode:
            raise io.UnsupportedOperation(
                "close_write: a pipe of the byte type has no half-close; its server must create it "
                "with message_mode=True"
            )
        if self._ended:
            return
        self._require_writable()
        code = REFUSED
        while code in _CUT:  # an empty message cannot be written in part
            code, _ = self.transfer(self._api.WriteFile, b"", 0)
            if code in _CUT and (reason := self.refusal()):
                raise reason
        if code:
            raise transfer_error(code)
        self._ended = True

    def flush(self) -> None:
        """Wait until the peer has read all bytes."""
        if reason := self.refusal():
            raise reason
        if not self._writable:
            return
        # The empty message at the end of a message pipe uses no quota, so `has_unread` does not
        # count it.
        gone = has_gone(self._handle, self._api)
        if not (self._ended or gone or self._api.has_unread(self._handle)):
            return
        code = REFUSED
        while code in _CUT:
            code = self.run_aside(lambda: self._api.FlushFileBuffers(self._handle), "npipe-flush")
            if code in _CUT and (reason := self.refusal()):
                raise reason
        if code:
            raise transfer_error(code)


def part_size(address: Address, message_mode: bool) -> int:
    """Return the maximum number of bytes for one WriteFile."""
    if address.host is not None:
        return LONGEST_REMOTE_WRITE
    return LONGEST_READ if message_mode else WRITE_SIZE


def _pointer(view: memoryview) -> Any:
    return bytes(view) if view.readonly else address_of(view)


def _counted(exc: Exception, written: int | None) -> Exception:
    """Set ``characters_written`` of the exception, unless the number of bytes is not known."""
    if written is not None:
        exc.characters_written = written  # type: ignore[attr-defined]  # every OSError has it
    return exc
