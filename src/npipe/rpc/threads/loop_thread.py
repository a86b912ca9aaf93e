"""Event loop for ``async def`` functions on the server with threads, in its own thread.

It starts with the first such call, so that a server of plain functions never imports asyncio.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from npipe.rpc.handlers.coroutine_feed import run_subscription_async

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from npipe.rpc.service.method import Method
    from npipe.rpc.session.served_calls import ServedCall
    from npipe.rpc.session.served_subscriptions import ServedSubscription

__all__ = ["LoopThread"]

log: logging.Logger = logging.getLogger("npipe.rpc")

STOP_SECONDS = 1.0  # in which cancelled tasks must end


class Owner(Protocol):
    """The executor that a call belongs to."""

    @property
    def writes_may_wait(self) -> bool:
        """True if ``after_async_call`` may block while a peer reads slowly."""

    def after_async_call(self) -> None:
        """Write the reply, and begin the calls that waited for it."""


class LoopThread:
    """Runs the async calls and generators of all connections of a server."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may call ``stop`` at any line
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._concurrency: dict[str, asyncio.Semaphore] = {}  # used in the loop's thread only
        self._stopped = False

    def run_call(self, owner: Owner, call: ServedCall) -> None:
        """Start a call; its reply is written when it ends. Cancelling the call cancels its task."""
        import asyncio

        async def run() -> None:
            try:
                async with self._gate(call.method):
                    await call.run_async()
            finally:
                call.fail(asyncio.CancelledError())  # if cancelled at its concurrency limit
                if owner.writes_may_wait:
                    await _in_executor(owner.after_async_call)
                else:
                    owner.after_async_call()

        if not self._start(call, run):
            call.fail(asyncio.CancelledError())

    def _gate(self, method: Method) -> contextlib.AbstractAsyncContextManager[object]:
        import asyncio

        most = method.options.concurrency
        if most is None:
            return contextlib.nullcontext()
        return self._concurrency.setdefault(method.name, asyncio.Semaphore(most))

    def run_subscription(self, subscription: ServedSubscription) -> None:
        """Start an async generator, and push its items."""
        if not self._start(subscription.call, partial(run_subscription_async, subscription)):
            subscription.finish()

    def stop(self) -> None:
        """Cancel the tasks, end the thread, and start nothing from now on. Idempotent.

        A function that blocks or ignores its cancellation does not delay this for longer than
        ``STOP_SECONDS``: its thread, a daemon, continues.
        """
        with self._lock:
            self._stopped = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join(STOP_SECONDS)
                if thread.is_alive():
                    log.warning(
                        "an async function still runs: it blocks, or ignores its cancellation"
                    )

    def _start(self, call: ServedCall, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Start ``run()`` in a task; return False if the loop was stopped.

        ``run()`` is called inside the task: a task cancelled before its first step then leaves no
        coroutine that was never awaited.
        """
        import asyncio

        async def guarded() -> None:
            task = asyncio.current_task()
            assert task is not None
            call.on_cancel(lambda: loop.call_soon_threadsafe(task.cancel))
            try:
                await run()
            except asyncio.CancelledError:  # the reply was sent already
                pass
            except BaseException:  # KeyboardInterrupt would end the loop, which others use
                log.exception("an async function failed")

        with self._lock:
            if self._stopped:
                return False
            try:
                loop = self._running_loop()
            except (RuntimeError, OSError):  # no thread, or no file descriptor is left
                log.exception("the event loop for async functions cannot be started")
                return False
            future = asyncio.run_coroutine_threadsafe(guarded(), loop)
        future.add_done_callback(lambda _: call.fail(asyncio.CancelledError()))  # see ``run``
        return True

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            from concurrent.futures import Future  # slow to import, as asyncio is

            made: Future[asyncio.AbstractEventLoop] = Future()
            self._thread = threading.Thread(
                target=_run_loop, args=(made,), name="npipe-loop", daemon=True
            )
            self._thread.start()
            self._loop = made.result()
        return self._loop


def _run_loop(made: Future[asyncio.AbstractEventLoop]) -> None:
    import asyncio

    # Created in this thread: a loop created in the main thread on Windows registers its socket
    # with ``signal.set_wakeup_fd``, and signals are written to it even after it is closed.
    try:
        loop = asyncio.new_event_loop()
    except BaseException as error:
        made.set_exception(error)
        return
    made.set_result(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _cancel_all() -> None:
    import asyncio

    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _in_executor(function: Callable[[], object]) -> None:
    """Run a function that may block for a slow peer in the loop's executor."""
    import asyncio

    await asyncio.get_running_loop().run_in_executor(None, function)
