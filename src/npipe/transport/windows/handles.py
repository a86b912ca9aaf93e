"""Handles of Windows pipes: creating, opening and querying them. No function here waits.

The thread interface (``connect.py``, ``listener.py``) and asyncio (``aio/windows.py``) use it.
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
from npipe.transport.checks import require_mode
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
# Rights that a client requests: to read data, to write data, or both; in each case to read and
# write attributes, to read the descriptor and to synchronize. "rw" is exactly the set that a server
# grants with access="everyone". GENERIC_WRITE would request FILE_CREATE_PIPE_INSTANCE too.
_CLIENT_ACCESS: Final = {"rw": 0x12019B, "r": 0x120189, "w": 0x120192}
_SERVER_ACCESS: Final = {
    "rw": PIPE_ACCESS_DUPLEX,
    "r": PIPE_ACCESS_INBOUND,
    "w": PIPE_ACCESS_OUTBOUND,
}
_LARGEST_BUFFER: Final = 0x7FFFFFFF
_GONE: Final = (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND)


class NameHeld(OSError):
    """The server of a name has ended, but clients still have handles of its pipe (EADDRINUSE).

    "An instance of a named pipe is always deleted when the last handle to the instance is closed"
    (Microsoft page "CreateNamedPipe"), so a client's handle keeps the name in use.
    """

    def __init__(self, path: str) -> None:
        text = "the last server is gone, but clients still hold its pipe: close them"
        super().__init__(errno.EADDRINUSE, text, path)


class PipeMaker:
    """Factory of the instances of one pipe; the first instance claims the name for this server.

    It is thread-safe. Call ``close`` when no more instances are needed. The caller owns each
    instance.
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
        """Check the options, without creating an instance.

        Args:
            address: Address of a pipe of this computer.
            access: The users that may connect; see ``npipe.listen``.
            message_mode: Whether to create a pipe of the message type.
            reject_remote: Whether to refuse clients of other computers.
            buffer_size: Size of the kernel's buffer in bytes.
            mode: "r" if the server only reads, "w" if it only writes, else "rw".
            api: The bindings; None loads those of this process.

        Raises:
            ValueError: An option or the address is bad.
            OSError: The user of this process cannot be determined.
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
        # Such a descriptor admits only this user, and principals that can act as any user (SYSTEM;
        # the Administrators, if this program is elevated): a connected client is one of them.
        self.proven_sid = self._user if access == "owner" and reject_remote else None
        code, self._descriptor = self.api.descriptor(sddl)
        if code:
            raise ValueError(f"access={access!r} is no valid security descriptor") from error(code)

    def create(self) -> int:
        """Create an instance, to which clients can connect at once.

        Returns:
            The handle, which the caller closes.

        Raises:
            NameHeld: Clients of an earlier server still hold the name; another attempt may
                succeed.
            OSError: Another server has the name (EADDRINUSE).
            PermissionError: The descriptor denies access to the server itself.
            ClosedError: This maker is closed. Without its descriptor an instance would get the
                default one, which lets everyone read (Microsoft page "CreateNamedPipe").
        """
        with self._lock:
            if not self._descriptor:
                raise ClosedError("listener")
            if not self._claimed:
                # Windows would refuse below with an ambiguous error code; Wine would not refuse.
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
        """Raise OSError (EADDRINUSE) if the name is taken; do nothing if that is unknown."""
        # WaitNamedPipe fails in some containers. There CreateNamedPipe decides.
        with contextlib.suppress(_Unknown):
            state = _look(self.address, self.api)
            if state == "held":
                raise NameHeld(self.address.path)
            if state == "served":
                # Finding out which process serves it would need a connection, so an instance.
                raise OSError(errno.EADDRINUSE, "this pipe is served already", self.address.path)

    def close(self) -> None:
        """Free the security descriptor. A second call does nothing."""
        with self._lock:
            if self._descriptor:
                self.api.LocalFree(self._descriptor)
                self._descriptor = 0


def claim_pauses() -> Iterator[float]:
    """Yield the pauses between attempts to claim a name that clients hold.

    The pauses last about one second in total, which is enough for clients that close their handle
    when they read the end of the stream.

    Yields:
        Seconds to wait before the next attempt.
    """
    pause = 0.005
    for _ in range(8):
        yield pause
        pause *= 2


def require_local_pipe(address: Address) -> None:
    """Check that CreateNamedPipe can serve the address.

    Raises:
        ValueError: The address is a socket or a pipe of another computer.
    """
    require_pipe(address)
    if address.host is not None:
        raise ValueError(
            f"cannot listen on {address}: the pipe of another computer is served there; "
            rf"here, listen on \\.\pipe\name with reject_remote=False"
        )


def require_pipe(address: Address) -> None:
    """Check that the address is a Windows pipe whose name Windows does not change.

    Raises:
        ValueError: It is not.
    """
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
        # With dynamic tracking the server can identify the client after its first read, in either
        # order of the client's CreateFile and the server's ConnectNamedPipe. With static tracking
        # that may depend on the order.
        flags |= SECURITY_CONTEXT_TRACKING
    return api.CreateFile(address.path, _CLIENT_ACCESS[mode], flags)


def require_impersonation(level: str) -> None:
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


class _Unknown(OSError):
    """The query whether a name is served failed."""


def _look(address: Address, api: Kernel32) -> Literal["free", "served", "held"]:
    """Return whether a name is free, served, or held by clients of a server that has ended.

    A name without a free instance may be in either of the last two states. CreateFile
    distinguishes them; it takes an instance only if one becomes free at that moment.
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

    The query takes no instance of the server, unless one becomes free while all are in use.

    Args:
        address: Address of the pipe.
        api: The bindings; None loads those of this process.

    Raises:
        OSError: The query failed.
    """
    require_pipe(address)
    try:
        return _look(address, load() if api is None else api) == "served"
    except _Unknown as unknown:
        raise error(unknown.args[0], address.path) from None


def list_pipes() -> list[str]:
    r"""Return the names of the pipes of this computer, sorted, without connecting to any.

    Raises:
        OSError: The system cannot list them (Wine).
    """
    return sorted(os.listdir("\\\\.\\pipe\\"))
