"""Spinning reads: poll for the next message before sleeping. With threads; no byte is buffered.

In a dialogue the peer's next message arrives within some ten microseconds, and a thread that
sleeps on an idle core takes longer than that to wake. So a driver polls for a moment before it
sleeps. After a failed poll it skips one read, then 3, 7 and so on: occasional messages cost next to
nothing, and an idle connection costs nothing.
"""

from __future__ import annotations

import os
import sys
import threading

from npipe.transport.base import Connection

__all__ = ["SpinReader", "cores"]

SECONDS = 50e-6  # twice the time of a reply from another core, and less than a wake-up takes
LONGEST_REST = 63  # reads skipped after a failure: at worst polling costs 1 microsecond per read


class SpinReader:
    """Polls one connection, as long as polling succeeds.

    ``lock`` is shared by all connections of a server: only one thread polls at a time, because
    further ones would only compete for the GIL.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._failures = 0
        # Number of reads to skip. All on one core, where a polling thread delays the peer.
        self._rest = 0 if cores() > 1 else sys.maxsize

    def read(self, connection: Connection, size: int) -> bytes | None:
        """Return at most ``size`` bytes that arrive at once. None: read as usual."""
        if self._rest:
            self._rest -= 1
            return None
        if not self._lock.acquire(False):
            return None
        try:
            data = connection.poll_read(size, SECONDS)
        finally:
            self._lock.release()
        self._failures = self._rest = (
            0 if data is not None else min(2 * self._failures + 1, LONGEST_REST)
        )
        return data


def cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
