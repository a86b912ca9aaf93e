"""The one thread that the chain runs in.

The EVM is neither quick nor safe to share, so every use of it is a job for this thread; callers
wait for the result in their own. In which order is for ``turns``. A generator is a job that lets
others read at each ``yield``. With a period, the thread also does one thing again and again,
between jobs (a block every so many seconds).

Imports no py-evm and knows nothing of chains.
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

from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.deep_thread import settle, start_deep_thread
from npipe.ethereum.node.job_queue import JobQueue
from npipe.ethereum.node.trials import Trials
from npipe.rpc.service.context import Context

__all__ = ["CooperativeJob", "Trial", "Worker", "on_worker"]

log: logging.Logger = logging.getLogger("npipe.ethereum")

P = ParamSpec("P")
T = TypeVar("T")
CooperativeJob = Generator[None, None, T]
"""A job in turns: those who read go first at each ``yield``. What it returns is its result."""
Trial = Callable[[], T]
"""What a job returns that is to go on outside of the worker, in one of the threads for trials."""


class Worker:
    """A thread and what it is to do. Jobs run one at a time."""

    def __init__(self, *, name: str = "npipe-chain") -> None:
        self._turns = JobQueue()
        self._arrivals: queue.SimpleQueue[bool] = queue.SimpleQueue()  # of jobs; False: of the end
        self._tick: Callable[[], object] | None = None
        self._period = 0.0
        self._lock = threading.Lock()  # of the turns and of closing
        self._closed = False
        self._thread = start_deep_thread(self._run, name)
        self.trials: Trials = Trials()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` in the worker and return its result or raise its exception.

        From within the worker it simply runs. Raises ChainError once the worker is closed.
        """
        return self.run(functools.partial(function, *args, **kwargs))

    def run(self, function: Callable[[], T], *, caller: Hashable = None, writes: bool = False) -> T:
        """As ``call``, for a caller whose jobs stay in order; see ``JobQueue.put``."""
        if threading.current_thread() is self._thread:
            return function()
        future: Future[T] = Future()
        self._put(functools.partial(settle, future, function), caller=caller, writes=writes)
        return future.result()

    def run_steps(self, steps: CooperativeJob[T], *, caller: Hashable = None) -> T:
        """As ``run``, for what writes and is long. Nobody else writes before it has ended."""
        if threading.current_thread() is self._thread:
            return _exhaust(steps)
        future: Future[T] = Future()

        def turn() -> None:
            _advance(future, steps)
            with self._lock:
                if not future.done() and not self._closed:
                    self._arrivals.put(True)
                    return
            if not future.done():  # there will be no other turn
                settle(future, functools.partial(_exhaust, steps))
            with self._lock:
                self._turns.finish()

        self._put(turn, caller=caller, many=True)
        return future.result()

    def _put(self, job: Callable[[], None], **how: Any) -> None:
        with self._lock:  # nothing may arrive after the end
            if self._closed:
                raise ChainError("the chain has been stopped")
            self._turns.put(job, **how)
            self._arrivals.put(True)

    def every(self, seconds: float, function: Callable[[], object]) -> None:
        """Run ``function`` in the worker each ``seconds``; 0 stops it. One at a time."""

        def change() -> None:
            self._period, self._tick = seconds, function if seconds else None

        self.call(change)

    def close(self) -> None:
        """Finish what is queued, then end the threads. Again does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._arrivals.put(False)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self.trials.close()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            period = self._period
            try:
                timeout = max(0.0, due - time.monotonic()) if self._tick else None
                arrived = self._arrivals.get(timeout=timeout)
            except queue.Empty:
                due = time.monotonic() + period
                self._run_tick()
                continue
            if not arrived:
                return
            with self._lock:
                job = self._turns.take()
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


def on_worker(
    method: Callable[..., Any] | None = None, /, *, writes: bool = False
) -> Callable[..., Any]:
    """Make a method run in the worker of its object (``self._worker``), the caller waiting.

    A generator writes, in steps (``CooperativeJob``). A method that returns a ``Trial`` only begins
    in the worker: what it returned is run in a thread for trials, and that result is served. The
    method that is served takes the call's Context as its first argument, whether or not the given
    method does.

    Args:
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
        if in_steps:
            return worker.run_steps(job(), caller=context.connection_id)
        result = worker.run(job, caller=context.connection_id, writes=writes)
        return worker.trials.run(result, caller=context.connection_id) if tries else result

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


def _advance(future: Future[T], steps: CooperativeJob[T]) -> None:
    """Run a job to its next ``yield``, or hand over its outcome."""
    try:
        next(steps)
    except StopIteration as end:
        future.set_result(end.value)
    except BaseException as error:
        future.set_exception(error)


def _exhaust(steps: CooperativeJob[T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
