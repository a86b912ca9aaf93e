"""The POSIX backend, in which pipes are Unix domain sockets (man page unix(7)).

This module exports the names that ``npipe.transport`` and ``npipe.aio`` use. It opens connections,
verifies the user of a server and lists the served names. Listening is in ``listener.py``, the
connection in ``connection.py``, the files in ``files.py``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address, runtime_directory
from npipe.security import PeerIdentity, peer_is_user
from npipe.transport import checks
from npipe.transport.connecting import Attempts
from npipe.transport.posix.adopted import prepare_socket
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.files import BoundSocket
from npipe.transport.posix.listener import PosixListener, admits, bind, check_size, listen
from npipe.transport.posix.peer import peer_of
from npipe.transport.posix.runtime_dir import check_runtime_directory, is_in_runtime_directory
from npipe.transport.posix.served import is_bound_abstract, is_served

__all__ = [
    "NOT_YET",
    "BoundSocket",
    "PosixConnection",
    "PosixListener",
    "admits",
    "bind",
    "check_options",
    "check_size",
    "connect",
    "exists",
    "list_pipes",
    "listen",
    "peer_of",
    "try_connect",
    "verify",
]

NOT_YET = "no server accepted the connection"  # completed by "within N s"
_REFUSES_WHEN_BUSY = sys.platform != "linux"
_IMPERSONATION = ("anonymous", "identification", "impersonation", "delegation")
Verifier = str | Callable[[PeerIdentity], object] | None


def connect(
    address: Address,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verifier = None,
    impersonation: str = "identification",
    mode: str = "rw",
    cancel: threading.Event | None = None,
) -> PosixConnection:
    """Connect to a Unix socket; see ``npipe.connect``.

    A server on a Unix socket cannot impersonate its client, so every level of ``impersonation`` is
    accepted and none has an effect.
    """
    check_options(verify_server, impersonation)
    checks.require_mode(mode)
    attempts = Attempts(address, timeout, cancel)
    while (sock := try_connect(address, wait=wait)) is None:
        attempts.sleep(NOT_YET)
    try:
        verify(sock, address, verify_server)
        return PosixConnection(prepare_socket(sock), address, mode)
    except BaseException:
        sock.close()
        raise


def check_options(verify_server: Verifier, impersonation: str) -> None:
    """Check the options of ``connect`` that do not depend on the server.

    Raises:
        ValueError: An option has none of its possible values.
    """
    if impersonation not in _IMPERSONATION:
        raise ValueError(
            f"impersonation={impersonation!r}: give one of {', '.join(_IMPERSONATION)}"
        )
    if verify_server is not None and verify_server != "owner" and not callable(verify_server):
        raise ValueError(f'verify_server={verify_server!r}: give "owner", a function or None')


def try_connect(address: Address, *, wait: bool = False) -> socket.socket | None:
    """Try once to connect, without blocking.

    Args:
        address: Address of the server.
        wait: Whether a server that does not exist yet counts as a reason to try again.

    Returns:
        A connected non-blocking socket; None to try again later, because the backlog of the
        server is full (EAGAIN on Linux, man page connect(2)) or, with ``wait``, because there is
        no server yet.

    Raises:
        ValueError: The address is bad.
        OSError: The connection failed for another reason.
    """
    if address.kind == "pipe":
        raise ValueError(f"bad address {str(address)!r}: this system has no Windows pipes")
    check_runtime_directory(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        error = sock.connect_ex("\0" + address.path if address.kind == "abstract" else address.path)
    except OSError as long:  # raised by Python: the path is too long for the system
        sock.close()
        raise ValueError(f"bad address {str(address)!r}: {long}") from None
    if not error:
        return sock
    sock.close()
    if error == errno.EAGAIN or (error == errno.ECONNREFUSED and _is_only_busy(address)):
        return None
    if wait and error in (errno.ENOENT, errno.ECONNREFUSED) and not _is_other_file(address):
        return None
    raise _explained(error, address)


def _is_only_busy(address: Address) -> bool:
    """Tell whether ECONNREFUSED may mean a full backlog; never on Linux, which reports EAGAIN."""
    return _REFUSES_WHEN_BUSY and address.kind == "unix" and is_served(address.path)


def verify(sock: socket.socket, address: Address, verify_server: Verifier) -> None:
    """Check the identity of the server.

    Args:
        sock: A connected socket.
        address: The address of the server, for the error.
        verify_server: "owner" requires this user or root; a function takes the PeerIdentity of
            the server and returns whether to accept it; None checks nothing.

    Raises:
        PermissionError: The server is not accepted.
    """
    if verify_server is None:
        return
    peer = peer_of(sock)
    if callable(verify_server):
        verified = bool(verify_server(peer))
    else:
        verified = peer_is_user(peer, os.geteuid())
    if not verified:
        text = f"the server is not whose it should be: it runs as uid {peer.uid}, pid {peer.pid}"
        raise PermissionError(errno.EACCES, text, str(address))


def exists(address: Address) -> bool:
    """Tell whether a process serves ``address``, without connecting to it."""
    if address.kind == "abstract":
        return is_bound_abstract(address.path)
    if address.kind == "pipe":
        return False
    try:
        check_runtime_directory(address.path)
        found = os.stat(address.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISSOCK(found.st_mode) and is_served(address.path)


def list_pipes() -> list[str]:
    """Return the bare names in this user's directory that are served, sorted."""
    directory = runtime_directory()
    check_runtime_directory(directory + "/")
    try:
        with os.scandir(directory) as found:
            return sorted(each.name for each in found if _is_served_socket(each))
    except FileNotFoundError:
        return []


def _is_served_socket(entry: os.DirEntry[str]) -> bool:
    try:
        is_socket = stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:  # its server has closed since the directory was read
        return False
    return is_socket and is_served(entry.path)


def _is_other_file(address: Address) -> bool:
    """Tell whether the path of the address is a file that is not a socket."""
    if address.kind == "abstract":
        return False
    try:
        return not stat.S_ISSOCK(os.stat(address.path).st_mode)
    except OSError:
        return False


def _explained(code: int, address: Address) -> OSError:
    """Return the error for errno ``code`` with an explanation for a Unix socket."""
    why = {
        errno.ENOENT: "no server is listening there; start one, or wait for it with wait=True",
        errno.ECONNREFUSED: "the server of this socket has ended",
        errno.EACCES: "you may not connect to this socket",
        errno.EPROTOTYPE: "this is a socket of another kind than a stream",
    }.get(code)
    if code == errno.ECONNREFUSED and _is_other_file(address):
        why = "this file is not a socket"
    if code == errno.ENOENT and address.kind == "unix" and is_in_runtime_directory(address.path):
        why = f"{why}. Not looked at: {_other_runtime_directory()}"
    text = os.strerror(code)
    return OSError(code, f"{text}: {why}" if why else text, str(address))


def _other_runtime_directory() -> str:
    """Return the directory of servers that run with the other setting of $XDG_RUNTIME_DIR."""
    if os.environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        without = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
        return f"{runtime_directory(without)}, where servers without XDG_RUNTIME_DIR are"
    return f"/run/user/{os.geteuid()}/npipe, where servers with XDG_RUNTIME_DIR are"
