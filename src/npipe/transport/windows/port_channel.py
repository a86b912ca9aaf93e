"""Reads and writes of one connection on a completion port; none of them waits. See ``port.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from npipe.errors import ClosedError
from npipe.transport.windows.kernel32.memory import OVERLAPPED, address_of, location_of, overlapped
from npipe.transport.windows.winerror import (
    ERROR_BROKEN_PIPE,
    ERROR_IO_PENDING,
    ERROR_MORE_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_NOT_CONNECTED,
    transfer_error,
)

if TYPE_CHECKING:
    import threading

    from npipe.transport.windows.kernel32 import Kernel32
    from npipe.transport.windows.reader import Reader

__all__ = ["BUFFER_SIZE", "FIRST_SIZE", "PortChannel", "PortOperation"]

# Bytes of the read that each connection has begun: at first, and once it has received more at once.
FIRST_SIZE: Final = 512
BUFFER_SIZE: Final = 4096
# The kernel copies the buffer of a write to non-paged memory, and one part per connection may wait.
_PART: Final = 65536
_MOST_AT_ONCE: Final = 16 * _PART  # bytes of one ``write_now``
_END: Final = (ERROR_BROKEN_PIPE, ERROR_PIPE_NOT_CONNECTED)


class Port(Protocol):
    """The attributes of a ``CompletionPort`` that a channel uses."""

    api: Kernel32
    lock: threading.RLock
    begun: dict[int, PortOperation]
    channels: dict[int, PortChannel]


class PortOperation:
    """An OVERLAPPED without an event, and what the kernel writes to for it."""

    __slots__ = ("address", "arguments", "begun", "channel", "counted", "overlapped", "reference")

    overlapped: OVERLAPPED
    reference: Any

    def __init__(self, channel: PortChannel) -> None:
        self.channel: PortChannel = channel
        self.overlapped, self.reference = overlapped(0)
        self.address: int = location_of(self.overlapped)
        self.arguments: tuple[Any, ...] = ()
        self.begun: bool = False  # its packet has not been taken
        self.counted: bool = False  # the packet brings nothing new


class PortChannel:
    """The reads and writes of one connection on a port. None of them waits.

    One thread at a time reads, and one at a time writes. The port's lock guards the state of the
    reads, because ``close`` may be called by any thread: it is called before the handle is closed,
    and no operation begins after it.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_handle",
        "_pointer",
        "_port",
        "_read",
        "_reader",
        "_result",
        "_skips",
        "_taken",
        "_write",
        "_written",
        "handle",
        "interest",
    )

    def __init__(self, port: Port, handle: int, reader: Reader, *, skips: bool) -> None:
        """Make a channel; ``CompletionPort.bind`` calls this.

        Args:
            port: The port that the handle is bound to.
            handle: Handle of the pipe.
            reader: The reads of its connection, for bytes that it has kept and for those that do
                not fit the buffer.
            skips: Whether an operation that succeeds at once queues no packet.
        """
        self.handle: int = handle
        self.interest: int = 0
        """For the user of the channel: the events that it waits for."""
        self._port = port
        self._reader = reader
        self._skips = skips
        self._closed = False
        self._buffer = bytearray(FIRST_SIZE)
        self._pointer = address_of(self._buffer)
        self._read = PortOperation(self)
        self._result: tuple[int, int] | None = None  # (code, bytes) of a read not yet returned
        self._taken = 0  # bytes of it that were returned
        self._write: PortOperation | None = None  # made by the first write
        self._written: tuple[int, int] | None = None  # (code, bytes) of a write that waited

    @property
    def readable(self) -> bool:
        """True if ``read_now`` would return bytes or the end, or raise."""
        return self._result is not None or bool(self._reader.held)

    @property
    def writable(self) -> bool:
        """True unless a write waits for the peer to read.

        During the call that begins a write this waits for its result, which decides whether a
        packet will come.
        """
        with self._port.lock:
            return self._write is None or self._write.counted or not self._write.begun

    def arm(self) -> None:
        """Begin a read, unless one has begun or ended. The channel is ``readable`` at its end."""
        with self._port.lock:
            self._arm()

    def _arm(self) -> None:
        if self._closed or self._read.begun or self.readable:
            return
        size = len(self._buffer)
        code = self._begin(self._read, self._port.api.ReadFile, self._pointer, size)
        if not self._read.begun:
            self._result = self._result_of(self._read, code)

    def _begin(self, operation: PortOperation, call: Callable[..., int], *arguments: Any) -> int:
        """Make the call; afterwards ``operation.begun`` tells whether a packet will come."""
        begun = self._port.begun
        operation.arguments = arguments
        operation.begun = True
        begun[operation.address] = operation
        code = call(self.handle, *arguments, operation.reference)
        if code != ERROR_IO_PENDING and (self._skips or code not in (0, ERROR_MORE_DATA)):
            operation.begun = False
            del begun[operation.address]
        return code

    def _result_of(self, operation: PortOperation, code: int) -> tuple[int, int]:
        """Return (code, bytes) of an operation that has ended.

        Args:
            operation: The operation.
            code: What its call returned. The OVERLAPPED of a call that failed must not be read.
        """
        if code not in (0, ERROR_MORE_DATA, ERROR_IO_PENDING):
            return code, 0
        state = operation.overlapped
        if state.Internal == 0:  # STATUS_SUCCESS; saves a call
            return 0, state.InternalHigh
        return self._port.api.GetOverlappedResult(self.handle, operation.reference, False)

    def ended(self, operation: PortOperation) -> None:
        """Take the result of an operation whose packet came. The caller holds the port's lock."""
        result = self._result_of(operation, ERROR_IO_PENDING)
        operation.arguments = ()
        if operation is self._read:
            if result[0] == ERROR_OPERATION_ABORTED:  # not by ``close``: it has taken no byte
                self._arm()
            else:
                self._result = result
        elif not operation.counted:
            self._written = result

    def read_now(self, size: int) -> bytes | None:
        """Return the bytes that have arrived; see ``Connection.read_now``.

        The caller calls ``arm`` for the next bytes.
        """
        if self._closed:
            raise ClosedError
        if self._reader.held:
            return self._reader.read(size)
        if self._result is None:
            return None
        code, count = self._result
        # The end and an error stay, so that the next call reports them again.
        if code in _END or (code == 0 and count == 0):
            return b""
        if code not in (0, ERROR_MORE_DATA):
            raise transfer_error(code)
        end = min(count, self._taken + size)
        data = bytes(memoryview(self._buffer)[self._taken : end])
        if end < count:
            self._taken = end
            return data
        result = None
        if count == len(self._buffer):
            if len(data) < size:
                rest, result = self._rest(size - len(data))
                data += rest
            if count < BUFFER_SIZE:
                self._buffer = bytearray(BUFFER_SIZE)
                self._pointer = address_of(self._buffer)
        # Last: any thread may begin the next read now.
        self._taken, self._result = 0, result
        return data

    def _rest(self, size: int) -> tuple[bytes, tuple[int, int] | None]:
        """Read bytes that did not fit the buffer. They are there, so this does not wait.

        Returns:
            The bytes, and the result of the next read if it is known.
        """
        _, left = self._port.api.PeekNamedPipe(self.handle)
        if not left:
            return b"", None
        buffer = bytearray(min(size, left))
        count = self._reader.readinto(buffer)
        # No bytes: the empty message at the end of a message pipe.
        return bytes(memoryview(buffer)[:count]), None if count else (0, 0)

    def write_now(self, data: bytes | memoryview) -> int:
        """Write; see ``Connection.write_now``.

        Bytes that do not fit the pipe count as written only when the peer has read them. Until
        then this method returns 0, and the caller must pass the same bytes again; more bytes may
        follow them.
        """
        if not self.writable:
            return 0
        sent = self._waited()
        size = min(len(data), _MOST_AT_ONCE)
        while sent < size:
            part = data if len(data) <= _PART and not sent else data[sent : sent + _PART]
            code = self._write_part(bytes(part))
            if code == ERROR_IO_PENDING:
                break
            if code:
                if sent:
                    break  # the next call reports the error
                raise transfer_error(code)
            sent += len(part)
        return sent

    def _write_part(self, part: bytes) -> int:
        with self._port.lock:
            if self._closed:
                raise ClosedError
            write = self._write
            if write is None or write.begun:  # its packet has not come yet
                write = self._write = PortOperation(self)
            code = self._begin(write, self._port.api.WriteFile, part, len(part))
            write.counted = code != ERROR_IO_PENDING
            return code

    def _waited(self) -> int:
        """Return the number of bytes of a write that has waited and ended."""
        if self._written is None:
            return 0
        (code, count), self._written = self._written, None
        if code:
            raise transfer_error(code)
        return count

    def close(self) -> None:
        """Cancel what has begun and begin nothing more. Call this before the handle is closed."""
        port = self._port
        with port.lock:
            if self._closed:
                return
            self._closed = True
            if port.channels.get(self.handle) is self:
                del port.channels[self.handle]
            if self._read.begun or (self._write is not None and self._write.begun):
                port.api.CancelIoEx(self.handle, None)
