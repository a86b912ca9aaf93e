"""BYTES: connections over local pipes. Knows nothing of JSON.

This file is the only place that chooses by platform. The backend is imported at the first use,
so that ``import npipe`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any

from npipe.address import Address, parse

if TYPE_CHECKING:
    from npipe.security import PeerIdentity
    from npipe.transport.base import Connection, Listener
    from npipe.transport.smb import Smb

__all__ = ["adopt_connection", "adopt_listener", "connect", "exists", "list_pipes", "listen"]


def connect(
    address: str | Address,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: str | Callable[[PeerIdentity], object] | None = None,
    impersonation: str = "identification",
    remote: Smb | None = None,
) -> Connection:
    r"""Connect to the server at ``address``.

    ``timeout`` is for the whole of it, in seconds; None means no limit on how long a server that
    is there but busy is waited for. Without ``wait`` a server that is not there is an error at
    once; with it, one that comes before the timeout is good enough.

    ``verify_server`` looks at who serves before a byte is sent: "owner" wants the current user
    (or root, or SYSTEM); a function is given a PeerIdentity and says whether it will do.
    ``impersonation`` is how far the server may act as this user, on Windows: "anonymous",
    "identification", "impersonation" or "delegation".

    ``remote`` says how to log on to the computer of ``\\host\pipe\name`` over SMB, on every
    system (extra "smb"). Without it only Windows reaches such a pipe, as the user that the
    program runs as. A remote server is looked at by ``verify_server`` as far as SMB tells who it
    is: a function is given its ``account`` where Kerberos proved it, and "owner" is refused.

    Raises ValueError for a bad address or option, FileNotFoundError if there is no server,
    ConnectionRefusedError if only its socket file is left, PermissionError if you may not connect
    or the server is not whose it should be, TimeoutError.
    """
    address = _address(address)
    if remote is not None:
        from npipe.transport.smb import dial

        return dial.connect(
            address,
            remote,
            timeout=timeout,
            wait=wait,
            verify_server=verify_server,
            impersonation=impersonation,
        )
    connection: Connection = _backend(address).connect(
        address,
        timeout=timeout,
        wait=wait,
        verify_server=verify_server,
        impersonation=impersonation,
    )
    return connection


def listen(
    address: str | Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
) -> Listener[Connection]:
    """Serve ``address``, alone: a second listener anywhere fails.

    ``access`` says who may connect: "owner", "group" (the group of the socket's file; on Windows
    the user's primary group), "everyone", a file mode (POSIX) or a security descriptor in SDDL
    (Windows). ``backlog`` is how many clients may wait to be
    accepted; None takes what suits the system.

    On Windows ``message_mode`` makes a pipe of the message type, which is what allows
    ``close_write`` there (bytes are read all the same); ``reject_remote=False`` lets clients of
    other computers in; ``buffer_size`` is the kernel's buffer, in bytes. A Unix socket can
    half-close and is local as it is, and sizes its own buffers: there they change nothing.

    Raises ValueError for a bad address or option, OSError (EADDRINUSE) if the address is served
    already, FileExistsError if something else stands there, PermissionError.
    """
    address = _address(address)
    listener: Listener[Connection] = _backend(address).listen(
        address,
        access=access,
        backlog=backlog,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
    )
    return listener


def exists(address: str | Address, *, remote: Smb | None = None) -> bool:
    """Return whether ``address`` is served, without disturbing the server.

    With ``remote``, of a pipe of another computer: SMB has no way to ask but to open it, so that
    server sees a client come and go. Raises what ``connect`` raises if the computer cannot be
    asked.
    """
    address = _address(address)
    if remote is not None:
        from npipe.transport.smb import dial

        return dial.exists(address, remote)
    return bool(_backend(address).exists(address))


def list_pipes() -> list[str]:
    """Return the names served on this machine, sorted; of this user only, on POSIX."""
    names: list[str] = _backend(None).list_pipes()
    return names


def adopt_connection(handle: int, address: Address) -> Connection:
    """Do what ``Connection.adopt`` says."""
    if sys.platform != "win32":
        from npipe.transport.posix.connection import PosixConnection

        return PosixConnection.adopt(handle, address)
    from npipe.transport.windows.connection import WindowsConnection

    return WindowsConnection.adopt(handle, address)


def adopt_listener(handle: int, address: Address) -> Listener[Connection]:
    """Do what ``Listener.adopt`` says."""
    if sys.platform != "win32":
        from npipe.transport.posix.listener import PosixListener

        return PosixListener.adopt(handle, address)
    raise UnsupportedOperation("a listener cannot be adopted on Windows: it is many handles")


def _address(address: str | Address) -> Address:
    return address if isinstance(address, Address) else parse(address)


def _backend(address: Address | None) -> Any:
    """Return the module that serves the address on this system."""
    if sys.platform == "win32":
        from npipe.transport.windows import connect as windows

        return windows
    if address is not None and address.host is not None:
        raise ValueError(
            f"bad address {str(address)!r}: a pipe of another computer is opened only with "
            f"remote=npipe.Smb(...), which says how to log on there"
        )
    from npipe.transport.posix import connect as posix

    return posix
