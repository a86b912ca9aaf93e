"""The identity of the process at the other end of a Unix socket, as the kernel reports it."""

from __future__ import annotations

import functools
import socket
import struct
import sys

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.security import PeerIdentity

__all__ = ["peer_of"]

_NO_PEER = 0xFFFFFFFF  # (uid_t)-1: the uid of a socket without a peer
_UNMAPPED = 65534  # each uid and gid that is not mapped in this user namespace


def peer_of(sock: socket.socket) -> PeerIdentity:
    """Return the identity of the process that connected, or listens, at the other end.

    Args:
        sock: A connected socket.

    Returns:
        The identity. A field that the kernel does not report is None, and so is a uid or gid that
        may be unmapped: in a user namespace all unmapped ids are reported as 65534 (man page
        user_namespaces(7)).
    """
    try:
        if sys.platform == "linux":
            size = struct.calcsize("iII")
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid, uid, gid = struct.unpack("iII", raw)
            if uid == _NO_PEER:
                return PeerIdentity()
            return PeerIdentity(pid=pid or None, uid=_known(uid, "uid"), gid=_known(gid, "gid"))
        return _peer_of_bsd(sock)
    except (OSError, struct.error):
        return PeerIdentity()


def _known(number: int, kind: str) -> int | None:
    """Return ``number``; None if it may stand for an id without a mapping (Linux)."""
    if number not in (_UNMAPPED, _overflow(kind)):
        return number
    try:
        with open(f"/proc/self/{kind}_map") as table:
            lines = [tuple(map(int, line.split())) for line in table]
    except OSError:
        return None
    return number if lines == [(0, 0, _NO_PEER)] else None  # every id is mapped


@functools.cache  # a setting of the kernel, read once
def _overflow(kind: str) -> int:
    try:
        with open(f"/proc/sys/kernel/overflow{kind}") as setting:
            return int(setting.read())
    except OSError:
        return _UNMAPPED


# <sys/un.h> of macOS and FreeBSD; Python's socket module has no names for these.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2  # macOS only
_XUCRED = "IIh2xI"  # version, uid, number of groups, (padding,) the first group


def _peer_of_bsd(sock: socket.socket) -> PeerIdentity:
    raw = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 128)
    _, uid, groups, gid = struct.unpack_from(_XUCRED, raw)
    pid = None
    if sys.platform == "darwin":
        pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID) or None
    return PeerIdentity(pid=pid, uid=uid, gid=gid if groups else None)
