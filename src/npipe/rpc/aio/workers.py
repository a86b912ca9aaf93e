"""Worker threads for plain functions, beside an event loop.

A plain function may block, so it never runs on the loop (unless it is ``inline``). Each
connection has a ``ConnectionWorkers``: usually one thread, which runs call after call, so that a
series of quick calls costs one thread switch instead of one per call. When a call takes longer
than ``PATIENCE`` seconds, a second thread is added, then a third.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

__all__ = ["ConnectionWorkers", "ThreadPool"]

log: logging.Logger = logging.getLogger("npipe.rpc")

PATIENCE = 0.010  # seconds after which a call is slow; a thread switch takes a hundredth of it
IDLE_SECONDS = 10.0  # seconds that an idle thread waits for work before it ends
MAX_THREADS = (
    64  # busy threads, above which a connection gets no second one; it always gets its first
)

Job = Callable[[], object]


class ThreadPool:
    """The threads of one server or client. All methods are called in the loop's thread."""

    def __init__(self) -> None:
        self.busy = 0
        self._idle: list[SimpleQueue[Job]] = []  # one queue per idle thread; last in, first out

    def start(self, job: Job) -> None:
        """Run ``job`` in a thread, at once."""
        try:
            self._idle.pop().put(job)
        except IndexError:
            # A daemon: a function that never returns must not keep the program alive.
            threading.Thread(
                target=self._run, args=(job,), name="npipe-worker", daemon=True
            ).start()

    def _run(self, job: Job) -> None:
        jobs: SimpleQueue[Job] = SimpleQueue()
        while True:
            job()
            self._idle.append(jobs)
            try:
                job = jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                try:
                    self._idle.remove(jobs)
                except ValueError:  # the loop has taken this queue and will put a job into it
                    job = jobs.get()
                else:
                    return


class Runnable(Protocol):
    def run(self) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class ConnectionWorkers:
    """The threads that run one connection's plain calls; in order while one thread suffices."""

    def __init__(
        self,
        workers: ThreadPool,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], object],
        behind: Callable[[], bool],
    ) -> None:
        """Make a set of workers without threads.

        Args:
            workers: The pool that the threads come from.
            loop: The event loop.
            wake: Has the loop call ``settle`` and ``resume`` soon; called from any thread.
            behind: Returns whether too many replies wait to be written; no call begins then.
        """
        self._workers = workers
        self._loop = loop
        self._wake = wake
        self._behind = behind
        self._todo: deque[Runnable] = deque()
        self._count = 0  # working threads
        self._left: deque[None] = deque()  # one per thread that has ended since ``settle``
        self._begun = self._seen = 0  # calls begun: until now, and when the timer was set
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Runnable) -> None:
        """Have ``call.run()`` called in a thread."""
        self._todo.append(call)
        self.resume()
        self._set_timer()

    def settle(self) -> None:
        """Update the count of working threads."""
        while self._left:
            self._left.popleft()
            self._count -= 1
            self._workers.busy -= 1

    def resume(self) -> None:
        """Start a thread if calls wait and no thread is working."""
        if self._todo and self._count == 0 and not self._behind():
            self._add_worker()

    def close(self) -> None:
        """Fail the calls that have not begun; until then they count for the concurrency limits."""
        while True:
            try:
                call = self._todo.popleft()
            except IndexError:  # a worker may take one at the same time
                break
            call.fail(asyncio.CancelledError())
        if self._timer is not None:
            self._timer.cancel()

    def _add_worker(self) -> None:
        self._count += 1
        self._workers.busy += 1
        try:
            self._workers.start(self._work)
        except RuntimeError as error:  # no thread can be started
            self._count -= 1
            self._workers.busy -= 1
            while self._todo and not self._count:  # else a working thread takes them
                self._todo.popleft().fail(error)

    def _work(self) -> None:
        while not self._behind():
            try:
                call = self._todo.popleft()
            except IndexError:
                break
            self._begun += 1
            try:
                call.run()
            except BaseException:  # the call was answered, and the thread continues
                log.exception("a served function raised an exception that is not an Exception")
        self._left.append(None)
        self._wake()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._seen = self._begun
            self._timer = self._loop.call_later(PATIENCE, self._check)

    def _check(self) -> None:
        """Start one more thread if calls wait for a slow one."""
        self._timer = None
        if self._todo:
            if (
                self._seen == self._begun
                and self._workers.busy < MAX_THREADS
                and not self._behind()
            ):
                self._add_worker()
            self._set_timer()
