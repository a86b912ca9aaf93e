"""JSON-RPC server with threads: listens, accepts, and makes a ``Driver`` per connection."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from typing import Any, Protocol, Self, Unpack, cast

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.options import ListenOptions, ServeOptions
from npipe.rpc.calling.deadline import MAX_SECONDS, check_timeout
from npipe.rpc.remote import remote_module
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.atomic import snapshot
from npipe.rpc.session.server_base import ServerBase
from npipe.rpc.session.server_stats import Counted
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.threads.waiter import Latch, notify_all
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport import listen
from npipe.transport.base import Connection, Listener
from npipe.transport.descriptors import connections_allowed
from npipe.transport.stdio import StdioConnection

__all__ = ["Server"]

log: logging.Logger = logging.getLogger("npipe.rpc")

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 1.0  # seconds between attempts after a failed accept
BURST = 8  # clients that are accepted before the others have their turn: about half a millisecond


class ServerDriver(Counted, Protocol):
    """The driver of one connection, as seen by a server."""

    @property
    def connection(self) -> Connection: ...
    @property
    def idle(self) -> bool: ...
    def start(self) -> None: ...
    def close(self, reason: str) -> None: ...


class Server(ServerBase[ServerDriver]):
    """Serves an API on any number of addresses.

    Example::

        with Server(api) as server:
            server.serve("calculator")
            server.serve_forever()
    """

    _descriptors_each = 1  # file descriptors per client

    def _start(self, dispatcher: Dispatcher, codec: str | Encoding | Codec) -> None:
        self._runtime = Runtime(dispatcher, self.limits, codec)
        self._listeners: list[Listener[Connection]] = []
        self._remotes: list[Any] = []  # services that are not pipes: see ``rpc.remote``
        self._lock = threading.RLock()  # a signal handler may call ``stop`` at any line
        self._change = threading.Condition(self._lock)  # a driver has ended
        self._stopped = Latch()
        self._allowed = 0  # connections that the limit of open files permits; 0: not computed yet
        self._was_short = False

    @property
    def addresses(self) -> list[Address]:
        """The addresses that the server listens on."""
        return [listener.address for listener in self._listeners]

    def serve(self, address: str | Address, **options: Unpack[ServeOptions]) -> Address:
        """Listen on an address. Returns at once; clients are accepted in a thread.

        Args:
            address: The address, or an ``Address``.
            options: The options of ``npipe.listen``; for a ``nats://`` address see
                ``npipe.options.ServeOptions``.

        Returns:
            The address in its full form.

        Raises:
            ClosedError: The server was stopped.
            OSError, TypeError, ValueError: As ``npipe.listen``.
        """
        if self._stopped.is_set():
            raise ClosedError("server")
        if (module := remote_module(address)) is not None:
            remote = module.listen(address, self._serve_remote, stats=self.stats, **options)
            self._remotes.append(remote)
            return remote.address  # type: ignore[no-any-return]
        listener = listen(address, **cast(ListenOptions, options))
        self.serve_listener(listener)
        return listener.address

    def serve_listener(self, listener: Listener[Connection]) -> None:
        """Serve the clients of an open listener; return at once. ``stop`` closes the listener.

        Args:
            listener: The listener, which is closed if it cannot be served.

        Raises:
            ClosedError: The server was stopped.
            RuntimeError, OSError: No thread can be started, or no file descriptor is left.
        """
        with self._lock:
            self._listeners.append(listener)
            self._allowed = self._allowed or connections_allowed(self._descriptors_each)
        try:
            if self._stopped.is_set():  # by another thread, or a signal handler
                raise ClosedError("server")
            self._runtime.start_loop()  # now: later no file descriptor may be left for it
            start_thread(self._accept, f"npipe-accept {listener.address}", listener)
        except BaseException:
            listener.close()
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(listener)
            raise
        log.info("JSON-RPC service started (%s)", listener.address)

    def serve_connection(self, connection: Connection) -> None:
        """Serve one open connection; return at once.

        Args:
            connection: The connection, which the server then owns.
        """
        driver: ServerDriver
        if connection.selectable and self._runtime.attach(connection):
            driver = self._runtime.open_on_loop(connection, next(self._ids), self._closed)
            self._enter(driver)
        else:
            driver = self._open(connection)
        try:
            driver.start()
        except BaseException as error:  # no thread can be started, or the loop takes no more
            driver.close(f"cannot be served: {error}")
            raise

    def _serve_remote(self, connection: Connection) -> None:
        if self._is_full():
            connection.close()
        else:
            self.serve_connection(connection)

    def serve_stdio(self) -> None:
        """Serve the parent process over standard input and output, until the end of input.

        ``sys.stdout`` is replaced by ``sys.stderr`` first, as output of ``print`` would corrupt the
        stream.
        """
        connection = StdioConnection(sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout = sys.stderr
        self._open(connection).run()
        self.stop(drain=min(self.limits.write_timeout or 0, MAX_SECONDS))  # it may be infinite

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called; KeyboardInterrupt is raised as usual."""
        # On Windows an unlimited wait cannot be interrupted.
        timeout = 1.0 if sys.platform == "win32" else None
        while not self._stopped.wait(timeout):
            pass

    def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections.

        Idempotent; may be called from any thread. Calls that are still running after ``drain``
        seconds are cancelled.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients that have read everything within ``drain``, on
                Windows, so that another server can listen at once although these clients still
                have open handles; see ``npipe.Connection.disconnect``.

        Raises:
            TypeError: ``drain`` is not a number.
            ValueError: It is negative, NaN, infinite, or longer than thirty years.
        """
        check_timeout(drain, "drain")
        deadline = time.monotonic() + drain
        # An interrupt (Ctrl-C) leaves the rest to the next call: nothing is removed before it ends.
        remotes = self._remotes[:]
        for remote in remotes:
            remote.leave()
        for listener in self._listeners[:]:
            listener.close()
            log.info("JSON-RPC service stopped (%s)", listener.address)
            with self._change:
                with contextlib.suppress(ValueError):  # another thread, or a handler, stops too
                    self._listeners.remove(listener)
                notify_all(self._change)
        with self._change:
            while (busy := self._busy()) and (left := deadline - time.monotonic()) > 0:
                # the end of a call sets no event: poll
                self._change.wait(min(left, 0.02))
        for driver in snapshot(self._drivers) if disconnect else ():
            if driver.idle:
                with contextlib.suppress(OSError):
                    driver.connection.disconnect(max(0.0, deadline - time.monotonic()))
        for driver in snapshot(self._drivers):
            driver.close("server stopped with calls in flight" if busy else "server stopped")
        for remote in remotes:
            remote.close()
            with contextlib.suppress(ValueError):
                self._remotes.remove(remote)
        self._runtime.stop()
        self._stopped.set()
        for driver in snapshot(self._drivers):  # accepted meanwhile; see ``_enter``
            driver.close("server stopped")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _busy(self) -> bool:
        return any(not driver.idle for driver in snapshot(self._drivers))

    def _accept(self, listener: Listener[Connection]) -> None:
        """Accept clients until the listener is closed.

        A single client is served by this thread. Where a second one waits already, the event loop
        accepts those that follow, because this thread would compete with it.
        """
        pause = FIRST_PAUSE
        timeout: float | None = None
        while True:
            if len(self._drivers) >= self._allowed and not self._await_descriptor(listener):
                return
            try:
                connection = listener.accept(timeout)
            except ClosedError:
                return
            except OSError as error:
                if timeout == 0 and isinstance(error, TimeoutError):  # no other client waits
                    timeout = None
                    continue
                log.exception(
                    "accepting a client on %s failed; next attempt in %.3f s",
                    listener.address,
                    pause,
                )
                if self._stopped.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            self._admit(connection, listener)
            if not connection.selectable or sys.platform == "win32":
                continue  # each client needs a thread, or an accept that blocks
            if timeout == 0:
                self._runtime.run_on_loop(lambda: self._accept_waiting(listener))
            timeout = 0

    def _accept_waiting(self, listener: Listener[Connection]) -> None:
        """Accept up to ``BURST`` clients that wait already."""
        for _ in range(BURST):
            if len(self._drivers) >= self._allowed:
                return
            try:
                connection = listener.accept(0)
            except OSError:  # none waits; or an error that the next accept will raise again
                return
            self._admit(connection, listener)

    def _admit(self, connection: Connection, listener: Listener[Connection]) -> None:
        """Serve an accepted client unless too many are connected."""
        if self._is_full():
            connection.close()
            return
        try:
            self.serve_connection(connection)
        except Exception:  # no thread can be started: drop this client, keep accepting
            log.exception("cannot serve a client of %s", listener.address)
            connection.close()

    def _await_descriptor(self, listener: Listener[Connection]) -> bool:
        """Wait until a connection has ended; new clients wait in the system's backlog.

        Return False when the server is stopping.
        """
        if not self._was_short:  # log once: at the limit this may recur with each client
            self._was_short = True
            log.warning(
                "no more clients are accepted while %d are connected: "
                "that is what the limit of open files (ulimit -n) allows",
                self._allowed,
            )
        with self._change:
            while len(self._drivers) >= self._allowed and listener in self._listeners:
                self._change.wait()
            return listener in self._listeners

    def _open(self, connection: Connection) -> Driver:
        """Make a driver with its own threads."""
        driver = self._runtime.open(connection, next(self._ids), self._closed)
        self._enter(driver)
        return driver

    def _enter(self, driver: ServerDriver) -> None:
        with self._lock:
            self._count(driver)
        if self._stopped.is_set():
            driver.close("server stopped")

    def _closed(self, driver: ServerDriver, reason: str) -> None:
        with self._change:
            self._discount(driver, reason)
            notify_all(self._change)
