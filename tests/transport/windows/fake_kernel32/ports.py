"""Completion ports of the fake kernel.

Microsoft pages: CreateIoCompletionPort, GetQueuedCompletionStatusEx, PostQueuedCompletionStatus,
SetFileCompletionNotificationModes. An operation that ends at once queues a packet too, unless the
handle skips it; a call that fails queues none; nor does an operation whose event has its low bit
set.
"""

from __future__ import annotations

import time

from npipe.transport.windows.kernel32.constants import INFINITE, WAIT_TIMEOUT
from npipe.transport.windows.kernel32.ports import MOST_PACKETS
from npipe.transport.windows.winerror import ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER
from transport.windows.fake_kernel32.objects import End, Port
from transport.windows.fake_kernel32.questions import Questions


class Ports(Questions):
    """The calls on completion ports."""

    def CreateIoCompletionPort(self, handle: int | None, port: int) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("CreateIoCompletionPort", handle, port):
                return code, 0
            if handle is None:
                return 0, self._new(Port())
            end = self._get(handle, End, "CreateIoCompletionPort")
            if not end:
                return ERROR_INVALID_HANDLE, 0
            if end.port or not self.is_overlapped(handle):
                return ERROR_INVALID_PARAMETER, 0
            end.port = self._get(port, Port, "CreateIoCompletionPort")
            return 0, port

    def SkipPacketOnSuccess(self, handle: int) -> int:
        with self._changed:
            if code := self._enter("SkipPacketOnSuccess", handle):
                return code
            self._get(handle, End, "SkipPacketOnSuccess").skips = True
            return 0

    def GetQueuedCompletionStatusEx(
        self, port: int, milliseconds: int
    ) -> tuple[int, list[int | None]]:
        with self._changed:
            if code := self._enter("GetQueuedCompletionStatusEx", port, milliseconds):
                return code, []
            queue = self._get(port, Port, "GetQueuedCompletionStatusEx")
            if not queue:
                return ERROR_INVALID_HANDLE, []
            limit = None if milliseconds == INFINITE else time.monotonic() + milliseconds / 1000
            queue.waiters += 1
            self._changed.notify_all()
            left = None if limit is None else max(limit - time.monotonic(), 0)
            self._changed.wait_for(lambda: queue.packets, left)
            queue.waiters -= 1
            if not queue.packets:
                return WAIT_TIMEOUT, []
            taken = queue.packets[:MOST_PACKETS]
            del queue.packets[:MOST_PACKETS]
            return 0, taken

    def PostQueuedCompletionStatus(self, port: int) -> int:
        with self._changed:
            if code := self._enter("PostQueuedCompletionStatus", port):
                return code
            queue = self._get(port, Port, "PostQueuedCompletionStatus")
            if not queue:
                return ERROR_INVALID_HANDLE
            queue.packets.append(None)
            self._changed.notify_all()
            return 0
