"""What all links of one server, or of one client, have in common, and how one is put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from npipe.rpc.handlers.thread_feed import start_subscription
from npipe.rpc.handlers.to_thread import run_in_thread
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session
from npipe.rpc.threads.caller import Caller
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.loop_thread import LoopThread
from npipe.rpc.threads.slow_calls import ConcurrencyLimits, SlowCallMonitor, start_thread
from npipe.rpc.wire import framing as framings
from npipe.transport.base import Connection

__all__ = ["Runtime"]


def _start(job: Callable[[], None]) -> None:
    start_thread(job, "npipe-call")


class Runtime:
    """Makes links that serve one dispatcher. ``stop`` ends the threads that they share."""

    def __init__(self, dispatcher: Dispatcher, limits: Limits | None, framing: str) -> None:
        framings.make(framing)  # a wrong name is an error here, not at the first client
        self.limits = limits or Limits()
        self._dispatcher = dispatcher
        self._framing = framing
        self._watch = SlowCallMonitor()
        self._concurrency = ConcurrencyLimits()
        self._loop = LoopThread()

    def open(
        self,
        connection: Connection,
        id: int,
        on_close: Callable[[Driver, str], object],
        *,
        kind: type[Driver] = Driver,
    ) -> Driver:
        """Put a link of this kind together. It reads only once it is started."""

        def on_subscription(subscription: ServedSubscription) -> None:
            if subscription.is_async:
                self._loop.run_subscription(subscription)
            else:
                start_subscription(subscription)

        def on_pushes() -> None:
            link.push_soon()

        limits = self.limits
        framing = framings.make(
            self._framing, max_bytes=limits.message_bytes, max_depth=limits.depth
        )
        session = Session(
            self._dispatcher,
            limits=limits,
            wrap=framing.wrap,
            connection_id=id,
            peer=connection.peer,
            on_subscription=on_subscription,
            on_pushes=on_pushes,
        )
        session.to_thread = partial(run_in_thread, _start)
        run_async = self._loop.run_call
        link = kind(
            connection,
            session,
            framing,
            self._watch,
            self._concurrency,
            on_close=on_close,
            run_async=run_async,
        )
        session.remote = Caller(lambda: link)
        return link

    def stop(self) -> None:
        """End what the links share. Idempotent."""
        self._watch.stop()
        self._loop.stop()
