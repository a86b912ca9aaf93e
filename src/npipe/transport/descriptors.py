"""The number of connections that the limit of open files (``ulimit -n``) permits."""

from __future__ import annotations

import os
import sys

__all__ = ["are_scarce", "connections_allowed"]

RESERVE = 32  # descriptors for other uses: state files, logs, child processes
MOST = 100_000  # result if the system has no limit, or a higher one


def connections_allowed(each: int = 1) -> int:
    """Return how many more connections this process can have.

    Args:
        each: File descriptors per connection.

    Returns:
        At least 1; ``MOST`` if the system sets no such limit.
    """
    if sys.platform == "win32":
        return MOST
    soft = _soft_limit()
    if soft is None:
        return MOST
    return min(max((soft - len(os.listdir("/dev/fd")) - RESERVE) // each, 1), MOST)


def are_scarce(descriptor: int) -> bool:
    """Tell whether only ``RESERVE`` descriptors are left, or fewer.

    This costs three system calls, however many descriptors are open: a new descriptor has the
    lowest number that is free (POSIX, "File Descriptor Allocation").

    Args:
        descriptor: Any open descriptor, which is duplicated for a moment.
    """
    soft = _soft_limit()
    if soft is None:
        return False
    try:
        lowest_free = os.dup(descriptor)
    except OSError:  # none is left
        return True
    os.close(lowest_free)
    return lowest_free >= soft - RESERVE


def _soft_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft in (resource.RLIM_INFINITY, -1) else soft
