"""A JSON-RPC server with threads: it listens, accepts, and gives each connection a ``Driver``."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable
from itertools import count
from typing import Any, Protocol, Self

from npipe.address import Address
from npipe.errors import ClosedError, InternalError
from npipe.rpc.limits import Limits
from npipe.rpc.remote import remote_module
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher, Middleware
from npipe.rpc.session.server_stats import Counted, Stats
from npipe.rpc.threads.descriptors import connections_allowed
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.runtime import Runtime
from npipe.rpc.threads.slow_calls import start_thread
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport import listen
from npipe.transport.base import Connection, Listener
from npipe.transport.stdio import StdioConnection

__all__ = ["Server"]

log = logging.getLogger("npipe.rpc")

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 1.0  # seconds between tries to accept, when it fails


class ServerDriver(Counted, Protocol):
    """What a server needs of a driver."""

    @property
    def idle(self) -> bool: ...
    def start(self) -> None: ...
    def close(self, reason: str) -> None: ...


class Server:
    """Serves an API on any number of addresses.

    with Server(api) as server:
        server.serve("calculator")
        server.serve_forever()
    """

    _descriptors_each = 1  # what a client costs

    def __init__(
        self,
        api: API,
        *,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        middleware: Iterable[Middleware] = (),
        show_errors: bool = False,
        error_code: int = InternalError.code,
        log_calls: bool = False,
    ) -> None:
        """Prepare a server; it serves nothing yet.

        Args:
            codec: How messages are written: a name, or an object; see ``npipe.rpc.wire.codec``.
            middleware: Called around every call, the first one outermost.
            show_errors: Send the text of unexpected exceptions to the caller.
            error_code: The code of the error that answers an unexpected exception.
            log_calls: Give each call a line in the log "npipe.rpc.calls", a warning if it failed.
        """
        dispatcher = Dispatcher(
            api,
            middleware=middleware,
            show_errors=show_errors,
            error_code=error_code,
            log_calls=log_calls,
        )
        self._runtime = Runtime(dispatcher, limits, codec)
        self.limits = self._runtime.limits
        self._listeners: list[Listener[Connection]] = []
        self._links: set[ServerDriver] = set()
        self._remotes: list[Any] = []  # what it is to others than pipes: ``rpc.remote``
        self._ids = count(1)
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)  # a link has ended
        self._stopped = threading.Event()
        self._stats = Stats()
        self._allowed = 0  # connections, by the limit of open files; 0: not known yet
        self._was_short = False

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return [listener.address for listener in self._listeners]

    def serve(self, address: str | Address, **options: Any) -> Address:
        """Listen on an address and return at once; clients are accepted in a thread.

        ``options`` are those of ``npipe.listen``, which also says what is raised.
        """
        if self._stopped.is_set():
            raise ClosedError("server")
        if (module := remote_module(address)) is not None:
            remote = module.listen(address, self._serve_remote, stats=self.stats, **options)
            self._remotes.append(remote)
            return remote.address  # type: ignore[no-any-return]
        listener = listen(address, **options)
        self.serve_listener(listener)
        return listener.address

    def serve_listener(self, listener: Listener[Connection]) -> None:
        """Serve the clients of a listener that you have made yourself; return at once. Stopping
        the server closes it."""
        with self._lock:
            self._listeners.append(listener)
            self._allowed = self._allowed or connections_allowed(self._descriptors_each)
        self._runtime.start_loop()  # now: later there may be no descriptor left for it
        log.info("JSON-RPC service started (%s)", listener.address)
        start_thread(self._accept, f"npipe-accept {listener.address}", listener)

    def serve_connection(self, connection: Connection) -> None:
        """Serve one connection that you have made yourself; return at once."""
        if not (connection.selectable and self._runtime.start_loop()):
            self._open(connection).start()
            return
        driver = self._runtime.open_on_loop(connection, next(self._ids), self._closed)
        self._enter(driver)
        driver.start()

    def _serve_remote(self, connection: Connection) -> None:
        if len(self._links) >= self.limits.connections:
            log.warning("refused a client: %d connections are open", len(self._links))
            connection.close()
        else:
            self.serve_connection(connection)

    def serve_stdio(self) -> None:
        """Serve whoever started this program, over standard input and output, until its end.

        ``print`` would break the stream: standard output is turned to standard error first.
        """
        connection = StdioConnection(sys.stdin.buffer, sys.stdout.buffer)
        sys.stdout = sys.stderr
        self._open(connection).run()
        self.stop(drain=self.limits.write_timeout or 0)

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called; KeyboardInterrupt gets through."""
        # On Windows an endless wait cannot be interrupted.
        timeout = 1.0 if sys.platform == "win32" else None
        while not self._stopped.wait(timeout):
            pass

    def stop(self, drain: float = 0.0) -> None:
        """Stop listening; give the calls in flight ``drain`` seconds; close the connections.

        Idempotent, from any thread. What no longer ran is cancelled.
        """
        with self._lock:
            listeners, self._listeners = self._listeners, []
            remotes, self._remotes = self._remotes, []
            self._change.notify_all()
        for remote in remotes:
            remote.leave()
        for listener in listeners:
            listener.close()
            log.info("JSON-RPC service stopped (%s)", listener.address)
        deadline = time.monotonic() + drain
        with self._change:
            while (busy := self._busy()) and (left := deadline - time.monotonic()) > 0:
                # a call that ends tells nobody: look again soon
                self._change.wait(min(left, 0.02))
        for link in tuple(self._links):
            link.close("server stopped with calls in flight" if busy else "server stopped")
        for remote in remotes:
            remote.close()
        self._runtime.stop()
        self._stopped.set()

    def stats(self) -> dict[str, Any]:
        """Return counters since the start.

        Connections, calls, errors, bytes, what is in flight, and ``methods``: for each its calls,
        their seconds, ``buckets`` (how many took up to each of ``npipe.rpc.prometheus.BOUNDS``
        seconds, and longer), and ``errors`` by code. What had no method is under ``_OTHER``.
        """
        return self._stats.report(tuple(self._links))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _busy(self) -> bool:
        return any(not link.idle for link in self._links)

    def _accept(self, listener: Listener[Connection]) -> None:
        pause = FIRST_PAUSE
        while True:
            if len(self._links) >= self._allowed and not self._await_descriptor(listener):
                return
            try:
                connection = listener.accept()
            except ClosedError:
                return
            except OSError:
                log.exception("accepting on %s: again in %.3f s", listener.address, pause)
                if self._stopped.wait(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if len(self._links) >= self.limits.connections:
                log.warning("refused a client: %d connections are open", len(self._links))
                connection.close()
                continue
            try:
                self.serve_connection(connection)
            except Exception:  # no thread to be had: this client's loss, not everyone's
                log.exception("serving a client of %s", listener.address)
                connection.close()

    def _await_descriptor(self, listener: Listener[Connection]) -> bool:
        """Wait until a connection has ended; clients wait in the system's queue meanwhile. False:
        the server is stopping."""
        if not self._was_short:  # once: at the limit it may come and go with each client
            self._was_short = True
            log.warning(
                "no more clients are accepted while %d are connected: "
                "that is what the limit of open files (ulimit -n) allows",
                self._allowed,
            )
        with self._change:
            while len(self._links) >= self._allowed and listener in self._listeners:
                self._change.wait()
            return listener in self._listeners

    def _open(self, connection: Connection) -> Driver:
        """Put together a driver with threads of its own."""
        driver = self._runtime.open(connection, next(self._ids), self._closed)
        self._enter(driver)
        return driver

    def _enter(self, driver: ServerDriver) -> None:
        with self._lock:
            self._links.add(driver)
        self._stats.connections += 1
        session = driver.session
        log.debug("connection %06d opened by %s", session.connection_id, session.peer)
        if self._stopped.is_set():
            driver.close("server stopped")

    def _closed(self, link: ServerDriver, reason: str) -> None:
        log.debug("connection %06d closed (%s)", link.session.connection_id, reason)
        with self._change:
            self._links.discard(link)
            self._stats.add(link)
            self._change.notify_all()
