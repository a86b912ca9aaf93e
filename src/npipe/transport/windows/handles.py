"""Handles of Windows pipes: made, opened and asked about, with the right options. Nothing waits.

Both faces use this: the threads' (``windows.py``, ``windows_listener.py``) and asyncio's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Final, Literal

from npipe.address import Address
from npipe.security import PeerIdentity, descriptor_for, owner_is_trusted
from npipe.transport.windows.kernel32 import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    NMPWAIT_NOWAIT,
    PIPE_ACCESS_DUPLEX,
    PIPE_READMODE_MESSAGE,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_SERVER_END,
    PIPE_TYPE_BYTE,
    PIPE_TYPE_MESSAGE,
    PIPE_UNLIMITED_INSTANCES,
    SECURITY_ANONYMOUS,
    SECURITY_DELEGATION,
    SECURITY_IDENTIFICATION,
    SECURITY_IMPERSONATION,
    SECURITY_SQOS_PRESENT,
    Kernel32,
    load,
)
from npipe.transport.windows.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_CANNOT_IMPERSONATE,
    ERROR_CANT_OPEN_ANONYMOUS,
    ERROR_FILE_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
    ERROR_PATH_NOT_FOUND,
    ERROR_PIPE_BUSY,
    ERROR_SEM_TIMEOUT,
    error,
)

__all__ = [
    "Impersonation",
    "PipeMaker",
    "Verify",
    "exists",
    "list_pipes",
    "may_retry",
    "open_client",
    "pauses",
    "peer_of",
    "pipe_type",
    "prepare_client",
    "require_impersonation",
    "require_verify",
    "verify",
]

Impersonation = Literal["anonymous", "identification", "impersonation", "delegation"]
Verify = Literal["owner"] | Callable[[PeerIdentity], bool] | None

_LEVELS: Final = {
    "anonymous": SECURITY_ANONYMOUS,
    "identification": SECURITY_IDENTIFICATION,
    "impersonation": SECURITY_IMPERSONATION,
    "delegation": SECURITY_DELEGATION,
}
# Exactly what a server grants "everyone": to read and write data and attributes, to read the
# descriptor and to wait. GENERIC_WRITE would ask for the right to make instances as well.
_CLIENT_ACCESS: Final = 0x12019B
_LARGEST_BUFFER: Final = 0x7FFFFFFF


class PipeMaker:
    """Makes the instances of one pipe, all alike, and sees to it that the name is this server's.

    The first ``create`` claims the name. Thread-safe. ``close`` it when no more are wanted; the
    instances belong to whoever asked for them.
    """

    def __init__(
        self,
        address: Address,
        *,
        access: str | int = "owner",
        message_mode: bool = False,
        reject_remote: bool = True,
        buffer_size: int = 65536,
        api: Kernel32 | None = None,
    ) -> None:
        """Raises ValueError for an option or address that makes no sense; claims nothing yet."""
        require_local_pipe(address)
        if not isinstance(buffer_size, int) or not 0 <= buffer_size <= _LARGEST_BUFFER:
            raise ValueError(f"buffer_size={buffer_size!r}: give a number of bytes, 0 to 2 GiB")
        self.address = address
        self.message_mode = message_mode
        self.api = load() if api is None else api
        kind = PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE if message_mode else PIPE_TYPE_BYTE
        self._mode = kind | (PIPE_REJECT_REMOTE_CLIENTS if reject_remote else 0)
        self._buffer_size = buffer_size
        self._lock = threading.Lock()
        self._claimed = False
        code, self._user, group = self.api.process_sids()
        if code:
            raise error(code)
        code, self._descriptor = self.api.descriptor(descriptor_for(access, self._user, group))
        if code:
            raise ValueError(f"access={access!r} is no valid security descriptor") from error(code)

    def create(self) -> int:
        """Return the handle of a new instance, which clients can connect to from now on.

        Raises OSError: EADDRINUSE when the name is served by somebody else.
        """
        with self._lock:
            if not self._claimed and self._is_taken():
                # Windows would refuse below, in words that mean many things; Wine would not.
                raise in_use(self.address)
            first = 0 if self._claimed else FILE_FLAG_FIRST_PIPE_INSTANCE
            code, handle = self.api.CreateNamedPipe(
                self.address.path,
                PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | first,
                self._mode,
                instances=PIPE_UNLIMITED_INSTANCES,
                buffer_size=self._buffer_size,
                descriptor=self._descriptor,
            )
            if not code:
                self._claimed = True
                return handle
            if first and code in (ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY) and self._is_taken():
                raise in_use(self.address)
            if code == ERROR_ACCESS_DENIED and not first:
                raise PermissionError(
                    errno.EACCES,
                    f"this access forbids the server itself to serve: add (A;;FA;;;{self._user})",
                    self.address.path,
                )
            raise error(code, self.address.path)

    def _is_taken(self) -> bool:
        # Where nobody can tell (WaitNamedPipe fails in some containers), Windows itself decides.
        with contextlib.suppress(OSError):
            return exists(self.address, api=self.api)
        return False

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        with self._lock:
            if self._descriptor:
                self.api.LocalFree(self._descriptor)
                self._descriptor = 0


def require_local_pipe(address: Address) -> None:
    """Raise ValueError for what CreateNamedPipe cannot serve: a socket, another computer's name."""
    require_pipe(address)
    if address.host is not None:
        raise ValueError(
            f"cannot listen on {address}: the pipe of another computer is served there; "
            rf"here, listen on \\.\pipe\name with reject_remote=False"
        )


