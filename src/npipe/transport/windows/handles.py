"""Handles of Windows pipes: opening and querying them. No function here waits.

The thread interface (``connect.py``, ``maker.py``) and asyncio (``aio/windows.py``) use it.
Microsoft pages: CreateFile, WaitNamedPipe, "Named Pipe Security and Access Rights", "Impersonation
Levels".
"""

from __future__ import annotations

import os
from typing import Final, Literal

from npipe.address import Address, require_plain_name
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.kernel32.constants import (
    FILE_FLAG_OVERLAPPED,
    NMPWAIT_NOWAIT,
    PIPE_READMODE_MESSAGE,
    PIPE_SERVER_END,
    PIPE_TYPE_MESSAGE,
    SECURITY_ANONYMOUS,
    SECURITY_CONTEXT_TRACKING,
    SECURITY_DELEGATION,
    SECURITY_IDENTIFICATION,
    SECURITY_IMPERSONATION,
    SECURITY_SQOS_PRESENT,
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
    "Unknown",
    "exists",
    "has_gone",
    "list_pipes",
    "look",
    "may_retry",
    "open_client",
    "peek",
    "pipe_type",
    "prepare_client",
    "require_impersonation",
    "require_pipe",
]

Impersonation = Literal["anonymous", "identification", "impersonation", "delegation"]
Mode = Literal["r", "w", "rw"]

_LEVELS: Final = {
    "anonymous": SECURITY_ANONYMOUS,
    "identification": SECURITY_IDENTIFICATION,
    "impersonation": SECURITY_IMPERSONATION,
    "delegation": SECURITY_DELEGATION,
}
# Rights that a client requests: to read data, to write data, or both; in each case to read and
# write attributes, to read the descriptor and to synchronize. "rw" is exactly the set that a server
# grants with access="everyone". GENERIC_WRITE would request FILE_CREATE_PIPE_INSTANCE too.
_CLIENT_ACCESS: Final = {"rw": 0x12019B, "r": 0x120189, "w": 0x120192}
_GONE: Final = (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND)


def require_pipe(address: Address) -> None:
    """Check that the address is a Windows pipe whose name Windows does not change.

    Raises:
        ValueError: It is not.
    """
    if address.kind != "pipe":
        raise ValueError(rf"{address} is not a Windows pipe: pass a name, or \\.\pipe\name")
    require_plain_name(address)


def open_client(
    address: Address, impersonation: Impersonation, api: Kernel32, mode: Mode = "rw"
) -> tuple[int, int]:
    """Try once to connect; return (Windows error code, handle)."""
    require_pipe(address)
    require_impersonation(impersonation)
    flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | _LEVELS[impersonation]
    if impersonation != "anonymous":
        # With dynamic tracking the server can identify the client after its first read, in either
        # order of the client's CreateFile and the server's ConnectNamedPipe. With static tracking
        # that may depend on the order.
        flags |= SECURITY_CONTEXT_TRACKING
    return api.CreateFile(address.path, _CLIENT_ACCESS[mode], flags)


def require_impersonation(level: str) -> None:
    """Raise ValueError if ``level`` is not the name of an impersonation level."""
    if level not in _LEVELS:
        levels = ", ".join(map(repr, _LEVELS))
        raise ValueError(f"impersonation={level!r}: give one of {levels}")


def may_retry(code: int, wait: bool) -> bool:
    """Tell whether another attempt may succeed after this error code of ``open_client``.

    Attempts replace WaitNamedPipe, because that call blocks the thread, cannot be cancelled, and
    fails in Windows containers. A server that keeps accepting has a free instance again within
    about a millisecond.

    Args:
        code: Windows error code.
        wait: Whether a pipe that does not exist counts as a reason to try again.
    """
    return code in (ERROR_PIPE_BUSY, ERROR_OPERATION_ABORTED) or (wait and code in _GONE)


def pipe_type(handle: int, api: Kernel32) -> tuple[bool, bool]:
    """Return (whether ``handle`` is the server's end, whether the pipe is of the message type)."""
    code, flags, _, _ = api.GetNamedPipeInfo(handle)
    if code:
        raise error(code)
    return bool(flags & PIPE_SERVER_END), bool(flags & PIPE_TYPE_MESSAGE)


def prepare_client(handle: int, api: Kernel32) -> bool:
    """Set the message read mode if the pipe is of the message type; tell whether it is.

    In byte read mode one read could consume the data and the empty message after it, which marks
    the end of the stream, so that the end would be missed.

    Args:
        handle: Handle of a pipe that another program created.
        api: The bindings.

    Returns:
        True if the pipe is of the message type.
    """
    message_mode = pipe_type(handle, api)[1]
    if message_mode and (code := api.SetNamedPipeHandleState(handle, PIPE_READMODE_MESSAGE)):
        raise error(code)
    return message_mode


def peek(handle: int, api: Kernel32) -> tuple[bool, int]:
    """Return (whether the other end is closed, number of bytes to read).

    The end of a one-way pipe that only writes cannot be queried ("the handle must have GENERIC_READ
    access", Microsoft page "PeekNamedPipe"). There the other end counts as open until a write
    fails.
    """
    code, left = api.PeekNamedPipe(handle)
    return code not in (0, ERROR_ACCESS_DENIED), left


def has_gone(handle: int, api: Kernel32) -> bool:
    """Tell whether the other end is closed and has left no bytes to read."""
    gone, left = peek(handle, api)
    return gone and not left


class Unknown(OSError):
    """Error of a query whether a name is served: the query itself failed."""


def look(address: Address, api: Kernel32) -> Literal["free", "served", "held"]:
    """Tell whether a name is free, served, or held by clients of a server that has ended.

    A name without a free instance may be in either of the last two states. CreateFile
    distinguishes them; it takes an instance only if one becomes free at that moment.
    """
    code = api.WaitNamedPipe(address.path, NMPWAIT_NOWAIT)
    if code in _GONE:
        return "free"
    if code == 0:
        return "served"
    if code not in (ERROR_SEM_TIMEOUT, ERROR_PIPE_BUSY):
        raise Unknown(code)
    code, handle = open_client(address, "anonymous", api)
    if not code:
        api.CloseHandle(handle)
    return "held" if code in _GONE else "served"


def exists(address: Address, *, api: Kernel32 | None = None) -> bool:
    """Tell whether a server listens on a pipe of this computer.

    The query takes no instance of the server, unless one becomes free while all are in use.

    Args:
        address: Address of the pipe.
        api: The bindings; None loads those of this process.

    Raises:
        OSError: The query failed.
    """
    require_pipe(address)
    try:
        return look(address, load() if api is None else api) == "served"
    except Unknown as unknown:
        raise error(unknown.args[0], address.path) from None


def list_pipes() -> list[str]:
    r"""Return the names of the pipes of this computer, sorted, without connecting to any.

    Raises:
        OSError: The system cannot list them (Wine).
    """
    return sorted(os.listdir("\\\\.\\pipe\\"))
