"""Thread pool in which eth_call, estimates, traces and simulations run, beside the chain's worker.

A call may run for seconds, and every other client would wait for it in the worker of the chain. So
the worker only opens the state, which does not change with the chain, and the execution runs here.
Each connection has one trial running at a time and its others wait in order, so no client can
occupy every thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import TypeVar

from npipe.ethereum.errors import Stopped
from npipe.ethereum.node.deep_thread import settle, start_deep_thread

__all__ = ["Trials"]

T = TypeVar("T")
_THREADS = 8


class Trials:
    """A few threads with large stacks, started on demand."""

    def __init__(self, threads: int = _THREADS, *, stopping: threading.Event | None = None) -> None:
        """Start no thread yet.

        Once ``stopping`` is set, waiting jobs are refused, and running ones are interrupted by the
        states that they run on.
        """
        self._most = threads
        self._stopping = stopping or threading.Event()
        self._changed = threading.Condition()  # guards the attributes below
        self._ready: deque[Hashable] = deque()  # callers that have a waiting job and no running one
        self._jobs: dict[Hashable, deque[Callable[[], None]]] = {}  # of each caller, in order
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def run(
        self,
        function: Callable[[], T],
        *,
        caller: Hashable = None,
        gone: Callable[[], bool] = lambda: False,
    ) -> T:
        """Run ``function`` in one of the threads; return its result or raise its exception.

        Raises Stopped after ``close``, or if the caller is ``gone`` when its turn comes.
        """
        return self.start(function, caller=caller, gone=gone).result()

    def start(
        self,
        function: Callable[[], T],
        *,
        caller: Hashable = None,
        gone: Callable[[], bool] = lambda: False,
    ) -> Future[T]:
        """Do the same as ``run``, without waiting: return a future."""
        future: Future[T] = Future()

        def tried() -> T:
            if self._stopping.is_set() or gone():
                raise Stopped
            return function()

        def job() -> None:
            settle(future, tried)

        with self._changed:
            if self._closed:
                raise Stopped
            waiting = self._jobs.get(caller)
            if waiting is None:
                self._jobs[caller] = deque([job])
                self._ready.append(caller)
            else:  # an earlier job of the caller runs or waits: this one follows it
                waiting.append(job)
            if len(self._ready) > self._idle and len(self._threads) < self._most:
                name = f"npipe-trial-{len(self._threads) + 1}"
                self._threads.append(start_deep_thread(self._work, name))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish the running and the waiting jobs, then end the threads. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            caller, job = taken
            job()
            with self._changed:
                if self._jobs[caller]:
                    self._ready.append(caller)
                    self._changed.notify()
                else:
                    del self._jobs[caller]

    def _take(self) -> tuple[Hashable, Callable[[], None]] | None:
        """Wait for the next job of a caller; return None at the end."""
        with self._changed:
            self._idle += 1
            while not self._ready and not self._closed:
                self._changed.wait()
            self._idle -= 1
            if not self._ready:  # a running job makes its caller's next job ready at its end
                return None
            caller = self._ready.popleft()
            return caller, self._jobs[caller].popleft()
