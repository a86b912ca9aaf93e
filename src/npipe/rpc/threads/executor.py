"""Where the calls of one connection run, with threads, apart from the one that reads.

A call that is known to take long gets a thread, one that is ``async def`` goes to the event loop of
the server. Whoever ends a call sends its reply and then does what had to wait for that: no thread
is kept for it. What had to wait for a slow reader goes on when the ``Writer`` has written all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.threads.slow_calls import PATIENCE, ConcurrencyLimits, start_thread
from npipe.rpc.threads.writer import Writer

__all__ = ["CallExecutor"]

QUICK = 0.001  # seconds; a call of a slow method that takes less clears its name


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
        """``name`` is that of its threads. ``run_async`` starts an ``async def`` call;
        ``on_pause()`` is called when there is nothing more to begin."""
        self.room = threading.Event()  # set when a call may have ended, or begun
        self._session = session
        self._writer = writer
        self._concurrency = concurrency
        self._name = name
        self._run_async = run_async
        self._on_pause = on_pause
        writer.on_room = self.resume
        self._held = False  # calls wait for what is queued to leave, and nobody for them

    def start(self, call: ServedCall) -> None:
        """Run a call elsewhere: here only where no thread is to be had."""
        if self._is_async(call) and self._run_async is not None:
            self._run_async(self, call)
            return
        try:
            start_thread(self._run, self._name, call)
        except RuntimeError:
            call.run()

    def _run(self, call: ServedCall) -> None:
        self._writer.flush_replies()  # where much waits to be written, no more is made
        if call.method.options.concurrency is not None:
            with self._concurrency.of(call.method):
                call.run()
            self.after_call()
            return
        started = time.perf_counter()
        call.run()
        if time.perf_counter() - started < QUICK:
            call.method.slow = False
        self.after_call()

    def after_call(self) -> None:
        """Send the reply, then do what may have waited for a call to end."""
        session, writer = self._session, self._writer
        writer.flush_replies()
        self.room.set()
        while True:
            call = session.next_call()
            if call is not None:
                if self._is_async(call) or call.method.own_thread:
                    self.start(call)
                else:
                    call.run()
                writer.flush_replies()
            elif not session.flow.deferred or session.closed:
                break
            else:
                session.flow.resume()
                writer.catch_up(None)
            self.room.set()
        self._on_pause()

    def after_async_call(self) -> None:
        """Like ``after_call``, for who must not wait: all links share the few threads of a loop."""
        writer = self._writer
        if writer.can_cut:
            writer.flush(wait=False, until=time.monotonic() + PATIENCE)
        elif not writer.flush_soon():
            writer.flush()
        self.room.set()
        if self._session.has_waiting:
            self._go_on()
        else:
            self._on_pause()

    def catch_up(self) -> bool:
        """Wait a moment for what is queued to leave, since nothing is begun before. False: it takes
        longer, or must not be waited for. So read on: ``resume`` begins what waits."""
        session, writer = self._session, self._writer
        session.flow.resume()
        if not session.awaiting and writer.can_cut and writer.catch_up(time.monotonic() + PATIENCE):
            return True
        if self.hold():
            return False
        writer.catch_up(None)
        return not session.closed

    def hold(self) -> bool:
        """Have ``resume`` called when what is queued has left. False: no thread was to be had."""
        self._held = True  # first: it is looked at after the last write
        return self._writer.flush_soon()

    def resume(self) -> None:
        """Everything has been written: begin what could not be begun before."""
        if self._held:
            self._held = False
            self._go_on()
        else:
            self._on_pause()

    def _go_on(self) -> None:
        try:
            start_thread(self.after_call, self._name)
        except RuntimeError:  # no thread to be had
            self.after_call()

    def _is_async(self, call: ServedCall) -> bool:
        return call.method.is_async or self._session.all_async
