"""The thread of the chain.

The EVM is neither fast nor thread-safe, so every use of it is a job for this thread, and callers
wait for the result in their own threads. ``job_queue`` defines the order. A generator is a job that
lets reads run at each ``yield``; a Trial that it yields runs in a thread for trials meanwhile. With
a period, the thread also calls a function repeatedly between jobs (for a block every some seconds).

At the end, jobs have a moment to finish. Then ``stopping`` is set, which running code checks: it is
interrupted, and the waiting jobs are refused.

Imports no py-evm and does not depend on a chain.
"""

from __future__ import annotations

import functools
import inspect
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from npipe.ethereum.errors import Stopped
from npipe.ethereum.node.deep_thread import settle, start_deep_thread
from npipe.ethereum.node.job_queue import JobQueue
from npipe.ethereum.node.trials import Trials
from npipe.rpc.service.context import Context

__all__ = ["CooperativeJob", "Trial", "Worker", "on_worker"]

log: logging.Logger = logging.getLogger("npipe.ethereum")

P = ParamSpec("P")
T = TypeVar("T")
Trial = Callable[[], T]
"""The result of a job that continues outside of the worker, in a thread for trials."""
CooperativeJob = Generator[Trial[Any] | None, Any, T]
"""A job in turns: reads run first at each ``yield``. Its return value is its result.

A Trial that it yields runs in a thread for trials; ``yield`` then returns its result or raises its
exception.
"""
GRACE = 0.5  # seconds for jobs to finish at the end


