"""The file of a Unix socket: made with the right mode, reclaimed when stale, removed when ours.

Everything that touches the file system for a socket is here, and nothing else is. The rules:

* A socket is never visible with a wider mode than was asked for, not for an instant.
* Only a socket that no process has bound is stale, and only a stale socket is ever replaced.
* Between asking whether it is stale and listening on the new one, a lock file beside it is held,
  so that of two servers starting at once neither removes the other's socket. Its name is hidden
  and long, so that it is no name of a socket.
* What is removed at the end is the file that was made at the start, and no other of its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address, runtime_directory
from npipe.transport.posix.served import probe, server_pid

__all__ = ["BoundSocket", "bind", "check_runtime_directory", "is_in_runtime_directory"]

LOCK_PATIENCE = 10.0  # seconds; the lock is held for microseconds, unless someone means harm
# The umask is one for the whole process, and so is its lock. A forked child must find it free.
_umask_lock = threading.RLock()
os.register_at_fork(
    before=_umask_lock.acquire,
    after_in_parent=_umask_lock.release,
    after_in_child=_umask_lock.release,
)


class BoundSocket:
    """A listening socket and the claim on its file. ``release`` it before closing ``socket``."""

    def __init__(self, sock: socket.socket, address: Address, mode: int) -> None:
        """Without a ``claim`` the file is someone else's and is never removed."""
        self.socket = sock
        self.address = address
        self.mode = mode
        self._file: tuple[str, int, int, int] | None = None
        self._guard = threading.RLock()  # of two threads that release, one removes the file

    def claim(self) -> None:
        """Have the file removed by ``release`` in this process.

        The file that the parent process bound, or else the one that stands at the address now.
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
        """Leave the file alone from now on."""
        with self._guard:
            self._file = None

    def release(self) -> None:
        """Remove the socket's file if it is still ours. Idempotent.

        While the socket is open its inode cannot be used again, so device and inode tell. A
        child process that inherited the listener has nothing to remove.
        """
        if self._file is None or self._file[3] != os.getpid():
            return  # before the lock: in a forked child a thread of the parent may have it
        with self._guard:
            claimed, self._file = self._file, None
            if claimed is None:
                return
            path, device, inode, _ = claimed
            with contextlib.suppress(OSError):  # gone, or no longer ours to remove: so be it
                now = os.lstat(path)
                if (now.st_dev, now.st_ino) == (device, inode):
                    os.unlink(path)


def bind(
    address: Address, *, mode: int, backlog: int, patience: float | None = None
) -> BoundSocket:
    """Return a non-blocking listening socket at ``address``.

    Waits for nothing but another process that is doing the same at this moment, for ``patience``
    seconds at most; then raises TimeoutError. Raises OSError(EADDRINUSE) where a live one stands,
    FileExistsError where another kind of file does, and what the system says otherwise.
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
        with _lock(address.path, LOCK_PATIENCE if patience is None else patience):
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
    """Bind so that the file never has a wider mode than ``mode``, and has it in the end.

    Linux gives the file the socket's own mode less the umask; other systems go by the umask
    alone. A wider mode than the umask leaves is added after, before anyone can connect.
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
    """Give the socket's file its mode, and never another file that was put in its place.

    Whoever may write to the directory could swap a link in, to a file that only we may open.
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


def is_in_runtime_directory(path: str) -> bool:
    """Return whether ``path`` is in the directory of bare names."""
    return os.path.dirname(path) == runtime_directory()


def check_runtime_directory(path: str, *, create: bool = False) -> None:
    """If ``path`` is in the directory of bare names, make sure that the directory is safe.

    Raises:
        PermissionError: It is not a directory of this user's own that is shut to others. Other
            users could put their sockets there.
    """
    if not is_in_runtime_directory(path):
        return
    directory = runtime_directory()
    if create:
        _make_runtime_directory(directory)
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return  # then nothing is served there, as the caller will find
    wrong = None
    if not stat.S_ISDIR(found.st_mode):
        wrong = "it is not a directory"
    elif found.st_uid != os.geteuid():
        wrong = f"it belongs to uid {found.st_uid}"
    elif found.st_mode & 0o077:
        wrong = f"its mode is {stat.S_IMODE(found.st_mode):#o}, so others may use it"
    if wrong:
        text = f"{directory} must be this user's own, with mode 0700: {wrong}"
        raise PermissionError(errno.EACCES, text)


