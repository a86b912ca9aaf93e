"""Lock file beside a socket, held while a server replaces a stale socket and binds its own.

Its name is hidden and long, so that it does not collide with the name of a socket. It is removed at
the end; a file left by a crash is no obstacle, because the lock (man page flock(2)) ends with the
process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator

assert sys.platform != "win32"  # mypy then skips the rest there

__all__ = ["lock_address", "lock_path"]


def lock_path(path: str) -> str:
    """Return the path of the lock file of the socket at ``path``."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.npipe-lock")


@contextlib.contextmanager
def lock_address(path: str, patience: float) -> Iterator[None]:
    """Hold the lock of the socket at ``path``; remove the lock file at the end.

    Errors name the socket; they name the lock file only if that file is the obstacle.
    """
    lock = lock_path(path)
    descriptor = _take_lock(path, lock, patience)
    try:
        yield
    finally:
        _drop_lock(descriptor, lock)


def _drop_lock(descriptor: int, lock: str) -> None:
    # Removed while it is still locked: a waiting process then finds that the name no longer refers
    # to its file. A file with content was not made by npipe: it serves as a lock and is kept.
    with contextlib.suppress(OSError):
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and not found.st_size:
            os.unlink(lock)
    os.close(descriptor)


def _take_lock(path: str, lock: str, patience: float) -> int:
    """Open and lock the lock file; return its descriptor."""
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
    """Tell whether ``path`` still names the file; the previous holder may have removed it."""
    try:
        named = os.lstat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)
