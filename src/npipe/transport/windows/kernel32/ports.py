"""Bindings to the calls on I/O completion ports."""

from __future__ import annotations

from ctypes import byref, wintypes

from npipe.transport.windows.kernel32.constants import (
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS,
    INVALID_HANDLE_VALUE,
)
from npipe.transport.windows.kernel32.functions import Functions, last_error
from npipe.transport.windows.kernel32.memory import OVERLAPPED_ENTRY

__all__ = ["MOST_PACKETS", "PortCalls"]

MOST_PACKETS = 128  # taken by one call; the next call takes the rest


class PortCalls(Functions):
    """Calls that make a port, bind handles to it, and queue and take its packets."""

    def CreateIoCompletionPort(self, handle: int | None, port: int) -> tuple[int, int]:
        """Make a port, or bind a handle to one.

        Args:
            handle: The handle to bind; None makes a port.
            port: The port to bind it to; 0 makes a port.

        Returns:
            (code, the port). A handle that is bound to a port already, or that was not opened for
            overlapped I/O, gives ERROR_INVALID_PARAMETER.
        """
        # One thread at a time takes packets, so the limit of running threads does not matter: 0.
        file = INVALID_HANDLE_VALUE if handle is None else handle
        port = self._CreateIoCompletionPort(file, port or None, 0, 0)
        return (0, port) if port else (last_error(), 0)

    def SkipPacketOnSuccess(self, handle: int) -> int:
        """Have no packet queued for a call that succeeds at once.

        The title of the Microsoft page is SetFileCompletionNotificationModes.
        """
        done = self._SetFileCompletionNotificationModes(
            handle, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
        )
        return 0 if done else last_error()

    def GetQueuedCompletionStatusEx(
        self, port: int, milliseconds: int
    ) -> tuple[int, list[int | None]]:
        """Wait for packets; return (code, address of the OVERLAPPED of each packet).

        The address is None for a packet of ``PostQueuedCompletionStatus``. The code is
        WAIT_TIMEOUT if no packet was queued in time.
        """
        entries = (OVERLAPPED_ENTRY * MOST_PACKETS)()
        count = wintypes.ULONG()
        done = self._GetQueuedCompletionStatusEx(
            port, entries, MOST_PACKETS, byref(count), milliseconds, False
        )
        if not done:
            return last_error(), []
        return 0, [entries[index].lpOverlapped for index in range(count.value)]

    def PostQueuedCompletionStatus(self, port: int) -> int:
        """Queue a packet without an OVERLAPPED."""
        return 0 if self._PostQueuedCompletionStatus(port, 0, 0, None) else last_error()
