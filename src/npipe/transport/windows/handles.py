"""Handles of Windows pipes: made, opened and asked about, with the right options. Nothing waits.

Both flavours use this: threads (``connect.py``, ``listener.py``) and asyncio (``aio/windows.py``).
Microsoft pages: CreateNamedPipe, CreateFile, WaitNamedPipe, "Named Pipe Security and Access
Rights", "Impersonation Levels", "Mandatory Integrity Control".
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from typing import Final, Literal

from npipe.address import Address, require_plain_name
from npipe.errors import ClosedError
from npipe.security import descriptor_for
from npipe.transport.base import require_mode
from npipe.transport.windows.kernel32 import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    NMPWAIT_NOWAIT,
    PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND,
    PIPE_ACCESS_OUTBOUND,
    PIPE_READMODE_MESSAGE,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_SERVER_END,
    PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
    SECURITY_ANONYMOUS,
    SECURITY_CONTEXT_TRACKING,
    SECURITY_DELEGATION,
    SECURITY_IDENTIFICATION,
    SECURITY_IMPERSONATION,
    SECURITY_SQOS_PRESENT,
    Kernel32,
    load,
)
from npipe.transport.windows.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_FILE_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
    ERROR_PATH_NOT_FOUND,
    ERROR_PIPE_BUSY,
    ERROR_SEM_TIMEOUT,
    error,
)

__all__ = [
    "Impersonation",
    "Mode",
    "NameHeld",
    "PipeMaker",
    "claim_pauses",
    "exists",
    "list_pipes",
    "may_retry",
    "open_client",
    "pipe_type",
    "prepare_client",
    "require_impersonation",
]

Impersonation = Literal["anonymous", "identification", "impersonation", "delegation"]
Mode = Literal["r", "w", "rw"]

_LEVELS: Final = {
    "anonymous": SECURITY_ANONYMOUS,
    "identification": SECURITY_IDENTIFICATION,
    "impersonation": SECURITY_IMPERSONATION,
    "delegation": SECURITY_DELEGATION,
}
# What a client asks for: to read data, to write data, or both; in each case to read and write
# attributes, to read the descriptor and to wait. "rw" is exactly what a server grants "everyone".
# GENERIC_WRITE would ask for the right to make instances as well.
_CLIENT_ACCESS: Final = {"rw": 0x12019B, "r": 0x120189, "w": 0x120192}
_SERVER_ACCESS: Final = {
    "rw": PIPE_ACCESS_DUPLEX,
    "r": PIPE_ACCESS_INBOUND,
    "w": PIPE_ACCESS_OUTBOUND,
}
_LARGEST_BUFFER: Final = 0x7FFFFFFF
_GONE: Final = (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND)


class NameHeld(OSError):
    """The server of a name is gone, but clients still hold its pipe, and so the name (EADDRINUSE).

    "An instance of a named pipe is always deleted when the last handle to the instance is closed"
    (Microsoft page "CreateNamedPipe"): a client's handle counts.
    """

    def __init__(self, path: str) -> None:
        text = "the last server is gone, but clients still hold its pipe: close them"
        super().__init__(errno.EADDRINUSE, text, path)


class PipeMaker:
    """Makes the instances of one pipe, all alike. The first claims the name for this server.

    Thread-safe. ``close`` it when no more are wanted; each instance belongs to the caller.
    """

    def __init__(
        self,
        address: Address,
        *,
        access: str | int = "owner",
        message_mode: bool = False,
        reject_remote: bool = True,
        buffer_size: int = 65536,
        mode: Mode = "rw",
        api: Kernel32 | None = None,
    ) -> None:
        """Check the options; claim nothing yet.

        Raises:
            ValueError: An option or the address makes no sense.
            OSError: The system does not tell who this process is.
        """
        require_local_pipe(address)
        require_mode(mode)
        if not isinstance(buffer_size, int) or not 0 <= buffer_size <= _LARGEST_BUFFER:
            raise ValueError(f"buffer_size={buffer_size!r}: give a number of bytes, 0 to 2 GiB")
        self.address = address
        self.message_mode = message_mode
        self.mode = mode
        self.api = load() if api is None else api
        kind = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE if message_mode else PIPE_TYPE_BYTE
        self._mode = kind | (PIPE_REJECT_REMOTE_CLIENTS if reject_remote else 0)
        self._buffer_size = buffer_size
        self._lock = threading.Lock()
        self._claimed = False
        code, self._user, group = self.api.process_sids()
        if code:
            raise error(code)
        sddl = descriptor_for(
            access,
            self._user,
            group,
            elevated=self.api.is_elevated(),
            administrator=self.api.is_administrator(),
        )
        # Only this user passes such a descriptor, and who could be any user anyway (the system;
        # the Administrators, if this program is elevated): to have connected is proof.
        self.proven_sid = self._user if access == "owner" and reject_remote else None
        code, self._descriptor = self.api.descriptor(sddl)
        if code:
            raise ValueError(f"access={access!r} is no valid security descriptor") from error(code)

    def create(self) -> int:
        """Return the handle of a new instance, which clients can connect to from now on.

        Raises:
            NameHeld: Clients of an earlier server hold the name; trying again may help.
            OSError: EADDRINUSE: another server has the name.
            PermissionError: The descriptor shuts out the server itself.
            ClosedError: This maker is closed: without its descriptor everyone could read.
        """
        with self._lock:
            if not self._descriptor:
                raise ClosedError("listener")
            if not self._claimed:
                # Windows would refuse below, in words that mean many things; Wine would not.
                self._require_free()
            first = 0 if self._claimed else FILE_FLAG_FIRST_PIPE_INSTANCE
            code, handle = self.api.CreateNamedPipe(
                self.address.path,
                _SERVER_ACCESS[self.mode] | FILE_FLAG_OVERLAPPED | first,
                self._mode,
                instances=PIPE_UNLIMITED_INSTANCES,
                buffer_size=self._buffer_size,
                descriptor=self._descriptor,
            )
            if not code:
                self._claimed = True
                return handle
            if first and code in (ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY):
                self._require_free()
            if code == ERROR_ACCESS_DENIED and not first:
                raise PermissionError(
                    errno.EACCES,
                    f"this access forbids the server itself to serve: add (A;;FA;;;{self._user})",
                    self.address.path,
                )
            raise error(code, self.address.path)

    def _require_free(self) -> None:
        """Raise OSError (EADDRINUSE) if the name is taken; do nothing where that is unknown."""
        # WaitNamedPipe fails in some containers. There the kernel decides.
        with contextlib.suppress(_Unknown):
            state = _look(self.address, self.api)
            if state == "held":
                raise NameHeld(self.address.path)
            if state == "served":
                # Who serves it could only be asked through a connection, which takes an instance.
                raise OSError(errno.EADDRINUSE, "this pipe is served already", self.address.path)

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        with self._lock:
            if self._descriptor:
                self.api.LocalFree(self._descriptor)
                self._descriptor = 0


def claim_pauses() -> Iterator[float]:
    """Yield the pauses, in seconds, between tries to claim a name that clients hold.

    About a second in all: a well-behaved client closes when it sees the end of the stream.
    """
    pause = 0.005
    for _ in range(8):
        yield pause
        pause *= 2


def require_local_pipe(address: Address) -> None:
    """Raise ValueError for what CreateNamedPipe cannot serve: a socket, another computer's name."""
    require_pipe(address)
    if address.host is not None:
        raise ValueError(
            f"cannot listen on {address}: the pipe of another computer is served there; "
            rf"here, listen on \\.\pipe\name with reject_remote=False"
        )