class Worker:
    """A thread and its jobs, which run one at a time."""

    def __init__(
        self, *, name: str = "npipe-chain", stopping: threading.Event | None = None
    ) -> None:
        """Start the thread. ``stopping`` is set at the end; running jobs check it."""
        self._turns = JobQueue()
        self._arrivals: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True: a job; False: the end
        self._tick: Callable[[], object] | None = None
        self._period = 0.0
        self._lock = threading.Lock()  # guards the queue and closing
        self._closed = False
        self._stopping = stopping or threading.Event()
        self.trials: Trials = Trials(stopping=self._stopping)
        self._thread = start_deep_thread(self._run, name)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in the worker and return its result or raise its exception.

        In the worker itself, it runs directly. Raises Stopped once the worker is closed.
        """
        return self.run(functools.partial(function, *args, **kwargs))

    def run(
        self,
        function: Callable[[], T],
        *,
        caller: Hashable = None,
        writes: bool = False,
        gone: Callable[[], bool] = lambda: False,
    ) -> T:
        """Do the same as ``call``, for a caller whose jobs stay in order; see ``JobQueue.put``.

        Raises Stopped if the caller is ``gone`` when its turn comes and the job only reads, or if
        the worker is closing.
        """
        if threading.current_thread() is self._thread:
            return function()
        future: Future[T] = Future()

        def job() -> T:
            if self._stopping.is_set() or ((self._closed or not writes) and gone()):
                raise Stopped
            return function()

        self._put(functools.partial(settle, future, job), caller=caller, writes=writes)
        return future.result()

    def run_steps(
        self,
        steps: CooperativeJob[T],
        *,
        caller: Hashable = None,
        gone: Callable[[], bool] = lambda: False,
    ) -> T:
        """Do the same as ``run``, for a long write. No other write runs before it has ended."""
        if threading.current_thread() is self._thread:
            return _exhaust(steps)
        future: Future[T] = Future()
        tried: Future[Any] = Future()  # the result of the trial that the job yielded last
        tried.set_result(None)

        def turn() -> None:
            nonlocal tried
            trial = None
            try:
                if self._stopping.is_set() or (self._closed and gone()):
                    steps.close()
                    raise Stopped
                trial = _advance(steps, tried)
            except StopIteration as end:
                future.set_result(end.value)
            except BaseException as error:
                future.set_exception(error)
            with self._lock:
                if future.done():
                    self._turns.finish()
                elif trial is not None:
                    self._turns.pause()
            if trial is not None:
                tried = self._try(trial, caller)
                tried.add_done_callback(self._resume)

        self._put(turn, caller=caller, many=True)
        return future.result()

    def _put(self, job: Callable[[], None], **how: Any) -> None:
        with self._lock:  # no job may be added after the end
            if self._closed:
                raise Stopped
            self._turns.put(job, **how)
            self._arrivals.put(True)

    def _try(self, trial: Trial[Any], caller: Hashable) -> Future[Any]:
        try:
            return self.trials.start(trial, caller=caller)
        except Stopped as error:
            refused: Future[Any] = Future()
            refused.set_exception(error)
            return refused

    def _resume(self, _: Future[Any]) -> None:
        with self._lock:
            self._turns.resume()
            self._arrivals.put(True)

    def every(self, seconds: float, function: Callable[[], object]) -> None:
        """Run ``function`` in the worker every ``seconds``, never twice at a time; 0 stops it."""

        def change() -> None:
            self._period, self._tick = seconds, function if seconds else None

        self.call(change)

    def close(self, grace: float = GRACE) -> None:
        """End all threads; see ``stop``. Idempotent."""
        self.stop(grace)
        self.trials.close()

    def stop(self, grace: float = GRACE) -> None:
        """End the chain's thread, after what is queued: nothing changes the chain from then on.

        Args:
            grace: Seconds after which running jobs are interrupted and waiting ones refused.
        """
        with self._lock:
            self._closed = True
            self._arrivals.put(True)
        if threading.current_thread() is not self._thread:
            self._thread.join(grace)
            self._stopping.set()
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            period = self._period
            with self._lock:
                job = self._turns.take()
                if job is None and self._closed and not self._turns:
                    return
            if job is None:
                try:
                    timeout = max(0.0, due - time.monotonic()) if self._tick else None
                    self._arrivals.get(timeout=timeout)
                except queue.Empty:
                    due = time.monotonic() + period
                    self._run_tick()
                continue
            job()
            if self._period != period:
                due = time.monotonic() + self._period
            elif self._tick is not None and time.monotonic() >= due:
                due = time.monotonic() + period  # busy: the queue was never empty, yet it is time
                self._run_tick()

    def _run_tick(self) -> None:
        try:
            if self._tick is not None and not self._closed:
                self._tick()
        except Stopped:
            pass
        except Exception:  # there is no caller to raise it to, and the next one may go well
            log.exception("the periodic job (every %g s) has failed", self._period)


def on_worker(
    method: Callable[..., Any] | None = None, /, *, writes: bool = False
) -> Callable[..., Any]:
    """Make a method run in the worker of its object (``self._worker``), the caller waiting.

    A generator writes, in steps (``CooperativeJob``). A method that returns a ``Trial`` only begins
    in the worker: what it returned is run in a thread for trials, and that result is served. The
    method that is served takes the call's Context as its first argument, whether or not the given
    method does.

    Args:
        method: The method. Omitted where the decorator is used with arguments.
        writes: The method may run transactions; methods that only read may pass it.
    """
    if method is None:
        return functools.partial(on_worker, writes=writes)
    signature = inspect.signature(method)
    wanted = "context" in signature.parameters
    in_steps = inspect.isgeneratorfunction(method)
    returned = str(method.__annotations__.get("return", ""))
    tries = returned.startswith("Trial[")

    @functools.wraps(method)
    def run(self: Any, context: Context, *args: Any, **kwargs: Any) -> Any:
        args = (self, context, *args) if wanted else (self, *args)
        job = functools.partial(method, *args, **kwargs)
        worker: Worker = self._worker
        caller: dict[str, Any] = {
            "caller": context.connection_id,
            "gone": lambda: context.cancelled,
        }
        if in_steps:
            return worker.run_steps(job(), **caller)
        result = worker.run(job, writes=writes, **caller)
        return worker.trials.run(result, **caller) if tries else result

    if not wanted:
        own, *others = signature.parameters.values()
        context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[own, context, *others]
        )
    run.__annotations__ = {**method.__annotations__, "context": Context}
    if in_steps or tries:  # as text, as it stands in the source: what is served is the result
        inner = returned.removeprefix("CooperativeJob[").removeprefix("Trial[").removesuffix("]")
        run.__annotations__["return"] = inner
    return run


def _advance(steps: CooperativeJob[T], tried: Future[Any]) -> Trial[Any] | None:
    """Run a job to its next ``yield``, with the result of the yielded trial.

    Returns the yielded value. Raises StopIteration with the result of the job, or its exception.
    """
    if error := tried.exception():
        return steps.throw(error)
    return steps.send(tried.result())


def _exhaust(steps: CooperativeJob[T]) -> T:
    """Run a job to its end in this thread, with its trials."""
    tried: Future[Any] = Future()
    tried.set_result(None)
    while True:
        try:
            trial = _advance(steps, tried)
        except StopIteration as end:
            return end.value
        tried = Future()
        settle(tried, trial or (lambda: None))
