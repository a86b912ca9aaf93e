"""Reading, writing and flushing of the fake kernel.

Microsoft pages: ReadFile, WriteFile, WriteFileEx (65,535 bytes per write across a network),
FlushFileBuffers.
"""

from __future__ import annotations

import ctypes
from typing import Any

from npipe.transport.windows.kernel32.constants import PIPE_TYPE_MESSAGE
from npipe.transport.windows.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_BROKEN_PIPE,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_PARAMETER,
    ERROR_MORE_DATA,
    ERROR_NO_DATA,
    ERROR_OPERATION_ABORTED,
    ERROR_PIPE_LISTENING,
    ERROR_PIPE_NOT_CONNECTED,
)
from transport.windows.fake_kernel32.objects import LISTENING, End, Entry, Op
from transport.windows.fake_kernel32.pipes import Pipes

ERROR_NO_SYSTEM_RESOURCES = 1450
LONGEST_REMOTE_WRITE = 65535
# A write is copied to non-paged pool whole. Where Windows stops is not documented.
LARGEST_WRITE = 64 << 20


class Transfer(Pipes):
    """The calls that move bytes."""

    def ReadFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        with self._changed:
            size &= 0xFFFFFFFF  # a DWORD
            if code := self._enter("ReadFile", handle, size):
                return self._fail(overlapped, code)
            end = self._get(handle, End, "ReadFile")
            if not end:
                return self._fail(overlapped, ERROR_INVALID_HANDLE)
            code = self._refusal(end, 0x1, ERROR_BROKEN_PIPE)
            if code and not (code == ERROR_BROKEN_PIPE and end.incoming):
                return self._fail(overlapped, code)
            op = self._start(end, overlapped, buffer, size)
            end.reads.append(op)
            self._move(end)
            return self._outcome(op)

    def WriteFile(self, handle: int, buffer: Any, size: int, overlapped: Any) -> int:
        with self._changed:
            size &= 0xFFFFFFFF
            if code := self._enter("WriteFile", handle, size):
                return self._fail(overlapped, code)
            end = self._get(handle, End, "WriteFile")
            if not end:
                return self._fail(overlapped, ERROR_INVALID_HANDLE)
            if code := self._refusal(end, 0x2, ERROR_NO_DATA) or self._too_big(end, size):
                return self._fail(overlapped, code)
            op = self._start(end, overlapped, None, size)
            if not size and not end.pipe.name.mode & PIPE_TYPE_MESSAGE:
                self._complete(op, 0)
                return self._outcome(op)
            data = buffer[:size] if isinstance(buffer, bytes) else _memory(buffer, size)
            assert end.other
            end.other.incoming.append(Entry(data, op=op, token=self.token))
            self._move(end.other)
            return self._outcome(op)

    def _too_big(self, end: End, size: int) -> int:
        if self.remote and not end.server and size > LONGEST_REMOTE_WRITE:
            return ERROR_INVALID_PARAMETER
        return ERROR_NO_SYSTEM_RESOURCES if size > LARGEST_WRITE else 0

    def _refusal(self, end: End, right: int, gone: int) -> int:
        # PIPE_ACCESS_INBOUND lets the server read, PIPE_ACCESS_OUTBOUND lets it write.
        if not end.access & right:
            return ERROR_ACCESS_DENIED
        if end.severed:
            return ERROR_PIPE_NOT_CONNECTED
        if end.pipe.state == LISTENING:
            return ERROR_PIPE_LISTENING
        return gone if end.gone else 0

    def _move(self, end: End) -> None:
        """Give waiting reads what has come; complete the writes that fit the buffer by now."""
        while end.reads and end.incoming:
            self._answer(end, end.reads.pop(0))
        held = 0
        for entry in end.incoming:
            held += entry.left
            if entry.op and held <= end.pipe.name.quota:
                self._complete(entry.op, 0, len(entry.data))
                entry.op = None

    def _answer(self, end: End, op: Op) -> None:
        messages = bool(end.pipe.name.mode & PIPE_TYPE_MESSAGE)
        got, code = bytearray(), 0
        while end.incoming:
            entry = end.incoming[0]
            part = entry.data[entry.taken : entry.taken + op.size - len(got)]
            got += part
            entry.taken += len(part)
            if end.server and end.pipe.level == "dynamic":
                end.pipe.token = entry.token  # the context of the last message read
            if entry.left:
                code = ERROR_MORE_DATA if end.message_reads else 0
                break
            end.incoming.pop(0)
            if entry.op:
                self._complete(entry.op, 0, len(entry.data))
            # Byte reads run on over the ends of messages, and swallow empty ones.
            if end.message_reads or (not got and messages):
                break
        if got:
            ctypes.memmove(op.memory, bytes(got), len(got))
        self._complete(op, code, len(got))

    def FlushFileBuffers(self, handle: int) -> int:
        with self._changed:
            if code := self._enter("FlushFileBuffers", handle):
                return code
            end = self._get(handle, End, "FlushFileBuffers")
            if not end.access & 0x2:
                return ERROR_ACCESS_DENIED
            if not end.gone and not self._block(
                lambda: end.gone or not end.open or not end.other.incoming
            ):
                return ERROR_OPERATION_ABORTED
            return ERROR_BROKEN_PIPE if end.gone or not end.open else 0


def _memory(reference: Any, size: int) -> bytes:
    return ctypes.string_at(ctypes.addressof(reference._obj), size)
