"""Polling for a moment before a wait, as long as that succeeds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from npipe.rpc.threads.loop.poller import Poller

__all__ = ["SpinWait"]

LONGEST_REST = 63  # waits without polling, after failed polls

yield_processor: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


class SpinWait:
    """Polls for a moment before the leader sleeps, as long as polling succeeds.

    In a dialogue the next message arrives within some ten microseconds, and a thread that sleeps on
    an idle core takes longer than that to wake. After a failed poll the next wait does not poll,
    then the next 3, 7 and so on: an idle server costs nothing.
    """

    def __init__(self, seconds: float) -> None:
        """Make a poller.

        Args:
            seconds: The duration of a poll; 0: never poll.
        """
        self._seconds = seconds
        self._failures = self._rest = 0

    def poll(self, poller: Poller, timeout: float | None) -> list[tuple[int, int]]:
        """Return the events that arrive at once; empty: wait for them."""
        if not self._seconds or timeout == 0:
            return []
        if self._rest:
            self._rest -= 1
            return []
        until = time.perf_counter() + self._seconds
        while not (events := poller.wait(0)) and time.perf_counter() < until:
            yield_processor()  # the peer may be scheduled on this core
        self._failures = self._rest = 0 if events else min(2 * self._failures + 1, LONGEST_REST)
        return events
