"""``async def`` functions on the server with threads: one event loop in a thread of its own.

It starts with the first such call, so that a server of plain functions never imports asyncio.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from npipe.rpc.handlers.coroutine_feed import run_subscription_async

if TYPE_CHECKING:
    import asyncio

    from npipe.rpc.service.api import Method
    from npipe.rpc.session.served_calls import ServedCall
    from npipe.rpc.session.served_subscriptions import ServedSubscription

__all__ = ["LoopThread"]


class Owner(Protocol):
    """What a call belongs to."""

    @property
    def writes_may_wait(self) -> bool:
        """True where ``after_async_call`` may have to wait for a peer that reads slowly."""

    def after_async_call(self) -> None:
        """Write the reply, and begin what had to wait for that."""


class LoopThread:
    """Runs the async calls and generators of all links of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._concurrency: dict[str, asyncio.Semaphore] = {}  # the loop's thread's
        self._stopped = False

    def run_call(self, owner: Owner, call: ServedCall) -> None:
        """Start a call; its reply is written when it ends. Cancelling it cancels the task."""

        import asyncio

        async def run() -> None:
            try:
                async with self._gate(call.method):
                    await call.run_async()
            finally:
                call.fail(asyncio.CancelledError())  # if it was, while it waited at its gate
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
        """Start an async generator, and push what it yields."""
        if not self._start(subscription.call, partial(run_subscription_async, subscription)):
            subscription.finish()

    def stop(self) -> None:
        """Cancel what runs and end the thread; start nothing from now on. Idempotent."""
        with self._lock:
            self._stopped = True
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            if thread is not threading.current_thread():
                thread.join()

    def _start(self, call: ServedCall, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Run it in a task; return False once it is stopped. ``run()`` is called in the task: one
        that is cancelled before its first step leaves nothing behind that was never awaited."""
        import asyncio

        async def guarded() -> None:
            task = asyncio.current_task()
            assert task is not None
            call.on_cancel(lambda: loop.call_soon_threadsafe(task.cancel))
            with contextlib.suppress(asyncio.CancelledError):  # it was answered already
                await run()

        with self._lock:
            if self._stopped:
                return False
            loop = self._running_loop()
            future = asyncio.run_coroutine_threadsafe(guarded(), loop)
        future.add_done_callback(lambda _: call.fail(asyncio.CancelledError()))  # see ``run``
        return True

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            made: Future[asyncio.AbstractEventLoop] = Future()
            self._thread = threading.Thread(
                target=_run_loop, args=(made,), name="npipe-loop", daemon=True
            )
            self._thread.start()
            self._loop = made.result()
        return self._loop


def _run_loop(made: Future[asyncio.AbstractEventLoop]) -> None:
    import asyncio

    # Made here: in the main thread of Windows a loop has signals wake it, by a socket that they
    # would go on writing to after it is closed in another thread.
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
    """Run what may wait for a slow reader where it does not hold up the loop."""
    import asyncio

    await asyncio.get_running_loop().run_in_executor(None, function)
