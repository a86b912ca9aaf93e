"""Threads that run plain functions beside an event loop.

A plain function may block, so it never runs on the loop (unless it is ``inline``). Each
connection has a ``ConnectionWorkers``: usually one thread, which runs call after call, so that a
series of quick calls costs one switch of threads and not one per call. When a call takes longer
than ``PATIENCE``, a second thread joins, then a third. ``ConcurrencyLimits`` bound the calls of a
method that run at a time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from npipe.rpc.service.api import Method

__all__ = ["ConcurrencyLimits", "ConnectionWorkers", "ThreadPool"]

log = logging.getLogger("npipe.rpc")

PATIENCE = 0.010  # seconds; a switch of threads costs a hundredth of it
LINGER = 10.0  # seconds that an idle thread waits for work before it ends
SHARED = 64  # threads above which a crew gets no second one: each has its first for certain

Job = Callable[[], object]


class ThreadPool:
    """The threads of one server or client. All methods belong to the loop's thread."""

    def __init__(self) -> None:
        self.busy = 0
        self._idle: list[SimpleQueue[Job]] = []  # one queue a thread: the last to rest goes first

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
                job = jobs.get(timeout=LINGER)
            except Empty:
                try:
                    self._idle.remove(jobs)
                except ValueError:  # somebody has just taken it, and is about to put a job in
                    job = jobs.get()
                else:
                    return


class Runnable(Protocol):
    def run(self) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class ConnectionWorkers:
    """The threads that run one connection's plain calls, in their order where one is enough."""

    def __init__(
        self,
        workers: ThreadPool,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], object],
        behind: Callable[[], bool],
    ) -> None:
        """``wake()``, from any thread, has the loop call ``settle`` and ``resume`` soon. While
        ``behind()`` no call is begun: too many replies wait to be written."""
        self._workers = workers
        self._loop = loop
        self._wake = wake
        self._behind = behind
        self._todo: deque[Runnable] = deque()
        self._count = 0  # threads at work
        self._left: deque[None] = deque()  # one for each thread that has left since ``settle``
        self._begun = self._seen = 0  # calls begun: now, and when the timer was set
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: Runnable) -> None:
        """Have ``call.run()`` called in a thread."""
        self._todo.append(call)
        self.resume()
        self._set_timer()

    def settle(self) -> None:
        """Take note of the threads that have left."""
        while self._left:
            self._left.popleft()
            self._count -= 1
            self._workers.busy -= 1

    def resume(self) -> None:
        """Hire a thread if there is work and none at it."""
        if self._todo and self._count == 0 and not self._behind():
            self._hire()

    def close(self) -> None:
        """Fail what has not begun: it counts at its method's gate until it is answered."""
        while True:
            try:
                call = self._todo.popleft()
            except IndexError:  # a worker may take one at the same time
                break
            call.fail(asyncio.CancelledError())
        if self._timer is not None:
            self._timer.cancel()

    def _hire(self) -> None:
        self._count += 1
        self._workers.busy += 1
        self._workers.start(self._work)

    def _work(self) -> None:
        while not self._behind():
            try:
                call = self._todo.popleft()
            except IndexError:
                break
            self._begun += 1
            try:
                call.run()
            except BaseException:  # SystemExit and the like: answered, and no business of ours
                log.exception("a function raised what is no Exception")
        self._left.append(None)
        self._wake()

    def _set_timer(self) -> None:
        if self._timer is None:
            self._seen = self._begun
            self._timer = self._loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        """Is a call so slow that others wait for it? Then one more thread."""
        self._timer = None
        if self._todo:
            if self._seen == self._begun and self._workers.busy < SHARED and not self._behind():
                self._hire()
            self._set_timer()


class ConcurrencyLimits:
    """Keeps ``@rpc.method(concurrency=n)``: who may run, over all connections of a server."""

    def __init__(self) -> None:
        self._running: dict[Method, int] = {}
        self._waiting: dict[Method, deque[Callable[[], object]]] = {}

    def enter(self, method: Method, run: Callable[[], object]) -> None:
        """Call ``run()`` now, or when one of the method's calls has ended."""
        running = self._running.get(method, 0)
        if running < (method.options.concurrency or sys.maxsize):
            self._running[method] = running + 1
            run()
        else:
            self._waiting.setdefault(method, deque()).append(run)

    def leave(self, method: Method) -> None:
        """One of the method's calls has ended."""
        waiting = self._waiting.get(method)
        if waiting:
            waiting.popleft()()
        else:
            self._running[method] -= 1
