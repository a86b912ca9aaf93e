"""Execution of the calls of one connection, outside its reading thread.

A call that is known to be slow runs in its own thread; an ``async def`` call runs on the server's
event loop. The thread that ends a call writes its reply and then begins calls that waited for it,
so no thread is reserved for them. Calls deferred by back-pressure begin when the ``Writer`` has
written everything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.threads.slow_calls import PATIENCE, QUICK, start_thread
from npipe.rpc.threads.waiter import Wakeup
from npipe.rpc.threads.writer import Writer

__all__ = ["CallExecutor"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class CallExecutor:
    """Runs calls. Its methods may be called from any thread."""

    writes_may_wait = True

    def __init__(
        self,
        session: Session,
        writer: Writer,
        concurrency: ConcurrencyLimits,
        *,
        name: str,
        run_async: Callable[[CallExecutor, ServedCall], object] | None,
        on_pause: Callable[[], object],
    ) -> None:
        """Make an executor.

        Args:
            session: The session of the connection.
            writer: Writes the replies.
            concurrency: The concurrency limits of the methods.
            name: The name of its threads.
            run_async: Starts an ``async def`` call.
            on_pause: Called when there is no more call to begin.
        """
        self.room: Wakeup = Wakeup()  # set when a call may have ended, or begun
        self._session = session
        self._writer = writer
        self._concurrency = concurrency
        self._name = name
        self._run_async = run_async
        self._on_pause = on_pause
        writer.on_room = self.resume
        self._held = False  # calls wait for a write, and ``resume`` must begin them

    def start(self, call: ServedCall) -> None:
        """Run a call in another thread; in this one only if no thread can be started."""
        if self._is_async(call) and self._run_async is not None:
            self._run_async(self, call)
        elif call.method.options.concurrency is None:
            self._start(call, self._run)
        else:
            self._concurrency.enter(call.method, lambda: self._start(call, self._run_limited))

    def _start(self, call: ServedCall, run: Callable[[ServedCall], None]) -> None:
        try:
            start_thread(run, self._name, call)
        except RuntimeError:  # no thread can be started
            run(call)

    def _run(self, call: ServedCall) -> None:
        self._writer.flush_replies()  # above the high-water mark, wait before running the call
        started = time.perf_counter()
        self._run_here(call)
        if time.perf_counter() - started < QUICK:
            call.method.slow = False
        self.after_call()

    def _run_limited(self, call: ServedCall) -> None:
        self._writer.flush_replies()
        self._run_here(call)
        self._concurrency.leave(call.method)
        self.after_call()

    def _run_here(self, call: ServedCall) -> None:
        """Run a call in this thread. Never raises."""
        try:
            call.run()
        except BaseException:  # the call was answered, and others wait for this thread
            log.exception("connection %06d: a function failed", self._session.connection_id)

    def after_call(self) -> None:
        """Write the reply, then begin the calls that may have waited for this one."""
        session, writer = self._session, self._writer
        writer.flush_replies()
        self.room.set()
        while True:
            call = session.take_call()
            if call is not None:
                if self._is_async(call) or call.method.own_thread:
                    self.start(call)
                else:
                    self._run_here(call)
                writer.flush_replies()
            elif not session.flow.deferred or session.closed:
                break
            else:
                session.flow.resume()
                writer.catch_up(None)
            self.room.set()
        self._on_pause()

    def after_async_call(self) -> None:
        """Do the same as ``after_call`` without blocking.

        All connections share the loop's few threads.
        """
        writer = self._writer
        if writer.can_cut:
            writer.flush(wait=False, until=time.monotonic() + PATIENCE)
        elif not writer.flush_in_writer():
            writer.flush()
        self.room.set()
        if self._session.has_waiting:
            self._go_on()
        else:
            self._on_pause()

    def catch_up(self) -> bool:
        """Wait briefly until the queued bytes are written, because no call begins before.

        Returns False if that takes longer, or if this thread must not wait: continue to read then;
        ``resume`` begins the waiting calls.
        """
        session, writer = self._session, self._writer
        session.flow.resume()
        if not session.awaiting and writer.can_cut and writer.catch_up(time.monotonic() + PATIENCE):
            return True
        if self.hold():
            return False
        writer.catch_up(None)
        return not session.closed

    def hold(self) -> bool:
        """Have ``resume`` called after the next complete write.

        Return False if no thread could be started.
        """
        self._held = True  # set first: it is checked after the last write
        return self._writer.flush_in_writer()

    def resume(self) -> None:
        """Begin the deferred calls after everything has been written."""
        if self._held:
            self._held = False
            self._go_on()
        else:
            self._on_pause()

    def _go_on(self) -> None:
        try:
            start_thread(self.after_call, self._name)
        except RuntimeError:  # no thread can be started
            self.after_call()

    def _is_async(self, call: ServedCall) -> bool:
        return call.method.is_async or self._session.all_async
