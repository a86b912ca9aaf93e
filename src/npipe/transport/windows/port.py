"""Completion port: the reads and writes of many connections, without one thread for each.

A server's event loop waits at the port for all its connections. Each has one read begun, into a
small buffer of its own, and its writes are made directly: one that does not fit the pipe continues
in the kernel. Rules (Microsoft pages "I/O Completion Ports", CreateIoCompletionPort,
GetQueuedCompletionStatusEx, SetFileCompletionNotificationModes):

* An operation without an event queues one packet when it ends. If it ends at once it queues one
  too, unless the handle skips it; a call that fails queues none.
* The status is written before the packet is queued. The kernel may write to the OVERLAPPED and the
  buffer until then, so ``CompletionPort`` keeps each operation until its packet was taken, also
  after its handle was closed.
* The operations of a handle that is bound to a port do not end with the thread that began them.
  Those of a ``Direction`` have an event with the low bit set, and queue no packet.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.kernel32.constants import WAIT_TIMEOUT
from npipe.transport.windows.port_channel import PortChannel, PortOperation
from npipe.transport.windows.winerror import error

if TYPE_CHECKING:
    from npipe.transport.windows.reader import Reader

__all__ = ["CompletionPort"]

_PATIENCE: Final = 1.0  # seconds to wait for the end of cancelled operations

_abandoned: list[CompletionPort] = []
"""Closed ports with operations that did not end in time: their memory must never be reused."""


class CompletionPort:
    """A port and the operations begun on the connections bound to it.

    Any thread may call any method, but only one at a time calls ``wait``.
    """

    def __init__(self, api: Kernel32 | None = None) -> None:
        """Make a port.

        Args:
            api: The bindings; None loads those of this process.

        Raises:
            OSError: The system cannot make one.
        """
        self.api: Kernel32 = load() if api is None else api
        code, self._port = self.api.CreateIoCompletionPort(None, 0)
        if code:
            raise error(code)
        self.lock: threading.RLock = threading.RLock()  # a signal handler may call ``wake``
        """Guards the state of the port and of the reads of its channels."""
        self.begun: dict[int, PortOperation] = {}
        """The operations whose packets have not been taken, by the address of the OVERLAPPED."""
        self.channels: dict[int, PortChannel] = {}
        """The open channels, by their handles."""
        self._closed = False

    def bind(self, handle: int, reader: Reader, *, message_mode: bool) -> PortChannel | None:
        """Bind a pipe to this port.

        Args:
            handle: Handle of the pipe.
            reader: The reads of its connection, which no thread uses now.
            message_mode: Whether the pipe is of the message type.

        Returns:
            The channel; None if the system refuses, for example because the handle is bound to
            another port.
        """
        code, _ = self.api.CreateIoCompletionPort(handle, self._port)
        if code:
            return None
        # A read of a part of a message ends with a warning. Whether that counts as success is not
        # documented, so a pipe of the message type skips no packet.
        skips = not message_mode and not self.api.SkipPacketOnSuccess(handle)
        channel = self.channels[handle] = PortChannel(self, handle, reader, skips=skips)
        return channel

    def wait(self, milliseconds: int) -> list[PortChannel]:
        """Wait until operations end, ``wake`` is called or the time has passed.

        Returns:
            The channels whose operations have ended.

        Raises:
            OSError: The system cannot wait.
        """
        code, packets = self.api.GetQueuedCompletionStatusEx(self._port, milliseconds)
        if code == WAIT_TIMEOUT:
            return []
        if code:
            raise error(code)
        channels = []
        with self.lock:
            for address in packets:
                operation = None if address is None else self.begun.pop(address, None)
                if operation:
                    operation.begun = False
                    operation.channel.ended(operation)
                    channels.append(operation.channel)
        return channels

    def wake(self) -> None:
        """End the wait of another thread, or the next one. Each call ends one."""
        with self.lock:
            if not self._closed:
                self.api.PostQueuedCompletionStatus(self._port)

    def close(self) -> None:
        """Close the port. Its channels must have been closed, and no thread may wait."""
        until = time.monotonic() + _PATIENCE
        while self.begun and (left := until - time.monotonic()) > 0:
            self.wait(int(left * 1000) + 1)
        with self.lock:
            self._closed = True
            if self.begun:
                _abandoned.append(self)
            self.api.CloseHandle(self._port)
