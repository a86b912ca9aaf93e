"""Names and instances of the fake kernel: making, opening, listening, disconnecting, closing.

Microsoft pages: CreateNamedPipe, CreateFile, ConnectNamedPipe, DisconnectNamedPipe,
WaitNamedPipe, "Path Normalization".
"""

from __future__ import annotations

import re
from typing import Any

from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE,
)
from npipe.transport.windows.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_BAD_PIPE,
    ERROR_BROKEN_PIPE,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_HANDLE,
    ERROR_INVALID_NAME,
    ERROR_INVALID_PARAMETER,
    ERROR_NO_DATA,
    ERROR_PIPE_BUSY,
    ERROR_PIPE_CONNECTED,
    ERROR_PIPE_LISTENING,
    ERROR_PIPE_NOT_CONNECTED,
    ERROR_SEM_TIMEOUT,
)
from transport.windows.fake_kernel32.core import Core
from transport.windows.fake_kernel32.objects import (
    CLOSING,
    CONNECTED,
    DISCONNECTED,
    LISTENING,
    End,
    Instance,
    Name,
)
from transport.windows.fake_kernel32.tokens import (
    CREATE_INSTANCE,
    Token,
    granted,
    low_label,
    owner_of,
)

_PREFIX = "\\\\.\\PIPE\\"
_READ, _WRITE = 0x1, 0x2
_SQOS, _TRACKING, _LEVEL = 0x100000, 0x40000, 0x30000
_PAGE = 4096


