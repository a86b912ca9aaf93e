"""Thread pool for slow calls, shared by all connections of one server.

Up to ``COMMON`` threads are started as needed. Above that a job waits for a thread, and one more is
started only when no job could begin for a whole period of the monitor. So functions that block for
minutes, or wait for each other, cannot prevent the others from running. Threads above ``COMMON``
end as soon as they are not needed, all but one. The connections take turns: the calls of one do not
wait for all calls of another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from npipe.rpc.threads.loop.fair_queue import FairQueue, Job
from npipe.rpc.threads.waiter import notify_all

__all__ = ["ThreadPool"]

log: logging.Logger = logging.getLogger("npipe.rpc")

COMMON = 32  # threads that are started at once
MOST = 1024  # largest number of threads
IDLE_SECONDS = 10.0  # seconds without a job after which a thread ends


class ThreadPool:
    """Runs jobs in daemon threads. Its methods may be called from any thread.

    ``_changed`` guards every attribute. A job is taken by exactly one thread; for a queued job an
    idle thread was notified, or it waits for a busy one.
    """

    def __init__(
        self,
        on_wait: Callable[[], object] = lambda: None,
        *,
        common: int = COMMON,
        most: int = MOST,
    ) -> None:
        """Make a pool without threads.

        Args:
            on_wait: Called when a job has to wait; ``look`` must be called from then on.
            common: The number of threads that are started as soon as jobs need them.
            most: The largest number of threads.
        """
        self._changed = threading.Condition()
        self._jobs = FairQueue()
        self._threads = self._idle = 0
        self._begun = self._seen = 0  # jobs begun: in total, and until the last ``look``
        self._on_wait = on_wait
        self._common = common
        self._most = most
        self._stopped = False

    def start(self, job: Job, owner: object = None) -> None:
        """Run a job in a thread.

        Args:
            job: Called without arguments. Its exceptions are logged.
            owner: What the job belongs to: the jobs of several owners are taken in turn.

        Raises:
            RuntimeError: The pool has no thread and none can be started.
        """
        with self._changed:
            self._jobs.put(owner, job)
            has_thread = self._find_thread(owner)
        if not has_thread:
            self._on_wait()

    def start_now(self, job: Job) -> None:
        """Run a job at once, before those that wait.

        Args:
            job: Called without arguments. Its exceptions are logged.

        Raises:
            RuntimeError: No thread can be started; the job is not run.
        """
        with self._changed:
            self._jobs.put_first(job)
            if self._idle >= len(self._jobs):
                self._changed.notify()
                return
            try:
                self._add()
            except RuntimeError:
                self._jobs.take_back_first()
                raise

    @property
    def waiting(self) -> bool:
        """True while jobs wait for a thread."""
        return bool(self._jobs)

    def look(self) -> None:
        """Start one more thread if jobs wait and none has begun since the last check."""
        with self._changed:
            if self._jobs and self._begun == self._seen and self._threads < self._most:
                try:
                    self._add()
                except RuntimeError:  # the jobs wait for the existing threads
                    log.warning("no thread can be started: %d calls wait for one", len(self._jobs))
            self._seen = self._begun

    def stop(self) -> None:
        """End the idle threads; the others end after their job. Waiting jobs still run."""
        with self._changed:
            self._stopped = True
            notify_all(self._changed)

    def _find_thread(self, owner: object) -> bool:
        """Find a thread for the last job. Return False if the job has to wait."""
        if self._idle >= len(self._jobs):
            self._changed.notify()
            return True
        if self._threads >= self._common:
            return False
        try:
            self._add()
        except RuntimeError:
            if not self._threads:
                self._jobs.take_back(owner)
                raise
            return False
        return True

    def _add(self) -> None:
        thread = threading.Thread(target=self._run, name="npipe-worker", daemon=True)
        self._threads += 1
        try:
            thread.start()
        except RuntimeError:
            self._threads -= 1
            raise

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except BaseException:  # also SystemExit: the thread continues
                log.exception("a call in a thread failed")

    def _next(self) -> Job | None:
        """Return the next job; None if the thread must end."""
        with self._changed:
            while not self._jobs:
                surplus = self._idle and self._threads > self._common
                if self._stopped or surplus:
                    self._threads -= 1
                    return None
                self._idle += 1
                woken = self._changed.wait(IDLE_SECONDS)
                self._idle -= 1
                if not woken and not self._jobs:
                    self._threads -= 1
                    return None
            self._begun += 1
            return self._jobs.take()
