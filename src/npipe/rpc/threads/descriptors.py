"""How many connections the limit of open files (``ulimit -n``) leaves room for."""

from __future__ import annotations

import os
import sys

__all__ = ["connections_allowed"]

RESERVE = 32  # descriptors for everything else: a state file that is saved, a log, a program
MOST = 100_000  # where the system has no limit, or none that matters


def connections_allowed(each: int = 1) -> int:
    """Return how many more connections this process can have.

    Args:
        each: Descriptors that one connection costs.

    Returns:
        At least 1; ``MOST`` where the system sets no limit of this kind.
    """
    if sys.platform == "win32":
        return MOST
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, -1):
        return MOST
    return min(max((soft - len(os.listdir("/dev/fd")) - RESERVE) // each, 1), MOST)
