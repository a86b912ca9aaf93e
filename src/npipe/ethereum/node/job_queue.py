"""The order of jobs in the worker of the chain: reads may overtake writes of other callers.

A transaction may run for seconds, and a caller that reads a balance must not wait for ten of them.
So reads overtake waiting writes, but never a write that the same caller sent before: after sending,
a caller reads the result. Reads cannot delay writes without end: after each write, only the reads
go first that were queued by then.

A long job (ten thousand blocks) has many turns. It stays first among the writes until it is
finished, so no other write runs in between, but reads run after each turn. It may pause between two
turns; until it resumes, only reads run.

Not thread-safe: the worker holds its lock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable

__all__ = ["JobQueue"]

Job = Callable[[], None]


class JobQueue:
    """Two queues of jobs, and the choice of the next one."""

    def __init__(self) -> None:
        self._reads: deque[Job] = deque()
        # Writes, and the reads that must follow them: caller, job, whether it has many turns.
        self._in_order: deque[tuple[Hashable, Job, bool]] = deque()
        self._callers: Counter[Hashable] = Counter()  # number of each caller's jobs in _in_order
        self._first = 0  # the number of reads that run before the next of _in_order
        self._paused = False  # the first of _in_order waits for another thread

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
            if not self._in_order:  # the reads that were queued before it run before it
                self._first = len(self._reads)
            self._in_order.append((caller, job, many))
            self._callers[caller] += 1
        else:
            self._reads.append(job)

    def take(self) -> Job | None:
        """Return the next job; None if no job can run now."""
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
        """Pause the long job, which is the first write."""
        self._paused = True

    def resume(self) -> None:
        """Continue the long job that paused."""
        self._paused = False

    def finish(self) -> None:
        """Remove the long job, which is the first write, after its last turn."""
        self._drop_first()

    def _drop_first(self) -> None:
        caller, _, _ = self._in_order.popleft()
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]
