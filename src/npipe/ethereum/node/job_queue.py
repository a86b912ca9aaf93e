"""Whose turn it is in the chain's worker: what only reads need not wait for all who write.

A transaction may run for seconds. Ten that wait must not add up for somebody who asks for a
balance, so reads pass transactions that wait; but never one that their own caller has sent before:
whoever sends and then looks wants to see what came of it. And reads cannot keep writers out: after
each transaction, only those that were there by then go first.

A job that would be long (ten thousand blocks) has many turns. It keeps its place among those in
order until it is finished, so no other job writes in between, but reads pass after each turn. It
may pause between two turns: then only reads are taken until it resumes.

Not safe by itself: the worker holds its lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable

__all__ = ["JobQueue"]

Job = Callable[[], None]


class JobQueue:
    """Two lines of jobs, and which one is next."""

    def __init__(self) -> None:
        self._reads: deque[Job] = deque()
        # What writes, and what follows that: caller, job, whether it has many turns.
        self._in_order: deque[tuple[Hashable, Job, bool]] = deque()
        self._callers: Counter[Hashable] = Counter()  # of the jobs in order
        self._first = 0  # so many reads go before the next of the jobs in order
        self._paused = False  # the first in order waits for something else

    def __len__(self) -> int:
        return len(self._reads) + len(self._in_order)

    def put(
        self, job: Job, *, caller: Hashable = None, writes: bool = False, many: bool = False
    ) -> None:
        """Add a job.

        With ``writes``, reads of other callers may run before it. With ``many`` it writes, and gets
        one turn after the other until ``finish``.
        """
        if writes or many or caller in self._callers:
            if not self._in_order:  # what was asked before it is answered before it
                self._first = len(self._reads)
            self._in_order.append((caller, job, many))
            self._callers[caller] += 1
        else:
            self._reads.append(job)

    def take(self) -> Job | None:
        """Return the next job; None where none can run now."""
        held = self._paused or not self._in_order
        if self._reads and (self._first or held):
            self._first = max(0, self._first - 1)
            return self._reads.popleft()
        if held:
            return None
        _, job, many = self._in_order[0]
        if not many:
            self._drop_first()

        def run() -> None:
            try:
                job()
            finally:
                self._first = len(self._reads)

        return run

    def pause(self) -> None:
        """Keep the job of many turns, which is the first in order, from having its next one."""
        self._paused = True

    def resume(self) -> None:
        """Let the job that paused have its turns again."""
        self._paused = False

    def finish(self) -> None:
        """The job of many turns, which is the first in order, has had its last."""
        self._drop_first()

    def _drop_first(self) -> None:
        caller, _, _ = self._in_order.popleft()
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
