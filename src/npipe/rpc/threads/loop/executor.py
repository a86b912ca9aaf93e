"""Execution of the calls that the leader does not run: in the thread pool or on the event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from npipe.rpc.threads.loop.pool import ThreadPool
from npipe.rpc.threads.slow_calls import QUICK

if TYPE_CHECKING:
    from npipe.rpc.handlers.concurrency import ConcurrencyLimits
    from npipe.rpc.session.served_calls import ServedCall
    from npipe.rpc.session.session import Session

__all__ = ["LoopExecutor"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class Owner(Protocol):
    """The driver of the connection that a call belongs to."""

    writes_may_wait: bool

    @property
    def session(self) -> Session: ...

    def after_call(self) -> None:
        """Write the reply, and begin calls that waited for it. Functions may run in this thread."""

    def after_async_call(self) -> None:
        """Write the reply; calls that waited for it begin in another thread."""


class LoopExecutor:
    """Runs calls of all connections of one server. Its methods may be called from any thread."""

    def __init__(
        self,
        pool: ThreadPool,
        limits: ConcurrencyLimits,
        run_async: Callable[[Owner, ServedCall], object],
    ) -> None:
        """Make an executor.

        Args:
            pool: Its threads run plain functions.
            limits: Enforces ``concurrency=n``.
            run_async: Starts an ``async def`` call.
        """
        self._pool = pool
        self._limits = limits
        self._run_async = run_async

    def belongs_elsewhere(self, call: ServedCall) -> bool:
        """Tell whether a call must not run in the thread that received it."""
        method = call.method
        return (
            method.is_async or method.slow or method.own_thread or call.session.dispatcher.is_async
        )

    def start(self, driver: Owner, call: ServedCall) -> None:
        """Run a call in another thread; in this one only if no thread can be started."""
        method = call.method
        if method.is_async or call.session.dispatcher.is_async:
            self._run_async(driver, call)
        elif method.options.concurrency is None:
            self._start(driver, call, self._run_slow)
        else:
            self._limits.enter(method, lambda: self._start(driver, call, self._run_limited))

    def run(self, driver: Owner, call: ServedCall) -> None:
        """Run a call in this thread. Never raises."""
        try:
            call.run()
        except BaseException:  # the call was answered, and the thread continues
            log.exception("connection %06d: a function failed", driver.session.connection_id)

    def _start(
        self,
        driver: Owner,
        call: ServedCall,
        run: Callable[[Owner, ServedCall], None],
    ) -> None:
        try:
            self._pool.start(partial(run, driver, call), driver)
        except RuntimeError:  # no thread can be started
            run(driver, call)

    def _run_slow(self, driver: Owner, call: ServedCall) -> None:
        started, runs = time.perf_counter(), not call.cancelled
        self.run(driver, call)
        if runs and time.perf_counter() - started < QUICK:
            call.method.slow = False
        driver.after_call()

    def _run_limited(self, driver: Owner, call: ServedCall) -> None:
        self.run(driver, call)
        self._limits.leave(call.method)
        driver.after_call()
