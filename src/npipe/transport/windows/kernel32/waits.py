"""Bindings to the calls on handles, events and threads."""

from __future__ import annotations

from ctypes import wintypes

from npipe.transport.windows.kernel32.constants import (
    THREAD_TERMINATE,
)
from npipe.transport.windows.kernel32.functions import Functions, last_error

__all__ = ["WaitCalls"]


class WaitCalls(Functions):
    """Calls that close handles, and that wait or end the wait of a thread."""

    def CloseHandle(self, handle: int) -> int:
        return 0 if self._CloseHandle(handle) else last_error()

    def CreateEvent(self) -> tuple[int, int]:
        """Create a manual-reset event, not set; return (code, handle)."""
        handle = self._CreateEventW(None, True, False, None)
        return (0, handle) if handle else (last_error(), 0)

    def SetEvent(self, event: int) -> int:
        return 0 if self._SetEvent(event) else last_error()

    def ResetEvent(self, event: int) -> int:
        return 0 if self._ResetEvent(event) else last_error()

    def WaitForSingleObject(self, handle: int, milliseconds: int) -> int:
        """Return WAIT_OBJECT_0 or WAIT_TIMEOUT."""
        return int(self._WaitForSingleObject(handle, milliseconds))

    def WaitForMultipleObjects(self, handles: list[int], milliseconds: int) -> int:
        """Wait for any of at most 64 handles; return the lowest signalled index or WAIT_TIMEOUT."""
        array = (wintypes.HANDLE * len(handles))(*handles)
        return int(self._WaitForMultipleObjects(len(handles), array, False, milliseconds))

    def CancelSynchronousIo(self, thread_id: int) -> int:
        """Cancel the blocking call of a thread; return ERROR_NOT_FOUND if it is in no such call."""
        thread = self._OpenThread(THREAD_TERMINATE, False, thread_id)
        if not thread:
            return last_error()
        done = self._CancelSynchronousIo(thread)
        code = 0 if done else last_error()
        self._CloseHandle(thread)
        return code
