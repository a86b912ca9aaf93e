"""Whether a Unix socket is served, and by which process, without connecting to it.

A probe that connected would be a client: servers of one client at a time would serve it, and the
others would log it. So a datagram socket asks. It is refused by a dead file with ECONNREFUSED and
by a live stream socket with EPROTOTYPE; the server never notices, and a full backlog cannot be
taken for death. Where a kernel does not make that difference (gVisor refuses both alike), a name
counts as served unless no socket of its name is in the kernel's list.
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
_ACCEPTS = 1 << 16  # __SO_ACCEPTCON among the flags of /proc/net/unix: it listens


def is_served(path: str) -> bool:
    """Return whether a process has a socket bound to the file at ``path``.

    A socket that may not be asked counts as served.
    """
    return probe(path) not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)


def probe(path: str) -> int:
    """Return the error number that a datagram socket gets from the socket at ``path``.

    Returns:
        ECONNREFUSED only where no process has it bound, EPROTOTYPE where a stream socket has.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        error = asker.connect_ex(path)
    if error == errno.ECONNREFUSED and not _refusal_means_dead(path):
        return errno.EPROTOTYPE
    return error


def is_bound_abstract(name: str) -> bool:
    """Return whether something listens on an abstract name (Linux).

    Connections that a server accepted are listed under its name too, also when it has gone.
    """
    wanted = b"@" + os.fsencode(name)
    return any(each.path == wanted for each in _listening())


def server_pid(path: str) -> int | None:
    """Return the process that listens at ``path``, if it can be found out (Linux).

    That is a process whose descriptors this user may list. An abstract name begins with "@".
    """
    if not path.startswith(("/", "@")):
        return None  # another process's relative path may read the same
    wanted = {b"socket:[%s]" % each.inode for each in _listening() if each.path == path.encode()}
    if not wanted:
        return None
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # the process has ended, or is another user's
            if os.readlink(link.encode()) in wanted:
                return int(link.split("/")[2])
    return None


class _Listening(NamedTuple):
    inode: bytes
    path: bytes


def _listening() -> Iterator[_Listening]:
    """Yield the listening Unix sockets that have a name; nothing where there is no such list."""
    with contextlib.suppress(OSError), open(_SOCKETS, "rb") as table:
        next(table, None)  # the headings: Num RefCount Protocol Flags Type St Inode Path
        for line in table:
            fields = line.rstrip(b"\n").split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & _ACCEPTS:
                yield _Listening(fields[6], fields[7])


def _refusal_means_dead(path: str) -> bool:
    """Return whether ECONNREFUSED proves that no process has the socket at ``path`` bound.

    It does where the kernel lists no listening socket of that name (in any directory: the list
    has each name as its server wrote it), and where the kernel refuses the living otherwise.
    """
    if sys.platform != "linux":
        return True
    name = os.path.basename(os.fsencode(path))
    listed = (os.path.basename(each.path) for each in _listening())
    if os.access(_SOCKETS, os.R_OK) and name not in listed:
        return True
    return _tells_live_from_dead()


def _tells_live_from_dead() -> bool:
    """Try how this kernel answers a datagram socket that asks a listening one of our own."""
    import tempfile  # slow to import, and seldom needed

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
