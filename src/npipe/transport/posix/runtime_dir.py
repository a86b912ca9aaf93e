"""The directory of bare names: only its owner may enter it, and every use checks that."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import runtime_directory

__all__ = ["check_runtime_directory", "is_in_runtime_directory"]


def is_in_runtime_directory(path: str) -> bool:
    """Tell whether ``path`` is in the directory of bare names."""
    return os.path.dirname(path) == runtime_directory()


def check_runtime_directory(path: str, *, create: bool = False) -> None:
    """Check the directory of bare names if ``path`` is in it.

    Args:
        path: Path of a socket.
        create: Whether to create the directory.

    Raises:
        PermissionError: The directory does not belong to this user or admits other users, who
            could create sockets in it.
    """
    if not is_in_runtime_directory(path):
        return
    directory = runtime_directory()
    if create:
        _make_runtime_directory(directory)
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return  # the caller then finds no socket either
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
    """Create the directory, but not in another user's ``$XDG_RUNTIME_DIR``.

    sudo may keep the variable; a directory of root there would block that user.
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
