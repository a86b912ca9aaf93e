"""The file of a Unix socket: creating it with the right mode, replacing a stale one, removing it.

Every access to the file system for a socket is in this module. The rules:

* A socket never has a wider mode than the requested one, not even between two system calls.
* A socket is stale only if no process has bound it, and only a stale socket is replaced.
* A lock file in the same directory is held from the check for a stale socket until the new one
  listens, so that two servers that start at the same time do not remove each other's socket
  (``lock_file.py``).
* At the end only the file that was created at the start is removed, not another of the same name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import stat
import sys
import threading

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address, runtime_directory
from npipe.transport.posix.lock_file import lock_address
from npipe.transport.posix.runtime_dir import check_runtime_directory, is_in_runtime_directory
from npipe.transport.posix.served import probe, server_pid

__all__ = ["BoundSocket", "bind"]

LOCK_PATIENCE = 10.0  # seconds; a well-behaved process holds the lock for microseconds
# The umask belongs to the whole process, and so does its lock. In a forked child it must be free.
_umask_lock = threading.RLock()
os.register_at_fork(
    before=_umask_lock.acquire,
    after_in_parent=_umask_lock.release,
    after_in_child=_umask_lock.release,
)


class BoundSocket:
    """Listening socket with the claim on its file. Call ``release`` before closing ``socket``."""

    def __init__(self, sock: socket.socket, address: Address, mode: int) -> None:
        """Store the socket. Until ``claim`` is called, its file is not removed."""
        self.socket = sock
        self.address = address
        self.mode = mode
        self._file: tuple[str, int, int, int] | None = None
        self._guard = threading.RLock()  # so that one thread removes the file, once

    def claim(self) -> None:
        """Make ``release`` in this process remove the file.

        It is the file that the parent process bound, or else the file that exists at the address
        now.
        """
        if self.address.kind != "unix":
            raise io.UnsupportedOperation("an abstract socket has no file")
        with self._guard:
            if self._file is not None:
                self._file = (*self._file[:3], os.getpid())
                return
            path = os.path.abspath(self.address.path)  # the program may change its directory
            made = os.lstat(path)
            self._file = (path, made.st_dev, made.st_ino, os.getpid())

    def disclaim(self) -> None:
        """Make ``release`` keep the file."""
        with self._guard:
            self._file = None

    def release(self) -> None:
        """Remove the socket's file if it is still the claimed one. A second call does nothing.

        While the socket is open its inode cannot be reused, so device and inode identify the file.
        A child process that inherited the listener does not remove the file.
        """
        if self._file is None or self._file[3] != os.getpid():
            return  # before the lock: in a forked child it may be held for ever
        with self._guard:
            claimed, self._file = self._file, None
            if claimed is None:
                return
            path, device, inode, _ = claimed
            with contextlib.suppress(OSError):  # already removed, or no longer removable
                now = os.lstat(path)
                if (now.st_dev, now.st_ino) == (device, inode):
                    os.unlink(path)


def bind(
    address: Address, *, mode: int, backlog: int, patience: float | None = None
) -> BoundSocket:
    """Bind a non-blocking socket to ``address`` and listen.

    Args:
        address: The address to bind.
        mode: Mode of the socket's file.
        backlog: Number of clients that may wait to be accepted.
        patience: Seconds to wait while another process binds the same address; None means
            ``LOCK_PATIENCE``.

    Returns:
        The socket and the claim on its file.

    Raises:
        TimeoutError: Another process binds the same address.
        OSError: A process serves the address (EADDRINUSE), or the system refuses.
        FileExistsError: The path is a file of another kind.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        bound = BoundSocket(sock, address, mode)
        if address.kind == "abstract":
            _bind_abstract(sock, address)
            sock.listen(backlog)
            return bound
        _check_access(address.path, mode)
        check_runtime_directory(address.path, create=True)
        with lock_address(address.path, LOCK_PATIENCE if patience is None else patience):
            _make_way(address.path)
            bind_file(sock, address.path, mode)
            bound.claim()
            try:
                sock.listen(backlog)
            except BaseException:
                bound.release()
                raise
        return bound
    except BaseException:
        sock.close()
        raise


def bind_file(
    sock: socket.socket, path: str, mode: int, *, fchmod: bool = sys.platform == "linux"
) -> None:
    """Bind ``sock`` so that the file never has a wider mode than ``mode``, and has it at the end.

    Linux gives the file the mode of the socket's descriptor without the bits of the umask; other
    systems use the umask alone. The bits that the umask removed are added afterwards, before
    ``listen``, so that no client can connect in between.
    """
    try:
        if fchmod:
            os.fchmod(sock.fileno(), mode)
            sock.bind(path)
        else:
            with _umask_lock:
                before = os.umask(0o777 & ~mode)
                try:
                    sock.bind(path)
                finally:
                    os.umask(before)
    except OSError as error:
        raise _named(error, path) from None
    try:
        if stat.S_IMODE(os.lstat(path).st_mode) != mode:
            _widen(path, mode)
        if (found := stat.S_IMODE(os.lstat(path).st_mode)) != mode:
            text = f"this file system gave the socket the mode {found:#o} instead of {mode:#o}"
            raise OSError(errno.ENOTSUP, text, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _widen(path: str, mode: int) -> None:
    """Set the mode of the socket's file, without following a link that has replaced it.

    A user who may write to the directory could replace the file by a link to another file of this
    user.
    """
    if sys.platform != "linux":
        os.chmod(path, mode, follow_symlinks=False)
        return
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            text = "something else was put in the place of the socket just made"
            raise FileExistsError(errno.EEXIST, text, path)
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    except FileNotFoundError:
        text = f"giving a socket the mode {mode:#o} with this umask needs /proc, which is missing"
        raise OSError(errno.ENOTSUP, text, path) from None
    finally:
        os.close(descriptor)


def _check_access(path: str, mode: int) -> None:
    """Raise ValueError if ``mode`` admits other users to a directory that they cannot enter."""
    if mode & 0o077 and is_in_runtime_directory(path):
        raise ValueError(
            f"this access ({mode:#o}) admits other users, but a bare name stands in "
            f"{runtime_directory()}, which only its owner may enter: give a path"
        )


def _make_way(path: str) -> None:
    """Remove a stale socket; raise if another file exists. The caller holds the lock."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        text = "a file that is not a socket exists here; remove it or choose another address"
        raise FileExistsError(errno.EEXIST, text, path)
    answer = probe(path)
    if answer in (errno.EACCES, errno.EPERM):
        text = f"a socket of uid {found.st_uid} exists here, and this user may not connect to it"
        raise PermissionError(answer, f"{os.strerror(answer)}: {text}", path)
    if answer not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _in_use(path)
    os.unlink(path)


def _in_use(path: str) -> OSError:
    pid = server_pid(path)
    by = f" by process {pid}" if pid else ""
    text = f"{os.strerror(errno.EADDRINUSE)}: it is served already{by}"
    return OSError(errno.EADDRINUSE, text, path)


def _bind_abstract(sock: socket.socket, address: Address) -> None:
    try:
        sock.bind("\0" + address.path)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(str(address)) from None
        raise _named(error, str(address)) from None


def _named(error: OSError, path: str) -> Exception:
    if error.errno is None:  # raised by Python: the path is too long
        return ValueError(f"bad address {path!r}: {error}")
    return OSError(error.errno, os.strerror(error.errno), path)