def require_pipe(address: Address) -> None:
    if address.kind != "pipe":
        raise ValueError(rf"{address} is no Windows pipe: give a name, or \\.\pipe\name")


def in_use(address: Address) -> OSError:
    # Who serves it could only be asked through a connection, which would take an instance.
    return OSError(errno.EADDRINUSE, "this pipe is served already", address.path)


def open_client(address: Address, impersonation: Impersonation, api: Kernel32) -> tuple[int, int]:
    """Try once to connect; return (Windows error code, handle)."""
    require_pipe(address)
    require_impersonation(impersonation)
    flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | _LEVELS[impersonation]
    return api.CreateFile(address.path, _CLIENT_ACCESS, flags)


def require_impersonation(level: str) -> None:
    if level not in _LEVELS:
        levels = ", ".join(map(repr, _LEVELS))
        raise ValueError(f"impersonation={level!r}: give one of {levels}")


def require_verify(check: Verify) -> None:
    if check is not None and check != "owner" and not callable(check):
        raise ValueError(f'verify_server={check!r}: give "owner", a function or None')


def may_retry(code: int, wait: bool) -> bool:
    """Say whether this error of ``open_client`` is one that waiting helps against."""
    return code in (ERROR_PIPE_BUSY, ERROR_OPERATION_ABORTED) or (
        wait and code in (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND)
    )


def pauses() -> Iterator[float]:
    """Yield how long to pause, in seconds, before each next try to connect.

    Polling, not WaitNamedPipe: that blocks a thread which nobody can wake, and fails in Windows
    containers. A busy pipe is free again within a millisecond if its server is well.
    """
    pause = 0.0005
    while True:
        yield pause
        pause = min(pause * 2, 0.02)


def verify(handle: int, address: Address, check: Verify, api: Kernel32) -> None:
    """Raise PermissionError unless the pipe that a client opened is whose it should be."""
    if check is None:
        return
    require_verify(check)
    if check == "owner":
        code, owner = api.pipe_owner(handle)
        user = "" if code else api.process_sids()[1]
        if owner_is_trusted(owner, user):
            return
        why = f"it belongs to {owner or 'nobody we can name'}, not to this user"
    else:
        if check(peer_of(handle, api, server_end=False)):
            return
        why = "verify_server turned it down"
    raise PermissionError(errno.EACCES, f"not the server we want: {why}", address.path)


def peer_of(handle: int, api: Kernel32, *, server_end: bool) -> PeerIdentity:
    """Return who is at the other end of the pipe.

    At the server's end ``sid`` is the user of the client's token. It is None for a client that
    stays anonymous and, for some clients, until something they sent was read. At the client's end
    it is the owner of the pipe.
    """
    if server_end:
        code, sid = api.client_sid(handle)
        if code not in (0, ERROR_CANNOT_IMPERSONATE, ERROR_CANT_OPEN_ANONYMOUS):
            raise error(code)
    else:
        code, owner = api.pipe_owner(handle)
        sid = owner or ""
    return PeerIdentity(
        pid=api.GetNamedPipeProcessId(handle, server=not server_end),
        sid=sid or None,
        session=api.GetNamedPipeSessionId(handle, server=not server_end),
    )


def pipe_type(handle: int, api: Kernel32) -> tuple[bool, bool]:
    """Return (this is the server's end, the pipe carries messages)."""
    code, flags, _, _ = api.GetNamedPipeInfo(handle)
    if code:
        raise error(code)
    return bool(flags & PIPE_SERVER_END), bool(flags & PIPE_TYPE_MESSAGE)


def prepare_client(handle: int, api: Kernel32) -> bool:
    """Say whether a pipe whose handle we did not make carries messages; if so, read them singly.

    In byte read mode one read could swallow the empty message that ends the stream together with
    the data before it.
    """
    message_mode = pipe_type(handle, api)[1]
    if message_mode and (code := api.SetNamedPipeHandleState(handle, PIPE_READMODE_MESSAGE)):
        raise error(code)
    return message_mode


def exists(address: Address, *, api: Kernel32 | None = None) -> bool:
    """Say whether a server listens, without connecting to it.

    Raises OSError when that cannot be told.
    """
    require_pipe(address)
    code = (load() if api is None else api).WaitNamedPipe(address.path, NMPWAIT_NOWAIT)
    if code in (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND):
        return False
    if code in (0, ERROR_SEM_TIMEOUT, ERROR_PIPE_BUSY):  # free, or every instance taken
        return True
    raise error(code, address.path)


def list_pipes() -> list[str]:
    r"""Return the names of the pipes of this computer, sorted, without connecting to any.

    Raises OSError where the system does not list them (Wine).
    """
    return sorted(os.listdir("\\\\.\\pipe\\"))
