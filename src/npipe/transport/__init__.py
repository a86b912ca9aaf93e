"""BYTES: connections over local pipes. Knows nothing of JSON.

This file is the only place that chooses by platform. The backend is imported at the first use,
so that ``import npipe`` stays quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import UnsupportedOperation
from typing import TYPE_CHECKING, Any

from npipe.address import Address, is_bare_name, parse

if TYPE_CHECKING:
    import threading

    from npipe.security import PeerIdentity
    from npipe.transport.base import Connection, Listener
    from npipe.transport.smb import Smb

__all__ = [
    "adopt_connection",
    "adopt_listener",
    "connect",
    "exists",
    "list_pipes",
    "listen",
    "server_check",
]


def connect(
    address: str | os.PathLike[str] | Address,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: str | Callable[[PeerIdentity], object] | None = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    cancel: threading.Event | None = None,
    remote: Smb | None = None,
) -> Connection:
    r"""Connect to the server at ``address``.

    Args:
        address: Where it listens: text, a path or an Address.
        timeout: Seconds for the whole of it. None sets no limit on how long a server that is
            there but busy is waited for.
        wait: Also wait for a server that is not there yet. Without it that is an error at once.
        verify_server: Look at the server's identity before a byte is sent. "owner" wants the
            current user (or root; on Windows also SYSTEM and the Administrators); a function is
            given a PeerIdentity and returns whether to go on; None checks nothing. "auto" is
            "owner" for a bare name on Windows, which every user of the computer may take, and
            else None: on POSIX a bare name stands in a directory of the user's own. Of a remote
            server a function is given the ``account`` where Kerberos proved it, and "owner" is
            refused.
        impersonation: How far the server may act as this user, on Windows: "anonymous",
            "identification", "impersonation" or "delegation".
        mode: "rw"; "r" for a connection that only reads, "w" for one that only writes. On
            Windows the server must have made its pipe for that direction; on POSIX the other
            half is shut.
        cancel: Once another thread sets this event, the attempts end with ClosedError.
        remote: How to log on to the computer of ``\\host\pipe\name`` over SMB, on every system
            (extra "smb"). Without it only Windows reaches such a pipe, as the user that the
            program runs as.

    Raises:
        ValueError: A bad address or option; a ``timeout`` that is NaN or infinite.
        FileNotFoundError: There is no server.
        ConnectionRefusedError: Only the socket file of a server is left.
        PermissionError: You may not connect, or ``verify_server`` refused the server.
        TimeoutError: The time is up.
        ClosedError: ``cancel`` was set.
    """
    verify_server = server_check(address, verify_server)
    address = _address(address)
    given = _given(mode=mode, cancel=cancel)
    if remote is not None:
        from npipe.transport.smb import dial

        return dial.connect(
            address,
            remote,
            timeout=timeout,
            wait=wait,
            verify_server=verify_server,
            impersonation=impersonation,
            **given,
        )
    connection: Connection = _backend(address).connect(
        address,
        timeout=timeout,
        wait=wait,
        verify_server=verify_server,
        impersonation=impersonation,
        **given,
    )
    return connection


def listen(
    address: str | os.PathLike[str] | Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
    mode: str = "rw",
) -> Listener[Connection]:
    """Serve ``address``, alone: a second listener anywhere fails.

    Args:
        address: Where to listen: text, a path or an Address. A relative path is looked up again
            at each use of it, so it leads elsewhere once the program changes its directory.
        access: The users that may connect: "owner", "group" (the group of the socket's file; on
            Windows the user's primary group), "everyone", a file mode (POSIX) or a security
            descriptor in SDDL (Windows). On POSIX a bare name stands in a directory that only
            its owner may enter: there anything that admits others is refused.
        backlog: Number of clients that may wait to be accepted; None takes what suits the system.
        message_mode: Make a pipe of the message type, on Windows. It allows ``close_write``
            there, and keeps the boundaries of messages.
        reject_remote: False lets clients of other computers in, on Windows.
        buffer_size: Size of the kernel's buffer in bytes, on Windows.
        mode: "rw"; "r" for connections that only read here, "w" for such as only write here.

    Raises:
        ValueError: A bad address or option.
        OSError: The address is served already (EADDRINUSE).
        FileExistsError: A file that is no socket stands there.
        PermissionError: You may not listen there, or another user's socket stands there.
    """
    address = _address(address)
    listener: Listener[Connection] = _backend(address).listen(
        address,
        access=access,
        backlog=backlog,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        **_given(mode=mode),
    )
    return listener


def exists(address: str | os.PathLike[str] | Address, *, remote: Smb | None = None) -> bool:
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


def _given(mode: str = "rw", cancel: threading.Event | None = None) -> dict[str, Any]:
    """Return the options that are given, for the backends that know them."""
    options: dict[str, Any] = {}
    if mode != "rw":
        options["mode"] = mode
    if cancel is not None:
        options["cancel"] = cancel
    return options


def server_check(
    address: str | os.PathLike[str] | Address,
    verify_server: str | Callable[[PeerIdentity], object] | None,
    platform: str = sys.platform,
) -> str | Callable[[PeerIdentity], object] | None:
    """Return the check of the server that ``verify_server`` asks for; "auto" is resolved."""
    if verify_server != "auto":
        return verify_server
    is_shared = platform == "win32" and isinstance(address, str) and is_bare_name(address)
    return "owner" if is_shared else None


def _address(address: str | os.PathLike[str] | Address) -> Address:
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
