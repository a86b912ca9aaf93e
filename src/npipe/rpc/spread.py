"""Load balancing over several servers, for programs with threads.

``rpc.aio.Spread`` does the work, on an event loop in its own thread, because it waits for many
connections at the same time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar, Unpack

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.options import ConnectOptions, ServeOptions
from npipe.rpc.aio.endpoints import Endpoint, adopt_files
from npipe.rpc.aio.spread import Group
from npipe.rpc.aio.spread import Spread as AsyncSpread
from npipe.rpc.limits import Limits
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.transport.base import Connection

__all__ = ["Spread"]

T = TypeVar("T")


class Spread:
    """Distributes clients, or single calls with ``stateless``, to the least loaded server.

    See ``rpc.aio.Spread``.
    """

    def __init__(
        self,
        upstreams: Sequence[Endpoint | Group],
        *,
        stateless: bool | None = None,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        upstream_codec: str | Encoding | Codec = "json-stream",
        connect_timeout: float | None = 10.0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """Make a server; it does not listen yet.

        Args:
            upstreams: The servers, as ``connect`` takes them, and groups of servers.
            stateless: Distribute the calls of each client, instead of the clients. None: true if
                all upstreams are groups that are marked stateless.
            limits: The limits for both sides.
            codec: The codec of the clients.
            upstream_codec: The codec of the servers, with the same encoding.
            connect_timeout: Seconds for connecting to a server; None is no limit.
            options: Further options of ``npipe.connect``, for the upstream connections.

        Raises:
            ValueError: There is no upstream, or the codecs have different encodings.
            OSError: The servers of a group cannot be found.
        """
        made: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=_run_loop, args=(made,), name="npipe-spread", daemon=True
        )
        self._thread.start()
        self._loop = made.result()
        self._stopped = threading.Event()
        self._ended: SimpleQueue[None] = SimpleQueue()  # as in ``Server``
        try:
            made_server = _make(
                upstreams,
                stateless=stateless,
                limits=limits,
                codec=codec,
                upstream_codec=upstream_codec,
                connect_timeout=connect_timeout,
                **options,
            )
            self._server: AsyncSpread = self._wait(made_server)
        except BaseException:
            self._end_loop()
            raise

    @property
    def limits(self) -> Limits:
        """The limits for both sides."""
        return self._server.limits

    @property
    def addresses(self) -> list[Address]:
        """The addresses that the server listens on."""
        return self._server.addresses

    def serve(self, address: str | Address, **options: Unpack[ServeOptions]) -> Address:
        """Listen on an address; return at once.

        Args:
            address: The address, or an ``Address``.
            options: The options of ``npipe.listen``; for a ``nats://`` address see
                ``npipe.options.ServeOptions``.

        Returns:
            The address in its full form.

        Raises:
            OSError, TypeError, ValueError: As ``npipe.listen``.
            ClosedError: The server was stopped.
        """
        return self._wait(self._server.serve(address, **options))

    def serve_connection(self, connection: Connection) -> None:
        """Serve one open connection; return at once.

        Args:
            connection: The connection, which the server then owns.

        Raises:
            ClosedError: The server was stopped.
        """
        self._wait(adopt_files(connection, self._server.protocol))

    def serve_forever(self) -> None:
        """Wait until ``stop`` is called; KeyboardInterrupt is raised as usual."""
        while not self._stopped.is_set():
            with contextlib.suppress(Empty):  # an unlimited wait cannot be interrupted on Windows
                self._ended.get(timeout=1.0)
        self._ended.put(None)  # for another thread

    def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections.

        Idempotent; may be called from any thread except the server's own.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients on Windows; see ``Server.stop``.
        """
        if not self._stopped.is_set():
            self._wait(self._server.stop(drain, disconnect=disconnect))
            self._stopped.set()
            self._ended.put(None)
            self._end_loop()

    def stats(self) -> dict[str, Any]:
        """Return counters since the start.

        Returns:
            The counters, as ``rpc.aio.Server.stats``.
        """
        made: Future[dict[str, Any]] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: made.set_result(self._server.stats()))
        except RuntimeError:  # the loop was closed by ``stop``: nothing changes them any more
            return self._server.stats()
        return made.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop was closed by ``stop``
            work.close()
            raise ClosedError("server") from None
        return future.result()

    def _end_loop(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.get_running_loop().shutdown_default_executor()

        self._wait(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _make(upstreams: Sequence[Endpoint | Group], **options: Any) -> AsyncSpread:
    server = AsyncSpread(upstreams, **options)
    await server.start()
    return server


def _run_loop(made: Future[asyncio.AbstractEventLoop]) -> None:
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
    finally:
        loop.close()
