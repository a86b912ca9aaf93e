"""When to look for the next message without going to sleep. Threads; no byte is kept here.

In a conversation the other end's next message comes within some ten microseconds, and a thread
that sleeps on an idle core takes longer than that to wake. So a link looks again and again for a
moment before it sleeps. Where that fails it rests for one read, then for 3, 7 and so on: who is
spoken to now and then pays next to nothing, and an idle connection nothing at all.
"""

from __future__ import annotations

import os
import sys
import threading

from npipe.transport.base import Connection

__all__ = ["SpinReader", "cores"]

SECONDS = 50e-6  # twice what an answer from another core takes, and less than a wake-up there
LONGEST_REST = 63  # reads after a failure: where it never pays it costs a microsecond a read


class SpinReader:
    """Reads of one connection that do not sleep, as long as that pays.

    ``turn`` is shared by all connections of a server: one thread at a time looks, since the
    others would only take the interpreter's lock from it.
    """

    def __init__(self, turn: threading.Lock) -> None:
        self._turn = turn
        self._failures = 0
        # So many reads are left to sleep. All of them on one core: who looks keeps the other out.
        self._rest = 0 if cores() > 1 else sys.maxsize

    def read(self, connection: Connection, size: int) -> bytes | None:
        """Return at most ``size`` bytes that come at once. None: read as usual."""
        if self._rest:
            self._rest -= 1
            return None
        if not self._turn.acquire(blocking=False):
            return None
        try:
            data = connection.poll_read(size, SECONDS)
        finally:
            self._turn.release()
        self._failures = self._rest = (
            0 if data is not None else min(2 * self._failures + 1, LONGEST_REST)
        )
        return data


def cores() -> int:
    """Say on how many cores this process may run."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
