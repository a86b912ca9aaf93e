"""Whose turn it is in the chain's worker: what only reads need not wait for all who write.

A transaction may run for seconds. Ten that wait must not add up for somebody who asks for a
balance, so reads pass transactions that wait; but never one that their own caller has sent before:
whoever sends and then looks wants to see what came of it. And reads cannot keep writers out: after
each transaction, only those that were there by then go first.

Not safe by itself: the worker holds its lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable

__all__ = ["Turns"]

Job = Callable[[], None]


class Turns:
    """Two lines of jobs, and which one is next."""

    def __init__(self) -> None:
        self._reads: deque[Job] = deque()
        self._in_order: deque[tuple[Hashable, Job]] = deque()  # what writes, and what follows that
        self._callers: Counter[Hashable] = Counter()  # of the jobs in order
        self._first = 0  # so many reads go before the next of the jobs in order

    def put(self, job: Job, *, caller: Hashable = None, writes: bool = False) -> None:
        """Let a job wait. ``writes``: reads of other callers may pass it."""
        if writes or caller in self._callers:
            if not self._in_order:  # what was asked before it is answered before it
                self._first = len(self._reads)
            self._in_order.append((caller, job))
            self._callers[caller] += 1
        else:
            self._reads.append(job)

    def take(self) -> Job:
        """The next job. Raises IndexError where none waits."""
        if self._reads and (self._first or not self._in_order):
            self._first = max(0, self._first - 1)
            return self._reads.popleft()
        caller, job = self._in_order.popleft()
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]

        def run() -> None:
            try:
                job()
            finally:
                self._first = len(self._reads)

        return run
