"""Execution of the calls of one connection, on the event loop or in threads.

``async def`` functions run as tasks, ``inline`` functions at once, and plain functions in the
connection's worker threads (``ConnectionWorkers``). ``ConcurrencyLimits`` bound the calls of a
method that run at a time. Only the event loop's thread uses this module, except for ``ended``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from npipe.rpc.aio.workers import ConnectionWorkers, ThreadPool
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.session.served_calls import ServedCall

__all__ = ["CallExecutor"]


class CallExecutor:
    """Runs calls, and holds references to their tasks."""

    __slots__ = (
        "_behind",
        "_concurrency",
        "_loop",
        "_wake",
        "_workers",
        "tasks",
        "threads",
    )

    def __init__(
        self,
        workers: ThreadPool,
        concurrency: ConcurrencyLimits,
        loop: asyncio.AbstractEventLoop,
        wake: Callable[[], object],
        behind: Callable[[], bool],
    ) -> None:
        """Make an executor.

        Args:
            workers: The threads for plain functions.
            concurrency: The concurrency limits of the methods.
            loop: The event loop.
            wake: As for ``ConnectionWorkers``.
            behind: As for ``ConnectionWorkers``.
        """
        self._workers = workers
        self._concurrency = concurrency
        self._loop = loop
        self._wake = wake
        self._behind = behind
        self.threads: ConnectionWorkers | None = None  # made by the first plain call
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: ServedCall) -> None:
        """Run a call, now or when the concurrency limit of its method permits."""
        if call.method.options.concurrency is None:
            self._run(call)
        else:
            self._concurrency.enter(call.method, lambda: self._run(call))

    def ended(self, call: ServedCall) -> None:
        """Handle a reply: a call that waits for the concurrency limit may begin.

        From any thread.
        """
        if call.method.options.concurrency is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._concurrency.leave, call.method)

    def close(self) -> None:
        """Begin no more calls in threads: the connection has ended."""
        if self.threads is not None:
            self.threads.close()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a reference to a task until it is done."""
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _run(self, call: ServedCall) -> None:
        method = call.method
        if call.cancelled:
            call.fail(asyncio.CancelledError())
        elif method.is_async or call.session.dispatcher.is_async:
            task = self._new_task(call.run_async())
            if task.done():
                self._task_done(task)
            else:
                self.tasks.add(task)
                call.on_cancel(task.cancel)
                task.add_done_callback(partial(self._call_done, call))
        elif method.options.inline:
            call.run()
        else:
            if self.threads is None:
                self.threads = ConnectionWorkers(
                    self._workers, self._loop, self._wake, self._behind
                )
            self.threads.add(call)

    def _new_task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Make a task.

        From Python 3.12 on it starts eagerly, so that a call that never waits is cheap.
        """
        if sys.version_info >= (3, 12) and self._loop.get_task_factory() is None:
            return asyncio.Task(coroutine, loop=self._loop, eager_start=True)
        return self._loop.create_task(coroutine)

    def _call_done(self, call: ServedCall, task: asyncio.Task[None]) -> None:
        call.fail(asyncio.CancelledError())  # if cancelled before its first step
        self._task_done(task)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # already answered and logged: prevents asyncio's warning
