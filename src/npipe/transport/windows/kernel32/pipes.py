"""Bindings to the calls on named pipes."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_size_t, wintypes
from typing import Any

from npipe.transport.windows.kernel32.constants import (
    FILE_MODE_INFORMATION,
    FILE_PIPE_LOCAL_INFORMATION,
    FILE_SYNCHRONOUS_IO,
    INVALID_HANDLE_VALUE,
    OPEN_EXISTING,
)
from npipe.transport.windows.kernel32.functions import Functions, last_error
from npipe.transport.windows.kernel32.memory import SECURITY_ATTRIBUTES

__all__ = ["PipeCalls"]


class PipeCalls(Functions):
    """Calls that create, open, use and query pipes."""

    def CreateNamedPipe(
        self,
        name: str,
        open_mode: int,
        pipe_mode: int,
        *,
        instances: int,
        buffer_size: int,
        descriptor: int | None,
    ) -> tuple[int, int]:
        """Create an instance; return (code, handle).

        ``descriptor`` is the address of a security descriptor.
        """
        attributes = SECURITY_ATTRIBUTES(ctypes.sizeof(SECURITY_ATTRIBUTES), descriptor, False)
        sizes = (buffer_size, buffer_size, 0)  # output, input, default timeout of WaitNamedPipe
        handle = self._CreateNamedPipeW(
            name, open_mode, pipe_mode, instances, *sizes, byref(attributes)
        )
        return (last_error(), 0) if handle == INVALID_HANDLE_VALUE else (0, handle)

    def CreateFile(self, name: str, access: int, flags: int) -> tuple[int, int]:
        """Open an existing pipe, not shared and not inheritable; return (code, handle)."""
        handle = self._CreateFileW(name, access, 0, None, OPEN_EXISTING, flags, None)
        return (last_error(), 0) if handle == INVALID_HANDLE_VALUE else (0, handle)

    def ConnectNamedPipe(self, handle: int, overlapped: Any) -> int:
        return 0 if self._ConnectNamedPipe(handle, overlapped) else last_error()

    def DisconnectNamedPipe(self, handle: int) -> int:
        return 0 if self._DisconnectNamedPipe(handle) else last_error()

    def WaitNamedPipe(self, name: str, milliseconds: int) -> int:
        return 0 if self._WaitNamedPipeW(name, milliseconds) else last_error()

    def PeekNamedPipe(self, handle: int) -> tuple[int, int]:
        """Return (code, number of bytes that can be read now)."""
        available = wintypes.DWORD()
        done = self._PeekNamedPipe(handle, None, 0, None, byref(available), None)
        return 0 if done else last_error(), available.value

    def ReadFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        """Begin to read. ``OVERLAPPED.InternalHigh`` holds the number of bytes at the end."""
        return 0 if self._ReadFile(handle, buffer, size, None, overlapped) else last_error()

    def WriteFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        """Begin to write. ``OVERLAPPED.InternalHigh`` holds the number of bytes at the end."""
        return 0 if self._WriteFile(handle, buffer, size, None, overlapped) else last_error()

    def GetOverlappedResult(self, handle: int, overlapped: Any, wait: bool) -> tuple[int, int]:
        """Return (code, number of bytes transferred)."""
        count = wintypes.DWORD()
        if self._GetOverlappedResult(handle, overlapped, byref(count), wait):
            return 0, count.value
        return last_error(), count.value

    def CancelIoEx(self, handle: int, overlapped: Any) -> int:
        return 0 if self._CancelIoEx(handle, overlapped) else last_error()

    def FlushFileBuffers(self, handle: int) -> int:
        """Block until the peer has read all bytes; CancelSynchronousIo ends the call."""
        return 0 if self._FlushFileBuffers(handle) else last_error()

    def GetNamedPipeInfo(self, handle: int) -> tuple[int, int, int, int]:
        """Return (code, flags, output buffer size, input buffer size)."""
        flags, out, in_ = wintypes.DWORD(), wintypes.DWORD(), wintypes.DWORD()
        done = self._GetNamedPipeInfo(handle, byref(flags), byref(out), byref(in_), None)
        return 0 if done else last_error(), flags.value, out.value, in_.value

    def SetNamedPipeHandleState(self, handle: int, mode: int) -> int:
        done = self._SetNamedPipeHandleState(handle, byref(wintypes.DWORD(mode)), None, None)
        return 0 if done else last_error()

    def GetNamedPipeProcessId(self, handle: int, *, server: bool) -> int | None:
        """Return the process id of the server's or the client's end; None if it is not known."""
        call = self._GetNamedPipeServerProcessId if server else self._GetNamedPipeClientProcessId
        return _number(call, handle)

    def GetNamedPipeSessionId(self, handle: int, *, server: bool) -> int | None:
        """Return the session id of the server's or the client's end; None if it is not known."""
        call = self._GetNamedPipeServerSessionId if server else self._GetNamedPipeClientSessionId
        return _number(call, handle)

    def is_overlapped(self, handle: int) -> bool:
        """Tell whether the handle was opened with FILE_FLAG_OVERLAPPED; True if unknown.

        Without the flag a read blocks a write of another thread, and the other way round.
        """
        status = (c_size_t * 2)()
        mode = wintypes.DWORD()
        failed = self._NtQueryInformationFile(
            handle, status, byref(mode), ctypes.sizeof(mode), FILE_MODE_INFORMATION
        )
        return bool(failed) or not mode.value & FILE_SYNCHRONOUS_IO

    def has_unread(self, handle: int) -> bool:
        """Tell whether the peer may have unread bytes; True if unknown.

        This queries the quotas of the pipe (Microsoft page "FILE_PIPE_LOCAL_INFORMATION"). A read
        that waits at the other end may use quota too, so only False is certain.
        """
        status = (c_size_t * 2)()
        # Type, configuration, instances (2), inbound quota, data, outbound quota, room, state, end.
        facts = (wintypes.DWORD * 10)()
        failed = self._NtQueryInformationFile(
            handle, status, facts, ctypes.sizeof(facts), FILE_PIPE_LOCAL_INFORMATION
        )
        return bool(failed) or facts[7] < max(facts[4], facts[6])


def _number(call: Any, handle: int) -> int | None:
    value = wintypes.DWORD()
    return value.value if call(handle, byref(value)) else None
