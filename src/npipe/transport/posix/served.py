"""Tests whether a process serves a Unix socket, and the id of that process, without connecting.

A probe that connects would be a client: a server of one client at a time would serve it, and others
would log it. The probe here is a datagram socket. Its connect fails with ECONNREFUSED on a file
without a server and with EPROTOTYPE on a stream socket (man page connect(2)); the server gets no
event, and a full backlog makes no difference. If a kernel returns the same error for both (gVisor),
a name counts as served unless the kernel lists no socket of that name.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

assert sys.platform != "win32"  # mypy then skips the rest there

__all__ = ["is_bound_abstract", "is_served", "probe", "server_pid"]

_SOCKETS = "/proc/net/unix"
_ACCEPTS = 1 << 16  # __SO_ACCEPTCON in the flags of /proc/net/unix: listening


def is_served(path: str) -> bool:
    """Tell whether a process has a socket bound to the file at ``path``.

    A socket that this user may not probe counts as served.
    """
    return probe(path) not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


def probe(path: str) -> int:
    """Connect a datagram socket to the socket at ``path``; return the error number.

    Returns:
        ECONNREFUSED only if no process has bound the file; EPROTOTYPE for a stream socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        error = asker.connect_ex(path)
    if error == errno.ECONNREFUSED and not _refusal_means_dead(path):
        return errno.EPROTOTYPE
    return error


def is_bound_abstract(name: str) -> bool:
    """Tell whether a process listens on an abstract name (Linux).

    Only listening sockets count: the kernel also lists accepted connections under the name, even
    after the server has ended.
    """
    wanted = b"@" + os.fsencode(name)
    return any(each.path == wanted for each in _listening())


def server_pid(path: str) -> int | None:
    """Return the id of the process that listens at ``path`` (Linux).

    Args:
        path: An absolute path, or an abstract name that begins with "@".

    Returns:
        The process id; None if it is not known. It is known only for a process whose descriptors
        this user may list (man page proc(5)).
    """
    if not path.startswith(("/", "@")):
        return None  # a relative path of another process may be the same text
    wanted = {b"socket:[%s]" % each.inode for each in _listening() if each.path == path.encode()}
    if not wanted:
        return None
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # the process has ended or belongs to another user
            if os.readlink(link.encode()) in wanted:
                return int(link.split("/")[2])
    return None


class _Listening(NamedTuple):
    inode: bytes
    path: bytes


def _listening() -> Iterator[_Listening]:
    """Yield the listening Unix sockets that have a name; none if the system has no list."""
    with contextlib.suppress(OSError), open(_SOCKETS, "rb") as table:
        next(table, None)  # the headings: Num RefCount Protocol Flags Type St Inode Path
        for line in table:
            fields = line.rstrip(b"\n").split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS:
                yield _Listening(fields[6], fields[7])


def _refusal_means_dead(path: str) -> bool:
    """Tell whether ECONNREFUSED proves that no process has bound the socket at ``path``.

    It does if the kernel lists no listening socket of that file name (in any directory, because
    the list has each path as its server gave it), or if the kernel returns another error for a
    listening socket.
    """
    if sys.platform != "linux":
        return True
    name = os.path.basename(os.fsencode(path))
    listed = (os.path.basename(each.path) for each in _listening())
    if os.access(_SOCKETS, os.R_OK) and name not in listed:
        return True
    return _tells_live_from_dead()


def _tells_live_from_dead() -> bool:
    """Tell whether this kernel returns EPROTOTYPE for a listening socket, by trying it."""
    import tempfile  # slow to import and rarely needed

    with (
        contextlib.suppress(OSError),
        tempfile.TemporaryDirectory(prefix="np") as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as live,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker,
    ):
        live.bind(os.path.join(directory, "s"))
        live.listen(1)
        return asker.connect_ex(live.getsockname()) == errno.EPROTOTYPE
    return False