def require_pipe(address: Address) -> None:
    """Raise ValueError unless the address is a Windows pipe whose name Windows leaves as it is."""
    if address.kind != "pipe":
        raise ValueError(rf"{address} is no Windows pipe: give a name, or \\.\pipe\name")
    require_plain_name(address)


def open_client(
    address: Address, impersonation: Impersonation, api: Kernel32, mode: Mode = "rw"
) -> tuple[int, int]:
    """Try once to connect; return (Windows error code, handle)."""
    require_pipe(address)
    require_impersonation(impersonation)
    flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | _LEVELS[impersonation]
    if impersonation != "anonymous":
        # The server then knows the client after its first read, whatever came first: the client
        # or the server's ConnectNamedPipe. With static tracking that may depend on the order.
        flags |= SECURITY_CONTEXT_TRACKING
    return api.CreateFile(address.path, _CLIENT_ACCESS[mode], flags)


def require_impersonation(level: str) -> None:
    if level not in _LEVELS:
        levels = ", ".join(map(repr, _LEVELS))
        raise ValueError(f"impersonation={level!r}: give one of {levels}")


def may_retry(code: int, wait: bool) -> bool:
    """Tell whether another attempt helps against this error code of ``open_client``.

    Attempts, not WaitNamedPipe: that blocks a thread which nothing can wake, and fails in Windows
    containers. A busy pipe is free again within a millisecond if its server is well.
    """
    return code in (ERROR_PIPE_BUSY, ERROR_OPERATION_ABORTED) or (wait and code in _GONE)


def pipe_type(handle: int, api: Kernel32) -> tuple[bool, bool]:
    """Return (this is the server's end, the pipe carries messages)."""
    code, flags, _, _ = api.GetNamedPipeInfo(handle)
    if code:
        raise error(code)
    return bool(flags & PIPE_SERVER_END), bool(flags & PIPE_TYPE_MESSAGE)


def prepare_client(handle: int, api: Kernel32) -> bool:
    """Tell whether a pipe that another program made carries messages; if so, read them singly.

    In byte read mode one read could swallow the empty message that ends the stream together with
    the data before it.
    """
    message_mode = pipe_type(handle, api)[1]
    if message_mode and (code := api.SetNamedPipeHandleState(handle, PIPE_READMODE_MESSAGE)):
        raise error(code)
    return message_mode


class _Unknown(OSError):
    """Windows does not tell whether a name is served."""


def _look(address: Address, api: Kernel32) -> Literal["free", "served", "held"]:
    """Return whether a name is free, served, or held by clients of a server that is gone.

    A name without a free instance may be either of the last two: CreateFile tells them apart, and
    takes an instance only if one becomes free in that moment.
    """
    code = api.WaitNamedPipe(address.path, NMPWAIT_NOWAIT)
    if code in _GONE:
        return "free"
    if code == 0:
        return "served"
    if code not in (ERROR_SEM_TIMEOUT, ERROR_PIPE_BUSY):
        raise _Unknown(code)
    code, handle = open_client(address, "anonymous", api)
    if not code:
        api.CloseHandle(handle)
    return "held" if code in _GONE else "served"


def exists(address: Address, *, api: Kernel32 | None = None) -> bool:
    """Tell whether a server listens on a pipe of this computer.

    It takes none of the server's instances, except where one becomes free while all are taken.

    Raises:
        OSError: Windows does not tell.
    """
    require_pipe(address)
    try:
        return _look(address, load() if api is None else api) == "served"
    except _Unknown as unknown:
        raise error(unknown.args[0], address.path) from None


def list_pipes() -> list[str]:
    r"""Return the names of the pipes of this computer, sorted, without connecting to any.

    Raises:
        OSError: The system does not list them (Wine).
    """
    return sorted(os.listdir("\\\\.\\pipe\\"))