def normalised(path: str) -> str:
    """Return a path as Win32 passes it on: trailing dots and spaces gone, ``..`` evaluated."""
    path = re.sub(r"^[\\/]{2}[^\\/]+[\\/]pipe[\\/]", lambda _: _PREFIX, path, flags=re.IGNORECASE)
    parts: list[str] = []
    for part in path[len(_PREFIX) :].replace("/", "\\").split("\\"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return _PREFIX + "\\".join(parts).rstrip(". ").upper()


class Pipes(Core):
    """The calls that make and find pipes."""

    # What a client of another computer gets from a pipe that rejects such clients is not
    # documented: 5 or 231.
    remote_refusal = ERROR_ACCESS_DENIED
    # Whether ConnectNamedPipe forgets the token of a static client that came before it.
    forgets_static_client = False

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
        with self._changed:
            sddl = self._descriptors.get(descriptor or 0, "")
            if code := self._enter("CreateNamedPipe", name, open_mode, pipe_mode, sddl):
                return code, 0
            path = normalised(name)
            known = self._names.get(path)
            if code := self._may_create(path, known, open_mode, pipe_mode, instances):
                return code, 0
            if not known:
                quota = -(-buffer_size // _PAGE) * _PAGE  # a size is only advice
                owner = owner_of(sddl, self.token)
                label = low_label(sddl, self.token)
                known = Name(path, sddl + label, owner, pipe_mode, open_mode & 0x3, quota)
                self._names[path] = known
            instance = Instance(known)
            instance.server = End(instance, True, open_mode & 0x3, bool(pipe_mode & 0x2))
            instance.server.pid, instance.server.session = self.pid, self.session
            known.instances.append(instance)
            self._changed.notify_all()
            return 0, self._new(instance.server)

    def _may_create(
        self, path: str, known: Name | None, open_mode: int, pipe_mode: int, instances: int
    ) -> int:
        if not known:
            if any(path.startswith(other + "\\") for other in self._names):
                return ERROR_INVALID_NAME  # the search for a name takes the longest prefix
        elif (
            open_mode & FILE_FLAG_FIRST_PIPE_INSTANCE
            or not granted(known.sddl, self.token) & CREATE_INSTANCE
            or known.access != open_mode & 0x3
            or (known.mode ^ pipe_mode) & PIPE_TYPE_MESSAGE
        ):
            return ERROR_ACCESS_DENIED
        if not open_mode & FILE_FLAG_OVERLAPPED or not 1 <= instances <= 255:
            return ERROR_INVALID_PARAMETER
        return 0

    def CreateFile(self, name: str, access: int, flags: int) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("CreateFile", name, access, flags):
                return code, 0
            known = self._names.get(normalised(name))
            if not known or not known.served:
                return ERROR_FILE_NOT_FOUND, 0
            # The configuration of the pipe counts as well, and NPFS does not ask a client for
            # the right that means "make instances".
            if (access & _READ and not known.access & 0x2) or (
                access & _WRITE and not known.access & 1
            ):
                return ERROR_ACCESS_DENIED, 0
            if access & ~CREATE_INSTANCE & ~granted(known.sddl, self.token):
                return ERROR_ACCESS_DENIED, 0
            if self.remote and known.mode & PIPE_REJECT_REMOTE_CLIENTS:
                return self.remote_refusal, 0
            free = next((i for i in known.instances if i.state == LISTENING), None)
            if not free:
                return ERROR_PIPE_BUSY, 0
            return 0, self._new(self._connect(free, access, flags))

    def _connect(self, instance: Instance, access: int, flags: int) -> End:
        client = End(instance, False, access & 0x3)
        client.pid, client.session = self.pid, self.session
        instance.state, instance.client = CONNECTED, client
        instance.level, instance.token = "dynamic", None
        if flags & _SQOS and not flags & _LEVEL:
            instance.level = "anonymous"
        elif flags & _SQOS and not flags & _TRACKING:
            instance.level, instance.token = "static", self.token
        for op in instance.connects:
            self._complete(op, 0)
        instance.connects.clear()
        return client

    def ConnectNamedPipe(self, handle: int, overlapped: Any) -> int:
        with self._changed:
            if code := self._enter("ConnectNamedPipe", handle):
                return self._fail(overlapped, code)
            end = self._get(handle, End, "ConnectNamedPipe")
            if not end:
                return self._fail(overlapped, ERROR_INVALID_HANDLE)
            instance = end.pipe
            if instance.state == CONNECTED:
                if self.forgets_static_client and instance.level == "static":
                    instance.token = None
                return self._fail(overlapped, ERROR_PIPE_CONNECTED)
            if instance.state == CLOSING:
                return self._fail(overlapped, ERROR_NO_DATA)
            instance.state = LISTENING
            op = self._start(end, overlapped)
            instance.connects.append(op)
            if len(instance.connects) > 1:
                self.faults.append(f"a second ConnectNamedPipe on handle {handle}")
            self._changed.notify_all()
            return self._outcome(op)

    def DisconnectNamedPipe(self, handle: int) -> int:
        with self._changed:
            if code := self._enter("DisconnectNamedPipe", handle):
                return code
            end = self._get(handle, End, "DisconnectNamedPipe")
            if end.pipe.state == LISTENING:
                return ERROR_PIPE_LISTENING
            if end.pipe.state == DISCONNECTED:
                return ERROR_PIPE_NOT_CONNECTED
            self._sever(end.pipe, ERROR_PIPE_NOT_CONNECTED)
            end.incoming.clear()
            if end.pipe.client:
                end.pipe.client.incoming.clear()
            end.pipe.client, end.pipe.state = None, DISCONNECTED
            return 0

    def WaitNamedPipe(self, name: str, milliseconds: int) -> int:
        with self._changed:
            if code := self._enter("WaitNamedPipe", name, milliseconds):
                return code
            path = name.upper()  # not normalised; the longest name that is a prefix is found
            found = [n for p, n in self._names.items() if path == p or path.startswith(p + "\\")]
            if not found:
                return ERROR_FILE_NOT_FOUND
            known = max(found, key=lambda each: len(each.path))
            free = any(i.state == LISTENING for i in known.instances)
            return 0 if free else ERROR_SEM_TIMEOUT

    def PeekNamedPipe(self, handle: int) -> tuple[int, int]:
        with self._changed:
            if code := self._enter("PeekNamedPipe", handle):
                return code, 0
            end = self._get(handle, End, "PeekNamedPipe")
            if not end.access & _READ:
                return ERROR_ACCESS_DENIED, 0
            if end.severed:
                return (ERROR_BAD_PIPE if end.server else ERROR_PIPE_NOT_CONNECTED), 0
            left = sum(entry.left for entry in end.incoming)
            gone = not end.incoming and end.gone
            return ERROR_BROKEN_PIPE if gone else 0, left

    def _sever(self, instance: Instance, code: int) -> None:
        """End what is pending at both ends: they are no longer connected."""
        for end in (instance.server, instance.client):
            for holder, item, op in self._operations(end) if end else ():
                if item is op:
                    holder.remove(op)
                else:
                    item.op = None
                self._complete(op, code)

    def _close_end(self, end: End) -> None:
        end.open = False
        if end.pipe.client is end or end.server:
            self._sever(end.pipe, ERROR_BROKEN_PIPE)
        end.incoming.clear()
        if (end.pipe.client is end and end.pipe.state == CONNECTED) or end.server:
            end.pipe.state = CLOSING
        self._drop(end.pipe)

    def _token_of(self, end: End) -> Token | None:
        return end.pipe.token
