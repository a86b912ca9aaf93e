"""Queue from which the jobs of several owners are taken in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["FairQueue", "Job"]

Job = Callable[[], object]


class FairQueue:
    """Jobs by owner. Each owner has one turn in a round, so no owner waits for all jobs of another.

    The jobs of one owner keep their order. The caller holds a lock.
    """

    __slots__ = ("_count", "_urgent", "_waiting")

    def __init__(self) -> None:
        self._urgent: deque[Job] = deque()
        self._waiting: dict[object, deque[Job]] = {}  # by owner, in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, owner: object, job: Job) -> None:
        """Add a job behind those of the same owner."""
        self._waiting.setdefault(owner, deque()).append(job)
        self._count += 1

    def put_first(self, job: Job) -> None:
        """Add a job before all others."""
        self._urgent.appendleft(job)
        self._count += 1

    def take(self) -> Job:
        """Return the next job, of an owner whose turn it is.

        Raises:
            IndexError: There is none.
        """
        if self._urgent or not self._waiting:
            job = self._urgent.popleft()
        else:
            owner = next(iter(self._waiting))
            jobs = self._waiting.pop(owner)
            job = jobs.popleft()
            if jobs:
                self._waiting[owner] = jobs  # its next turn is the last of the round
        self._count -= 1
        return job

    def take_back(self, owner: object) -> None:
        """Remove the job that was put last for an owner."""
        jobs = self._waiting[owner]
        jobs.pop()
        if not jobs:
            del self._waiting[owner]
        self._count -= 1

    def take_back_first(self) -> None:
        """Remove the job that was put before all others."""
        self._urgent.popleft()
        self._count -= 1
