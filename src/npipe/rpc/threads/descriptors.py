"""The number of connections that the limit of open files (``ulimit -n``) permits."""

from __future__ import annotations

import os
import sys

__all__ = ["connections_allowed"]

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
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1):
        return MOST
    return min(max((soft - len(os.listdir("/dev/fd")) - RESERVE) // each, 1), MOST)
