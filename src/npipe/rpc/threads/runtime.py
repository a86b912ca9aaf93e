"""Runtime with threads: the objects shared by all connections of a server or client."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial

from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.handlers.thread_feed import start_subscription
from npipe.rpc.handlers.to_thread import run_in_thread
from npipe.rpc.limits import Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session
from npipe.rpc.threads.caller import Caller
from npipe.rpc.threads.driver import ConnectionDriver, Driver
from npipe.rpc.threads.loop.driver import LoopDriver
from npipe.rpc.threads.loop.executor import LoopExecutor
from npipe.rpc.threads.loop.leader import ServerLoop
from npipe.rpc.threads.loop.pool import ThreadPool
from npipe.rpc.threads.loop_thread import LoopThread
from npipe.rpc.threads.slow_calls import SlowCallMonitor, start_thread
from npipe.rpc.wire.codec import Codec, find_codec
from npipe.rpc.wire.encoding import Encoding
from npipe.security import PeerIdentity
from npipe.transport.base import Connection

__all__ = ["Runtime"]


def _start(job: Callable[[], None]) -> None:
    start_thread(job, "npipe-call")


def _peer_of(connection: Connection) -> PeerIdentity | None:
    """Return the identity of the peer; None if the connection has ended."""
    with contextlib.suppress(OSError):
        return connection.peer
    return None


class Runtime:
    """Makes the drivers for one dispatcher. ``stop`` ends the threads that they share."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        limits: Limits | None,
        codec: str | Encoding | Codec,
        *,
        role: str = "server",
    ) -> None:
        self.limits: Limits = limits or Limits()
        self._dispatcher = dispatcher
        self.codec: Codec = find_codec(codec)
        self._role = role  # in the names of threads
        self._monitor = SlowCallMonitor()
        self._concurrency = ConcurrencyLimits()
        self._async_calls = LoopThread()
        self._lock = threading.RLock()  # a signal handler may call ``stop`` at any line
        self._loop: tuple[ServerLoop, LoopExecutor, ThreadPool] | None = None

    def open(
        self,
        connection: Connection,
        id: int,
        on_close: Callable[[Driver, str], object],
        *,
        kind: type[Driver] = Driver,
    ) -> Driver:
        """Make a driver with its own threads. It reads only after it is started.

        Args:
            connection: Any connection.
            id: Its number in the log.
            on_close: Called once as ``on_close(driver, reason)``.
            kind: The class of the driver.

        Returns:
            The driver.
        """
        session = self._new_session(connection, id, lambda: driver)
        driver = kind(
            connection,
            session,
            self._monitor,
            self._concurrency,
            on_close=on_close,
            run_async=self._async_calls.run_call,
        )
        return driver

    def start_loop(self) -> None:
        """Start the event loop that serves all connections of a server. Idempotent.

        Raises:
            OSError: No file descriptor is left.
            RuntimeError: No thread can be started.
        """
        with self._lock:
            if self._loop is None:
                pool = ThreadPool(self._monitor.wake)
                loop = ServerLoop(pool, self._monitor)
                executor = LoopExecutor(pool, self._concurrency, self._async_calls.run_call)
                self._loop = loop, executor, pool
            self._loop[0].start()

    def attach(self, connection: Connection) -> bool:
        """Have the event loop, which is started, take a connection. Return False if it cannot."""
        self.start_loop()
        return self._loop is not None and self._loop[0].attach(connection)

    def run_on_loop(self, function: Callable[[], object]) -> None:
        """Call a function in the thread that serves the connections; see ``ServerLoop.run``."""
        if self._loop is not None:
            self._loop[0].run(function)

    def open_on_loop(
        self, connection: Connection, id: int, on_close: Callable[[LoopDriver, str], object]
    ) -> LoopDriver:
        """Make a driver on the event loop.

        Args:
            connection: A connection that the loop takes: see ``attach``.
            id: Its number in the log.
            on_close: Called once as ``on_close(driver, reason)``.

        Returns:
            The driver.
        """
        assert self._loop is not None
        loop, executor, _ = self._loop
        session = self._new_session(connection, id, lambda: driver)
        driver = LoopDriver(connection, session, loop, executor, on_close=on_close)
        return driver

    def _new_session(
        self, connection: Connection, id: int, get_driver: Callable[[], ConnectionDriver]
    ) -> Session:
        limits = self.limits
        framing = self.codec.frame(max_bytes=limits.message_bytes, max_depth=limits.depth)
        session = Session(
            self._dispatcher,
            limits=limits,
            framing=framing,
            encoding=self.codec.encoding,
            connection_id=id,
            name=f"npipe-{self._role}-{id:06d}",
            peer=connection.peer,
            ask_peer=partial(_peer_of, connection),
            on_subscription=self._run_subscription,
            on_pushes=lambda: get_driver().flush_pushes(),
        )
        session.to_thread = partial(run_in_thread, _start)
        remote = Caller(lambda deadline: get_driver(), self.codec.encoding)
        session.get_remote = lambda: remote
        return session

    def _run_subscription(self, subscription: ServedSubscription) -> None:
        if subscription.is_async:
            self._async_calls.run_subscription(subscription)
        else:
            start_subscription(subscription)

    def stop(self) -> None:
        """End the threads shared by the drivers. Idempotent."""
        self._monitor.stop()
        self._async_calls.stop()
        with self._lock:
            if self._loop is not None:
                loop, _, pool = self._loop
                loop.stop()
                pool.stop()
