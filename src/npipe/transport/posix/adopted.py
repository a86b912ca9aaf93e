"""Preparation of sockets: those adopted from other code, and those that this process makes."""

from __future__ import annotations

import os
import socket
import sys

assert sys.platform != "win32"  # mypy then skips the rest there

__all__ = ["adopted_socket", "prepare_socket"]

_SO_NOSIGPIPE = 0x1022  # macOS has this socket option instead of MSG_NOSIGNAL


def prepare_socket(sock: socket.socket) -> socket.socket:
    """Set blocking mode, and SO_NOSIGPIPE on macOS, on a socket that this process created."""
    sock.setblocking(True)
    if sys.platform == "darwin":
        sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
    return sock


def adopted_socket(handle: int, *, listening: bool) -> socket.socket:
    """Return a socket object for a descriptor without changing its options or flags.

    Args:
        handle: The descriptor. The caller still owns it if this raises.
        listening: Whether it must be a listening socket; otherwise it must be connected.

    Raises:
        ValueError: The descriptor is of another kind.
        OSError: The socket is not connected.
    """
    blocking = os.get_blocking(handle)
    sock = socket.socket(fileno=handle)
    try:
        if socket.getdefaulttimeout() is not None:  # the constructor has then set non-blocking mode
            sock.setblocking(True)
            os.set_blocking(handle, blocking)
        if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
            raise ValueError(f"descriptor {handle} is not a Unix stream socket")
        if bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) != listening:
            wanted = "a listening socket" if listening else "a connection"
            raise ValueError(f"descriptor {handle} is a Unix socket, but not {wanted}")
        if not listening:
            sock.getpeername()  # OSError (ENOTCONN) if it is not connected
    except BaseException:
        sock.detach()  # the caller still owns the descriptor
        raise
    return sock
