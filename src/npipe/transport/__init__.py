"""The byte layer: connections over local pipes, without JSON.

Only this module chooses the backend by platform. It imports the backend at the first use, so that
``import npipe`` stays fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import UnsupportedOperation

from npipe.address import Address, is_bare_name, parse

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    import threading
    from typing import Any

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
    connect_timeout: float | None = None,
    wait: bool = False,
    verify_server: str | Callable[[PeerIdentity], object] | None = "auto",
    impersonation: str = "identification",
    mode: str = "rw",
    cancel: threading.Event | None = None,
    remote: Smb | None = None,
) -> Connection:
    r"""Connect to the server at ``address``.

    Args:
        address: Address of the server: text, a path or an Address.
        connect_timeout: Seconds for connecting, all waits included: for a busy server, and with
            ``wait`` for one that does not exist yet. None sets no limit.
        wait: Whether to wait also for a server that does not exist yet. False raises
            FileNotFoundError or ConnectionRefusedError at once.
        verify_server: Check of the server's identity before the first byte is sent. "owner"
            requires the current user (or root; on Windows also SYSTEM and the Administrators); a
            function takes a PeerIdentity and returns whether to continue; None checks nothing.
            "auto" means "owner" for a bare name on Windows, which every user of the computer may
            take, and None otherwise: on POSIX a bare name is in a directory of the user. For a
            remote server the function gets the ``account`` if Kerberos proved it, and "owner" is
            refused.
        impersonation: Degree to which the server may act as this user, on Windows: "anonymous",
            "identification", "impersonation" or "delegation" (Microsoft page "Impersonation
            Levels").
        mode: "rw"; "r" for a connection that only reads, "w" for one that only writes. On
            Windows the server must have created its pipe for that direction; on POSIX the other
            direction is shut down (man page shutdown(2)).
        cancel: An event that another thread sets to end the attempts with ClosedError.
        remote: Logon to the computer of ``\\host\pipe\name`` over SMB, on every system (extra
            "smb"). Without it only Windows opens such a pipe, as the user of the program.

    Returns:
        The connection, which the caller closes.

    Raises:
        ValueError: The address or an option is bad; ``connect_timeout`` is NaN or infinite.
        FileNotFoundError: There is no server.
        ConnectionRefusedError: The socket file exists and no process serves it.
        PermissionError: The user may not connect, or ``verify_server`` refused the server.
        TimeoutError: ``connect_timeout`` has passed.
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
            timeout=connect_timeout,
            wait=wait,
            verify_server=verify_server,
            impersonation=impersonation,
            **given,
        )
    connection: Connection = _backend(address).connect(
        address,
        timeout=connect_timeout,
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
    """Listen on ``address``; a second listener on the same address fails.

    Args:
        address: Address of the server: text, a path or an Address. A relative path is resolved
            again at each use, so it changes its meaning when the program changes its directory.
        access: The users that may connect: "owner", "group" (the group of the socket's file; on
            Windows the user's primary group), "everyone", a file mode (POSIX) or a security
            descriptor in SDDL (Windows). On POSIX a bare name is in a directory that only its
            owner may enter, so there an option that admits other users is refused.
        backlog: Number of clients that may wait to be accepted; None takes the default of the
            system.
        message_mode: Whether to create a pipe of the message type, on Windows. Such a pipe
            supports ``close_write`` and keeps the boundaries of messages.
        reject_remote: Whether to refuse clients of other computers, on Windows.
        buffer_size: Size of the kernel's buffer in bytes, on Windows.
        mode: "rw"; "r" for connections that only read at this end, "w" for connections that only
            write at this end.

    Returns:
        The listener, which the caller closes.

    Raises:
        ValueError: The address or an option is bad.
        OSError: The address is served already (EADDRINUSE).
        FileExistsError: The path exists and is not a socket.
        PermissionError: The user may not listen there, or the socket belongs to another user.
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
    """Tell whether a process serves ``address``, without connecting to it.

    Args:
        address: Address of the server: text, a path or an Address.
        remote: Logon to the computer of a remote pipe. Over SMB the only test is to open the
            pipe, so its server accepts a client that disconnects at once.

    Returns:
        True if the address is served.

    Raises:
        ValueError: The address is bad.
        OSError: The other computer cannot be reached; the errors are those of ``connect``.
    """
    address = _address(address)
    if remote is not None:
        from npipe.transport.smb import dial

        return dial.exists(address, remote)
    return bool(_backend(address).exists(address))


def list_pipes() -> list[str]:
    """List the names that are served on this machine.

    Returns:
        The names, sorted; on POSIX only those in the directory of this user.
    """
    names: list[str] = _backend(None).list_pipes()
    return names


def adopt_connection(handle: int, address: Address) -> Connection:
    """Make a connection from an open descriptor or handle: see ``Connection.adopt``."""
    if sys.platform != "win32":
        from npipe.transport.posix.connection import PosixConnection

        return PosixConnection.adopt(handle, address)
    from npipe.transport.windows.connection import WindowsConnection

    return WindowsConnection.adopt(handle, address)


def adopt_listener(handle: int, address: Address) -> Listener[Connection]:
    """Make a listener from an open descriptor: see ``Listener.adopt``."""
    if sys.platform != "win32":
        from npipe.transport.posix.listener import PosixListener

        return PosixListener.adopt(handle, address)
    raise UnsupportedOperation("a listener cannot be adopted on Windows: it has many handles")


def _given(mode: str = "rw", cancel: threading.Event | None = None) -> dict[str, Any]:
    """Return the options that differ from their defaults, for backends that support them."""
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
    """Return ``verify_server`` with "auto" resolved for the address and the platform."""
    if verify_server != "auto":
        return verify_server
    is_shared = platform == "win32" and isinstance(address, str) and is_bare_name(address)
    return "owner" if is_shared else None


def _address(address: str | os.PathLike[str] | Address) -> Address:
    return address if isinstance(address, Address) else parse(address)


def _backend(address: Address | None) -> Any:
    """Return the backend module for the address on this system."""
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
