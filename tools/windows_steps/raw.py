"""Raw handles of pipes: the calls of a kernel, without npipe's rules."""

from __future__ import annotations

import threading
from typing import Any, Final

from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    STATUS_PENDING,
)
from npipe.transport.windows.kernel32.memory import OVERLAPPED, address_of, overlapped
from windows_steps.report import new_name

__all__ = ["BYTES", "CLIENT_ACCESS", "MESSAGES", "Operation", "Pipe"]

CLIENT_ACCESS: Final = 0x12019B  # read and write, without the right to make an instance
BYTES: Final = 0x8  # byte type, byte reads, no remote clients
MESSAGES: Final = 0x4 | 0x2 | 0x8
_DUPLEX: Final = 0x3
_QUOTA: Final = 65536


class Operation:
    """An overlapped operation with an event of its own, and the memory that it uses."""

    def __init__(self, api: Kernel32, handle: int) -> None:
        self.handle = handle
        _, self.event = api.CreateEvent()
        self.state: OVERLAPPED
        self.state, self.reference = overlapped(self.event)
        self.code = 0
        self.memory: Any = None

    @property
    def pending(self) -> bool:
        return bool(self.state.Internal == STATUS_PENDING)


class Pipe:
    """A name, and the raw handles and operations on it. Closes all that it made."""

    def __init__(self, api: Kernel32, *, mode: int = BYTES, sddl: str = "", size: int = _QUOTA):
        self.api = api
        self.path = new_name()
        self._mode, self._sddl, self._size = mode, sddl, size
        self._handles: list[int] = []
        self._operations: list[Operation] = []

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._operations:
            if each.code == 997 and each.pending and each.handle in self._handles:
                self.api.CancelIoEx(each.handle, each.reference)
                self.api.WaitForSingleObject(each.event, 5000)
                assert not each.pending, "a cancelled operation does not end"
        for handle in [*self._handles, *(each.event for each in self._operations)]:
            self.api.CloseHandle(handle)

    def create(self, *, first: bool = False, path: str | None = None) -> tuple[int, int]:
        """Return (code, handle) of CreateNamedPipe."""
        flags = FILE_FLAG_FIRST_PIPE_INSTANCE if first else 0
        descriptor = None
        if self._sddl:
            code, descriptor = self.api.descriptor(self._sddl)
            assert not code, (self._sddl, code)
        code, handle = self.api.CreateNamedPipe(
            path or self.path,
            _DUPLEX | FILE_FLAG_OVERLAPPED | flags,
            self._mode,
            instances=255,
            buffer_size=self._size,
            descriptor=descriptor,
        )
        if descriptor:
            self.api.LocalFree(descriptor)
        return self._keep(code, handle)

    def server(self) -> int:
        """Return a new instance."""
        code, handle = self.create()
        assert not code, code
        return handle

    def open(self, flags: int = 0, path: str | None = None) -> tuple[int, int]:
        """Return (code, handle) of CreateFile."""
        opened = self.api.CreateFile(path or self.path, CLIENT_ACCESS, FILE_FLAG_OVERLAPPED | flags)
        return self._keep(*opened)

    def client(self, flags: int = 0) -> int:
        """Return a new client."""
        code, handle = self.open(flags)
        assert not code, code
        return handle

    def _keep(self, code: int, handle: int) -> tuple[int, int]:
        if not code:
            self._handles.append(handle)
        return code, handle

    def close(self, handle: int) -> None:
        self._handles.remove(handle)
        self.api.CloseHandle(handle)

    def _operation(self, handle: int) -> Operation:
        self._operations.append(Operation(self.api, handle))
        return self._operations[-1]

    def listen(self, handle: int) -> Operation:
        began = self._operation(handle)
        began.code = self.api.ConnectNamedPipe(handle, began.reference)
        return began

    def read(self, handle: int, size: int = 1) -> Operation:
        began = self._operation(handle)
        began.memory = bytearray(size)
        began.code = self.api.ReadFile(handle, address_of(began.memory), size, began.reference)
        return began

    def write(self, handle: int, data: bytes = b"x") -> Operation:
        began = self._operation(handle)
        began.memory = data
        began.code = self.api.WriteFile(handle, data, len(data), began.reference)
        return began

    def end(self, handle: int, began: Operation) -> int:
        """Wait for the end of an operation that is pending; return its code."""
        if began.code == 997:
            self.api.WaitForSingleObject(began.event, 5000)
            return self.api.GetOverlappedResult(handle, began.reference, False)[0]
        return began.code

    def transfer(self, client: int, server: int) -> None:
        """Write a byte at the client's end and read it at the server's."""
        self.write(client)
        code = self.end(server, self.read(server))
        assert not code, code


def in_ended_thread(begin: Any) -> Operation:
    """Begin an operation in a thread, and return it once that thread has ended."""
    began: list[Operation] = []
    thread = threading.Thread(target=lambda: began.append(begin()))
    thread.start()
    thread.join()
    return began[0]
