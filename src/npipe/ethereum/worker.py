"""The one thread that the chain runs in.

The EVM is neither quick nor safe to share, so every use of it is a job for this thread; callers
wait for the result in their own. With a period, the thread also does one thing again and again,
between jobs (a block every so many seconds).

Imports no py-evm and knows nothing of chains.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from .errors import ChainError

__all__ = ["Worker", "on_worker"]

log = logging.getLogger("npipe.ethereum")

P = ParamSpec("P")
T = TypeVar("T")

# A thousand nested calls of contracts are tens of thousands of Python frames, some of them in C.
_STACK_BYTES = 64 * 1024 * 1024  # address space; only what is used becomes memory


class Worker:
    """A thread and the queue of what it is to do. Jobs run one at a time, in order of arrival."""

    def __init__(self, *, name: str = "npipe-chain") -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tick: Callable[[], object] | None = None
        self._period = 0.0
        self._closing = threading.Lock()
        self._closed = False
        self._thread = _start(self._run, name)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in the worker and return its result or raise its exception.

        From within the worker it simply runs. Raises ChainError once the worker is closed.
        """
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        future: Future[T] = Future()
        job = functools.partial(_settle, future, functools.partial(function, *args, **kwargs))
        with self._closing:  # nothing may be queued behind the end
            if self._closed:
                raise ChainError("the chain has been stopped")
            self._jobs.put(job)
        return future.result()

    def every(self, seconds: float, function: Callable[[], object]) -> None:
        """Run ``function`` in the worker each ``seconds``; 0 stops it. One at a time."""

        def change() -> None:
            self._period, self._tick = seconds, function if seconds else None

        self.call(change)

    def close(self) -> None:
        """Finish what is queued, then end the thread. Again is nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            period = self._period
            try:
                timeout = max(0.0, due - time.monotonic()) if self._tick else None
                job = self._jobs.get(timeout=timeout)
            except queue.Empty:
                due = time.monotonic() + period
                self._run_tick()
                continue
            if job is None:
                return
            job()
            if self._period != period:
                due = time.monotonic() + self._period
            elif self._tick is not None and time.monotonic() >= due:
                due = time.monotonic() + period  # busy: the queue was never empty, yet it is time
                self._run_tick()

    def _run_tick(self) -> None:
        try:
            if self._tick is not None:
                self._tick()
        except Exception:  # there is nobody to raise it to, and the next one may go well
            log.exception("what is done every %g s", self._period)


class _HasWorker(Protocol):
    _worker: Worker


S = TypeVar("S", bound=_HasWorker)


def on_worker(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """Make a method run in the worker of its object (``self._worker``), the caller waiting."""

    def run(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._worker.call(method, self, *args, **kwargs)

    return functools.update_wrapper(run, method)  # type: ignore[return-value]


def _settle(future: Future[Any], function: Callable[[], Any]) -> None:
    """Run a job and hand over its outcome. The exception of one job never ends the thread."""
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _start(target: Callable[[], None], name: str) -> threading.Thread:
    """Start a thread with a deep stack. The size is the process's setting: put back at once."""
    before = threading.stack_size(_STACK_BYTES)
    try:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
    finally:
        threading.stack_size(before)
    return thread