def _make_runtime_directory(directory: str) -> None:
    """Make the directory, but not in another user's ``$XDG_RUNTIME_DIR``.

    There (sudo keeps the variable) it would be in the way of that user.
    """
    parent = os.path.dirname(directory)
    if os.path.basename(directory) == "npipe":  # else it is below the temporary directory
        try:
            owner = os.stat(parent).st_uid
        except FileNotFoundError:
            text = f"$XDG_RUNTIME_DIR names {parent}, which does not exist: make it, or unset it"
            raise FileNotFoundError(errno.ENOENT, text) from None
        if owner != os.geteuid():
            text = (
                f"$XDG_RUNTIME_DIR names {parent}, which belongs to uid {owner}, and this process "
                f"runs as uid {os.geteuid()}: unset it, or give a path"
            )
            raise PermissionError(errno.EACCES, text)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)


def _check_access(path: str, mode: int) -> None:
    """Refuse to admit others where they cannot get in."""
    if mode & 0o077 and is_in_runtime_directory(path):
        raise ValueError(
            f"this access ({mode:#o}) admits other users, but a bare name stands in "
            f"{runtime_directory()}, which only its owner may enter: give a path"
        )


def _make_way(path: str) -> None:
    """Remove a stale socket; raise if anything else stands there. Needs the lock."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        text = "a file that is no socket is in the way; it was left alone"
        raise FileExistsError(errno.EEXIST, text, path)
    answer = probe(path)
    if answer in (errno.EACCES, errno.EPERM):
        text = f"a socket of uid {found.st_uid} stands there, and this user may not ask it"
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


def lock_path(path: str) -> str:
    """Return the path of the lock file of the socket at ``path``."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.npipe-lock")


@contextlib.contextmanager
def _lock(path: str, patience: float) -> Iterator[None]:
    """Hold the lock of the socket at ``path``; leave no file behind.

    Errors name the socket, and the lock file only where that is what is in the way.
    """
    lock = lock_path(path)
    descriptor = _take_lock(path, lock, patience)
    try:
        yield
    finally:
        _drop_lock(descriptor, lock)


def _drop_lock(descriptor: int, lock: str) -> None:
    # While it is still held: a process that waits for it then finds that it has lost its name. A
    # file with something in it is not one of ours: it does as a lock, and stays.
    with contextlib.suppress(OSError):
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            os.unlink(lock)
    os.close(descriptor)


def _take_lock(path: str, lock: str, patience: float) -> int:
    """Return the descriptor of the lock file, locked."""
    give_up = time.monotonic() + patience
    while True:
        descriptor = _open_lock(path, lock)
        try:
            if _locked(descriptor) and _same_file(descriptor, lock):
                return descriptor
        except OSError as error:
            _drop_lock(descriptor, lock)
            code = error.errno or errno.EIO
            text = "this file system has no file locks (flock): choose another directory"
            raise OSError(code, f"{os.strerror(code)}: {text}", path) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= give_up:
            text = "another process has been taking this address for too long"
            raise TimeoutError(errno.ETIMEDOUT, text, path)
        time.sleep(0.005)


def _open_lock(path: str, lock: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(lock, flags, 0o600)
    except OSError as error:
        code = error.errno or errno.EIO
        why = f"{os.strerror(code)}: no lock can be made beside the socket"
        if os.path.lexists(lock):
            why = f"{os.strerror(code)}: {lock} is in the way"
        elif code == errno.ENOENT:
            why = f"{os.strerror(code)}: the directory does not exist"
        raise OSError(code, why, path) from None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(descriptor: int, path: str) -> bool:
    """Say whether ``path`` still names the file: who held the lock before has removed it."""
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)


def _named(error: OSError, path: str) -> Exception:
    if error.errno is None:  # Python's own, of a path too long for the system
        return ValueError(f"bad address {path!r}: {error}")
    return OSError(error.errno, os.strerror(error.errno), path)
